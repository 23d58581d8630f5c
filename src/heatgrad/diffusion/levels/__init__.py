"""Explicit lists of noise levels: no sampler ever works out a previous step by itself."""
