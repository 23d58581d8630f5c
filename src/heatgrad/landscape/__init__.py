"""Floor 2: the geometry of a loss around and between solutions."""
