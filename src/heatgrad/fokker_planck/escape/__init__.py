"""How long until a process leaves, by formulas; all methods side by side."""
