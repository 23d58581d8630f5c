"""Ways down a list of levels: small pure functions."""
