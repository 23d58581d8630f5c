"""Floor 0: errors, random streams, parameter-vector algebra, spec files, name lookup."""
