"""Fused kernels: one pass over memory for all tensors. The plain paths are their reference."""
