"""A second discretisation of the vorticity equation, to judge the first by.

Nothing here is shared with the solver: products are padded by 3/2 in flux form, all modes below
Nyquist take part, and time goes by exponential differencing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["flow_rate", "flow_until", "time_derivative"]

_CONTOUR = 32


def flow_rate(
    w: Float[Tensor, "*batch n n"], viscosity: float, force: Float[Tensor, "n n"]
) -> Float[Tensor, "*batch n n"]:
    r"""Return $-\nabla\cdot(\mathbf v w) + \nu \operatorname{Lap} w + f$ on the grid, Eq. (P.26).

    Nyquist modes of w do not convect.

    Example:
        >>> flow_rate(torch.zeros(1, 4, 4), 0.1, torch.ones(4, 4)).mean().item()
        1.0
    """
    modes = _modes_of(w)
    spectrum = torch.fft.rfft2(w)
    rate = _convection(spectrum, modes) - viscosity * modes.symbol * spectrum
    return _values(rate, modes.n) + force


def flow_until(
    w: Float[Tensor, "*batch n n"],
    viscosity: float,
    force: Float[Tensor, "n n"],
    time: float,
    steps: int,
) -> Float[Tensor, "*batch n n"]:
    r"""Return w after a time, by fourth-order exponential differencing (ETDRK4).

    Args:
        w: Start.
        viscosity: $\nu$ [length^2 / time].
        force: f [1 / time^2].
        time: How long, positive [time].
        steps: Of equal length.

    References:
        Cox and Matthews (2002), J. Comput. Phys. 176; Kassam and Trefethen (2005), SIAM J. Sci.
        Comput. 26. Theory page: Eq. (P.27).

    Example:
        >>> found = flow_until(torch.zeros(4, 4), 0.1, torch.ones(4, 4), 0.5, 2)
        >>> round(found.mean().item(), 5)
        0.5
    """
    dt = time / steps
    modes = _modes_of(w)
    phi = _phi_functions(-viscosity * modes.symbol.double() * dt, dt, w)
    spectrum, driving = torch.fft.rfft2(w), torch.fft.rfft2(force)

    def explicit(z: Tensor) -> Tensor:
        rate: Tensor = _convection(z, modes) + driving
        return rate

    for _ in range(steps):
        spectrum = _etdrk4(explicit, spectrum, phi)
    return _values(spectrum, modes.n)


def time_derivative(
    snapshots: Float[Tensor, "num times n n"], times: Sequence[float], width: int = 7
) -> Float[Tensor, "num times n n"]:
    """Return the derivative in time at each snapshot, from the nearest `width` of them.

    The derivative of the polynomial through them, exact up to degree width - 1, at the times as
    they are: equally spaced or not.

    Raises:
        ValueError: If there are fewer than 2 times, they do not increase, or their number differs.

    References:
        Fornberg (1988), Math. Comput. 51. Theory page: Eq. (P.28).

    Example:
        >>> t = torch.tensor([0.0, 0.5, 2.0]).double()
        >>> found = time_derivative((t**2)[None, :, None, None], t.tolist())
        >>> [round(value, 6) for value in found.flatten().tolist()]
        [0.0, 1.0, 4.0]
    """
    t = np.asarray(times, dtype=float)
    if t.ndim != 1 or len(t) < 2 or not (np.diff(t) > 0).all():
        raise ValueError(f"times must be at least 2 and increase, got {tuple(times)}")
    if snapshots.shape[-3] != len(t):
        raise ValueError(
            f"snapshots must have shape (num, {len(t)}, n, n) for {len(t)} times, "
            f"got {tuple(snapshots.shape)}"
        )
    width = min(width, len(t))
    weights = np.zeros((len(t), len(t)))
    for index in range(len(t)):
        first = min(max(index - width // 2, 0), len(t) - width)
        near = slice(first, first + width)
        offsets = t[near] - t[index]
        unit = np.abs(offsets).max()
        powers = np.vander(offsets / unit, width, increasing=True).T
        target = np.zeros(width)
        target[1] = 1 / unit
        weights[index, near] = np.linalg.solve(powers, target)
    matrix = torch.from_numpy(weights).to(snapshots)
    return torch.einsum("st,...tij->...sij", matrix, snapshots)


@dataclass(frozen=True, eq=False)
class _Modes:
    """Wavenumbers of n x n points, and where their modes stand among those of the fine grid.

    Attributes:
        n: Points a side.
        fine: Points a side of the grid that products are taken on.
        symbol: 4 pi^2 |k|^2.
        slope_x: 2 pi i k_x of the modes below Nyquist, else 0.
        slope_y: The same in y.
        kept: Whether a mode is below Nyquist.
        rows: Of the modes on the fine grid.
    """

    n: int
    fine: int
    symbol: Tensor
    slope_x: Tensor
    slope_y: Tensor
    kept: Tensor
    rows: Tensor


def _modes_of(like: Tensor) -> _Modes:
    n = like.shape[-1]
    fine = math.ceil(3 * n / 2)
    kx = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)[:, None]
    ky = torch.fft.rfftfreq(n, 1 / n, dtype=torch.float64)
    kept = (kx.abs() < n / 2) & (ky < n / 2)
    complex_dtype = torch.complex128 if like.dtype == torch.float64 else torch.complex64
    slopes = [(2j * math.pi * k * kept).to(like.device, complex_dtype) for k in (kx, ky)]
    rows = torch.arange(n)
    return _Modes(
        n,
        fine,
        (4 * math.pi**2 * (kx**2 + ky**2)).to(like),
        slopes[0],
        slopes[1],
        kept.to(like.device),
        torch.where(rows < (n + 1) // 2, rows, rows + fine - n).to(like.device),
    )


def _convection(spectrum: Tensor, modes: _Modes) -> Tensor:
    """Return the spectrum of -div(v w), products on a grid of 3/2 the points."""
    columns = modes.n // 2 + 1
    w = spectrum * modes.kept
    stream = w * torch.where(modes.symbol > 0, 1 / modes.symbol, 0)
    parts = torch.stack([modes.slope_y * stream, -modes.slope_x * stream, w])
    padded = spectrum.new_zeros((*parts.shape[:-2], modes.fine, modes.fine // 2 + 1))
    padded[..., modes.rows, :columns] = parts
    u, v, values = _values(padded, modes.fine) * (modes.fine / modes.n) ** 2
    fluxes = torch.fft.rfft2(torch.stack([u * values, v * values]))[..., modes.rows, :columns]
    flux_x, flux_y = fluxes * (modes.n / modes.fine) ** 2
    divergence: Tensor = modes.slope_x * flux_x + modes.slope_y * flux_y
    return -divergence


def _values(spectrum: Tensor, n: int) -> Tensor:
    values: Tensor = torch.fft.irfft2(spectrum, s=(n, n))
    return values


def _phi_functions(rates: Tensor, dt: float, like: Tensor) -> tuple[Tensor, ...]:
    """Return the coefficients of ETDRK4 by the mean over a circle around each rate."""
    angles = math.pi * (torch.arange(_CONTOUR, dtype=torch.float64) + 0.5) / _CONTOUR
    z = rates[..., None] + torch.exp(1j * angles).to(rates.device)
    ez, z3 = z.exp(), z**3

    def mean(values: Tensor) -> Tensor:
        return (dt * values.mean(-1).real).to(like.dtype)

    return (
        rates.exp().to(like.dtype),
        (rates / 2).exp().to(like.dtype),
        mean(((z / 2).exp() - 1) / z),
        mean((-4 - z + ez * (4 - 3 * z + z**2)) / z3),
        mean((2 + z + ez * (z - 2)) / z3),
        mean((-4 - 3 * z - z**2 + ez * (4 - z)) / z3),
    )


def _etdrk4(explicit: Callable[[Tensor], Tensor], w: Tensor, phi: tuple[Tensor, ...]) -> Tensor:
    """Return one step, Eq. (P.27)."""
    whole, half, quarter, first_weight, middle_weight, last_weight = phi
    n1 = explicit(w)
    a = half * w + quarter * n1
    n2 = explicit(a)
    b = half * w + quarter * n2
    n3 = explicit(b)
    c = half * a + quarter * (2 * n3 - n1)
    n4 = explicit(c)
    return whole * w + first_weight * n1 + 2 * middle_weight * (n2 + n3) + last_weight * n4
