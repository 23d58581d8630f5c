"""Where ensembles settle, and what happens as extra noise vanishes."""
