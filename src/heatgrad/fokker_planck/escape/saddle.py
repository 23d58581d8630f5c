"""Minima and saddles of a potential, to the last digits."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.fokker_planck.processes.langevin import Potential
from heatgrad.fokker_planck.processes.process import Points, at_points, scalar_valued

__all__ = ["CriticalPoint", "find_minimum", "find_saddle"]

_FIRST_RADIUS = 0.1  # of the scale of the search: the first step that is trusted


@dataclass(frozen=True)
class CriticalPoint:
    """Where a potential's gradient vanishes, or where the search for that stopped.

    Attributes:
        point: Shape (p,), float64 [param].
        value: The potential there [loss].
        gradient_norm: The length of its gradient there.
        eigenvalues: Of its Hessian there, increasing.
        index: How many of them are negative, up to rounding.
        status: `"converged"`; `"wrong_index"` if the gradient vanishes at another kind of point;
            `"not_converged"`.
        num_steps: Of the last stage of the search.
    """

    point: Float[Tensor, " p"]
    value: float
    gradient_norm: float
    eigenvalues: Float[Tensor, " p"]
    index: int
    status: Literal["converged", "wrong_index", "not_converged"]
    num_steps: int


def find_minimum(
    potential: Potential, start: Tensor, *, tol: float = 1e-10, max_steps: int = 500
) -> CriticalPoint:
    r"""Return the local minimum below a start, by Newton's method in a trusted radius.

    Each step is that of the eigenvalues' absolute values, so that it goes down in all directions,
    and is taken only if the potential falls.

    Args:
        potential: A function of one point, shape (p,), to a scalar; its Hessian is formed.
        start: Shape (p,); the search is in float64.
        tol: Length of the gradient at which to stop, positive. Where rounding keeps it longer, it
            is taken relative to the largest eigenvalue of the Hessian.
        max_steps: At least 1.

    Raises:
        ValueError: If the start is not a finite point, or the potential there is not finite.

    References:
        Theory page: Eq. (F.68).

    Example:
        >>> double_well = lambda x: (x[0] ** 2 - 1) ** 2 / 4 + x[1] ** 2
        >>> found = find_minimum(double_well, torch.tensor([0.3, 1.0]))
        >>> found.status, found.index, [round(v, 9) + 0.0 for v in found.point.tolist()]
        ('converged', 0, [1.0, 0.0])
    """
    x = _start(potential, start, "start", tol, max_steps)
    return _searched(potential, x, 0, tol, max_steps, _FIRST_RADIUS * max(1.0, float(x.norm())))


def find_saddle(
    potential: Potential,
    a: Tensor,
    b: Tensor,
    *,
    images: int = 21,
    sweeps: int = 2000,
    tol: float = 1e-10,
    max_steps: int = 500,
    seed: int = 0,
) -> CriticalPoint:
    r"""Return the highest saddle of the path of least height between two minima.

    A string of images relaxes along the gradient and is kept evenly spaced (the simplified string
    method); from its highest image on Newton's method climbs along the lowest eigenvector of the
    Hessian and descends along all others,

    $$\Delta x = \frac{(v_1 \cdot g)\, v_1}{|\lambda_1|} - \sum_{i > 1}
    \frac{(v_i \cdot g)\, v_i}{|\lambda_i|} \tag{F.68}$$

    within a trusted radius. A path that stays on a symmetric ridge ends at a point with two
    negative eigenvalues; the search then starts again from a bent path, three times at most.

    Args:
        potential: A function of one point, shape (p,), to a scalar; Hessians are formed.
        a: A minimum, shape (p,).
        b: Another.
        images: Of the string, at least 3.
        sweeps: Most relaxations of the string, at least 0.
        tol: As of `find_minimum`.
        max_steps: Of the climb, at least 1.
        seed: Of how the path is bent.

    Raises:
        ValueError: If a number is out of range, an end is no finite point, or they are the same.

    References:
        E, Ren and Vanden-Eijnden (2007), doi:10.1063/1.2720838. Theory page: Eq. (F.68).

    Example:
        >>> double_well = lambda x: (x[0] ** 2 - 1) ** 2 / 4 + (x[1] - x[0] ** 2) ** 2
        >>> a, b = torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 1.0])
        >>> found = find_saddle(double_well, a, b)
        >>> found.status, found.index, round(found.value, 9)
        ('converged', 1, 0.25)
    """
    ends = [_start(potential, end, name, tol, max_steps) for end, name in ((a, "a"), (b, "b"))]
    if images < 3 or sweeps < 0:
        raise ValueError(f"images must be at least 3 and sweeps 0, got {images} and {sweeps}")
    if ends[0].shape != ends[1].shape or torch.equal(*ends):
        raise ValueError(f"a and b must be different points, got {a.tolist()} and {b.tolist()}")
    length = float((ends[1] - ends[0]).norm())
    generator = stream_generator(seed, "method")
    share = torch.linspace(0, 1, images, dtype=torch.float64).unsqueeze(1)
    for attempt in range(4):
        line = ends[0] + share * (ends[1] - ends[0])
        way = torch.randn(len(a), generator=generator, dtype=torch.float64)
        bend = attempt * 0.2 * length / math.sqrt(len(a))
        string = _relaxed(potential, line + bend * way * torch.sin(math.pi * share), sweeps)
        heights = at_points(potential)(string)
        top = string[int(heights.nan_to_num(nan=-math.inf).argmax())]
        radius = max(_FIRST_RADIUS * length / images, 1e-12)
        found = _searched(potential, top, 1, tol, max_steps, radius)
        if found.status == "converged":
            break
    return found


def _relaxed(potential: Potential, string: Points, sweeps: int) -> Points:
    """Return a string that has slid down to the path of least height, or nearly."""
    slope = at_points(torch.func.grad(potential))
    hessian = at_points(torch.func.hessian(potential))
    spacing = float((string[1:] - string[:-1]).norm(dim=1).mean())
    step = 0.0
    for sweep in range(sweeps):
        if sweep % 20 == 0:
            steep = float(torch.linalg.eigvalsh(hessian(string).nan_to_num()).abs().max())
            step = 0.5 / max(steep, 1e-300)
        move = -step * slope(string)
        # Far from the path gradients can be huge: no image moves farther than to its neighbour.
        move = move * (0.5 * spacing / move.norm(dim=1, keepdim=True)).clamp(max=1.0)
        move[0] = move[-1] = 0
        new = _even(string + move)
        change = float((new - string).norm(dim=1).max())
        string = new
        if not math.isfinite(change) or change < 1e-4 * spacing:
            break
    return string


def _even(string: Points) -> Points:
    """Return a string whose images are evenly spaced along it."""
    places = torch.cat([string.new_zeros(1), (string[1:] - string[:-1]).norm(dim=1).cumsum(0)])
    wanted = torch.linspace(0, 1, len(string), dtype=string.dtype) * places[-1]
    right = torch.searchsorted(places, wanted[1:-1]).clamp(1, len(string) - 1)
    left = right - 1
    gap = (places[right] - places[left]).clamp(min=torch.finfo(string.dtype).tiny)
    share = ((wanted[1:-1] - places[left]) / gap).unsqueeze(1)
    inner = string[left] + share * (string[right] - string[left])
    return torch.cat([string[:1], inner, string[-1:]])


def _searched(
    potential: Potential, x: Tensor, index: int, tol: float, max_steps: int, radius: float
) -> CriticalPoint:
    """Go to a critical point: up along the `index` lowest eigenvectors, down along the others."""
    slope, hessian = torch.func.grad(potential), torch.func.hessian(potential)
    most = 1e3 * radius
    steps = polished = 0
    value, g, H = potential(x), slope(x), hessian(x)
    while steps < max_steps:
        values, vectors = torch.linalg.eigh((H + H.T) / 2)
        norm = float(g.norm())
        # Where rounding keeps the gradient above `tol`, a few steps more are all there is to gain.
        polished += norm <= tol * max(1.0, float(values.abs().max()))
        if norm <= tol or polished > 5:
            break
        steps += 1
        along = vectors.T @ g
        along[:index] *= -1
        move = -vectors @ (
            along / values.abs().clamp(min=1e-12 * float(values.abs().max()) + 1e-300)
        )
        if float(move.norm()) > radius:
            move = move * (radius / move.norm())
        new = x + move
        new_value, new_g = potential(new), slope(new)
        expected = float(g @ move + move @ H @ move / 2)
        # A step of little change in a value of limited digits is judged by the gradient.
        noise = 1e-13 * max(1.0, abs(float(value)))
        error = abs(float(new_value - value) - expected)
        good = error <= 0.5 * abs(expected) or (
            abs(expected) < 10 * noise and float(new_g.norm()) <= 2 * float(g.norm())
        )
        if bool(torch.isfinite(new_g).all()) and good:
            if error < 0.1 * abs(expected):
                radius = min(2 * radius, most)
            x, value, g, H = new, new_value, new_g, hessian(new)
        else:
            radius /= 4
            if radius < 1e-15 * max(1.0, float(x.norm())):
                break
    return _point(potential, x, g, H, index, tol, steps)


def _point(
    potential: Potential, x: Tensor, g: Tensor, H: Tensor, index: int, tol: float, steps: int
) -> CriticalPoint:
    values = torch.linalg.eigvalsh((H + H.T) / 2)
    size = float(values.abs().max())
    negative = int((values < -1e-9 * size).sum())
    norm = float(g.norm())
    status: Literal["converged", "wrong_index", "not_converged"] = "converged"
    if not norm <= tol * max(1.0, size):
        status = "not_converged"
    elif negative != index:
        status = "wrong_index"
    return CriticalPoint(x, float(potential(x)), norm, values, negative, status, steps)


def _start(potential: Potential, point: Tensor, name: str, tol: float, max_steps: int) -> Tensor:
    if not tol > 0 or max_steps < 1:
        raise ValueError(f"tol must be positive and max_steps at least 1, got {tol}, {max_steps}")
    if point.dim() != 1 or not bool(torch.isfinite(point).all()):
        raise ValueError(f"{name} must be a finite point of shape (p,), got {point}")
    x = point.detach().double().cpu()
    if not math.isfinite(float(scalar_valued("potential", potential)(x))):
        raise ValueError(f"the potential at {name} must be finite, got {float(potential(x))}")
    return x
