"""Orthonormal cosine and sine transforms along one axis, by FFT: O(n log n), no matrix."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Inexact
from torch import Tensor

from heatgrad.laplacian.precision import working_dtype

__all__ = ["dct2", "dst1", "idct2"]

_SQRT2 = math.sqrt(2)


def dct2(x: Inexact[Tensor, "*shape"], dim: int = -1) -> Inexact[Tensor, "*shape"]:
    r"""Return the orthonormal DCT-II along one axis (SciPy: `type=2, norm="ortho"`).

    $$X_m = c_m \sum_j x_j \cos\frac{\pi m (2j+1)}{2n}, \qquad c_0 = \sqrt{1/n},\quad
    c_{m>0} = \sqrt{2/n}. \tag{L.5}$$

    One real FFT of length n, after Makhoul's reordering of the points.

    Args:
        x: Real or complex tensor; a complex one is transformed part by part [any].
        dim: The axis.

    Returns:
        Coefficients, same shape, type and device as `x`; half types are computed in float32.

    Raises:
        TypeError: If `x` is sparse or of an integer type.

    References:
        Theory page: Eq. (L.5). Makhoul (1980), IEEE Trans. ASSP 28(1), 27-34.

    Example:
        >>> torch.allclose(dct2(torch.ones(4)), torch.tensor([2.0, 0.0, 0.0, 0.0]), atol=1e-6)
        True
    """
    return _along(_dct2_last, x, dim)


def idct2(y: Inexact[Tensor, "*shape"], dim: int = -1) -> Inexact[Tensor, "*shape"]:
    """Return the inverse of `dct2` along one axis, which is its transpose, the DCT-III.

    Args:
        y: Coefficients, real or complex [any].
        dim: The axis.

    Returns:
        Values, same shape, type and device as `y`; half types are computed in float32.

    Raises:
        TypeError: If `y` is sparse or of an integer type.

    References:
        Theory page: Eq. (L.5).

    Example:
        >>> torch.allclose(idct2(torch.tensor([2.0, 0.0, 0.0, 0.0])), torch.ones(4))
        True
    """
    return _along(_idct2_last, y, dim)


def dst1(x: Inexact[Tensor, "*shape"], dim: int = -1) -> Inexact[Tensor, "*shape"]:
    r"""Return the orthonormal DST-I along one axis (SciPy: `type=1, norm="ortho"`).

    $$X_m = \sqrt{\tfrac{2}{n+1}} \sum_j x_j \sin\frac{\pi (m+1)(j+1)}{n+1}. \tag{L.7}$$

    It is its own inverse. The FFT has length 2(n+1), so it is fast, and in float32 most accurate,
    where n + 1, not n, has small prime factors.

    Args:
        x: Real or complex tensor; a complex one is transformed part by part [any].
        dim: The axis.

    Returns:
        Coefficients, same shape, type and device as `x`; half types are computed in float32.

    Raises:
        TypeError: If `x` is sparse or of an integer type.

    References:
        Theory page: Eq. (L.7).

    Example:
        >>> x = torch.tensor([3.0, -1.0, 2.0])
        >>> torch.allclose(dst1(dst1(x)), x)
        True
    """
    return _along(_dst1_last, x, dim)


def _along(transform: Callable[[Tensor], Tensor], x: Tensor, dim: int) -> Tensor:
    """Apply a real transform of the last axis along `dim`, to each part of a complex tensor."""
    working = x.to(working_dtype(x))
    if x.numel() == 0:
        return working.clone().to(x.dtype)
    lines = working.movedim(dim, -1)
    if lines.is_complex():
        result = torch.complex(transform(lines.real), transform(lines.imag))
    else:
        result = transform(lines)
    return result.movedim(-1, dim).to(x.dtype)


def _twiddle(n: int, like: Tensor) -> Tensor:
    """Return exp(-i pi m / 2n) for m = 0 .. n//2."""
    angles = torch.arange(n // 2 + 1, dtype=like.dtype, device=like.device) * (-math.pi / (2 * n))
    return torch.polar(torch.ones_like(angles), angles)


def _dct2_last(x: Tensor) -> Tensor:
    n = x.shape[-1]
    reordered = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
    z = torch.fft.rfft(reordered, norm="ortho") * _twiddle(n, x)
    # Re z_m is mode m; by Hermitian symmetry -Im z_m is mode n - m.
    mirrored = -z.imag[..., 1 : (n + 1) // 2].flip(-1)
    return torch.cat([z.real[..., :1], _SQRT2 * z.real[..., 1:], _SQRT2 * mirrored], -1)


def _idct2_last(y: Tensor) -> Tensor:
    n = y.shape[-1]
    modes = torch.cat([y[..., :1], y[..., 1:] / _SQRT2], -1)
    mirrored = torch.cat([torch.zeros_like(y[..., :1]), modes[..., n - n // 2 :].flip(-1)], -1)
    z = torch.complex(modes[..., : n // 2 + 1], -mirrored)
    reordered = torch.fft.irfft(z * _twiddle(n, y).conj(), n, norm="ortho")
    x = torch.empty_like(reordered)
    x[..., ::2] = reordered[..., : (n + 1) // 2]
    x[..., 1::2] = reordered[..., (n + 1) // 2 :].flip(-1)
    return x


def _dst1_last(x: Tensor) -> Tensor:
    n = x.shape[-1]
    zero = torch.zeros_like(x[..., :1])
    odd = torch.cat([zero, x, zero, -x.flip(-1)], -1)
    spectrum: Tensor = torch.fft.rfft(odd, norm="ortho")
    return -spectrum.imag[..., 1 : n + 1]
