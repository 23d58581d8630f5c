"""The number types that the operator accepts, and the one each is computed in."""

import torch
from torch import Tensor

__all__ = ["working_dtype"]

# The FFT has no general half-precision path, and one rounding at the end is better than many.
WORKING_DTYPES = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.complex64: torch.complex64,
    torch.complex128: torch.complex128,
}


def working_dtype(x: Tensor, name: str = "x") -> torch.dtype:
    """Return the type that the result for `x` is computed in before it is cast back.

    Args:
        x: The tensor to be worked on.
        name: What the caller calls it, for the message.

    Returns:
        float32 for the half types, the type of `x` otherwise.

    Raises:
        TypeError: If `x` is sparse, or neither real floating point nor complex.

    Example:
        >>> working_dtype(torch.ones(2, dtype=torch.bfloat16))
        torch.float32
    """
    if x.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got layout {x.layout}; call .to_dense()")
    if x.dtype not in WORKING_DTYPES:
        choices = ", ".join(str(dtype).removeprefix("torch.") for dtype in WORKING_DTYPES)
        raise TypeError(f"{name} must be one of {choices}, got {x.dtype}; cast it first")
    return WORKING_DTYPES[x.dtype]
