"""Spectral operators of the vorticity equation on the unit torus."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

__all__ = ["Dealias", "Torus", "diagonal_forcing", "torus_of"]

Dealias = Literal["full", "product"]
"""`full`: the 2/3 rule on factors and product; `product`: on the product alone, as published."""


def diagonal_forcing(x: Float[Tensor, "*s"], y: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    r"""Return the published forcing $f = 0.1 (\sin 2\pi(x+y) + \cos 2\pi(x+y))$.

    References:
        Li et al. (2021), arXiv:2010.08895v3, section 5.3. Theory page: Eq. (P.20).

    Example:
        >>> diagonal_forcing(torch.tensor(0.0), torch.tensor(0.0)).item()
        0.10000000149011612
    """
    phase = 2 * math.pi * (x + y)
    return 0.1 * (phase.sin() + phase.cos())


@dataclass(frozen=True, eq=False)
class Torus:
    r"""Derivatives, velocity and convection of a vorticity given by its real FFT.

    Spectra have shape (..., n, n/2 + 1), as `torch.fft.rfft2` gives them. First derivatives leave
    out the Nyquist modes, which have none on the grid; Laplacian and viscosity keep them with
    |k| = n/2. Vorticity is $w = v_x - u_y$ with $-\operatorname{Lap} \psi = w$,
    $(u, v) = (\psi_y, -\psi_x)$, of zero mean velocity.

    Attributes:
        n: Points a side.
        ikx: $2\pi i k_x$, shape (n, 1).
        iky: $2\pi i k_y$, shape (1, n/2 + 1).
        laplacian: $4\pi^2 |k|^2$, shape (n, n/2 + 1).
        inverse: One over that, 0 for the mean.
        kept: 1 where $|k_x|, |k_y| < n/3$, else 0.
    """

    n: int
    ikx: Complex[Tensor, "n 1"]
    iky: Complex[Tensor, "1 m"]
    laplacian: Float[Tensor, "n m"]
    inverse: Float[Tensor, "n m"]
    kept: Float[Tensor, "n m"]

    def velocity(
        self, spectrum: Complex[Tensor, "*batch n m"]
    ) -> tuple[Complex[Tensor, "*batch n m"], Complex[Tensor, "*batch n m"]]:
        """Return the spectra of u and v, Eq. (P.21).

        Example:
            >>> torus = torus_of(4, torch.float64, torch.device("cpu"))
            >>> [part.abs().sum().item() for part in torus.velocity(torch.zeros(4, 3) + 0j)]
            [0.0, 0.0]
        """
        stream = spectrum * self.inverse
        return self.iky * stream, -self.ikx * stream

    def convection(
        self, spectrum: Complex[Tensor, "*batch n m"], dealias: Dealias = "full"
    ) -> Complex[Tensor, "*batch n m"]:
        r"""Return the spectrum of $-(u w_x + v w_y)$ with the 2/3 rule, Eq. (P.22).

        Example:
            >>> torus = torus_of(8, torch.float64, torch.device("cpu"))
            >>> wave = torch.fft.rfft2(torch.arange(8).div(8).mul(2 * math.pi).cos().expand(8, 8))
            >>> torus.convection(wave).abs().max().item() < 1e-6  # a shear does not move
            True
        """
        factors = spectrum * self.kept if dealias == "full" else spectrum
        u, v = self.velocity(factors)
        parts = torch.stack([u, v, self.ikx * factors, self.iky * factors])
        u, v, wx, wy = torch.fft.irfft2(parts, s=(self.n, self.n))
        product: Tensor = torch.fft.rfft2(u * wx + v * wy)
        return -product * self.kept


@lru_cache(maxsize=16)
def torus_of(n: int, dtype: torch.dtype, device: torch.device) -> Torus:
    """Return the operators of n x n points, built once for each type and device.

    Example:
        >>> torus_of(4, torch.float64, torch.device("cpu")).kept.sum(1).tolist()
        [2.0, 2.0, 0.0, 2.0]
    """
    kx = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)[:, None]
    ky = torch.fft.rfftfreq(n, 1 / n, dtype=torch.float64)[None, :]
    kept = ((kx.abs() < n / 3) & (ky < n / 3)).to(dtype)
    laplacian = (4 * math.pi**2 * (kx**2 + ky**2)).to(dtype)
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
    derivatives = [
        (2j * math.pi * torch.where(k.abs() == n / 2, 0, k)).to(device, complex_dtype)
        for k in (kx, ky)
    ]
    inverse = torch.where(laplacian > 0, 1 / laplacian, 0)
    parts = [part.to(device) for part in (laplacian, inverse, kept)]
    return Torus(n, derivatives[0], derivatives[1], *parts)
