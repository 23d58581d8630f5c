"""Coordinates in which fields are sampled."""
