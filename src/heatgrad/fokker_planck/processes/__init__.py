"""Processes, and the regions that they leave."""
