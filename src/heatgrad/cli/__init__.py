"""Floor 6: commands. Each parses its arguments, builds a spec and calls the library."""
