"""What a path did between two steps: crossings of a boundary by the Brownian bridge."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.fokker_planck.processes.process import Points, scalar_valued
from heatgrad.fokker_planck.processes.region import Box, HalfSpace, Region, check_coordinates

__all__ = ["Faces", "crossing_probability", "crossing_share", "faces_of"]


@dataclass(frozen=True)
class Faces:
    """The smooth pieces of a region's boundary.

    Attributes:
        heights: Of points, shape (n, p), to shape (n, k): positive inside all pieces.
        slopes: Their gradients, shape (n, k, p).
        is_plane: Whether the gradients are the same everywhere.
    """

    heights: Callable[[Points], Float[Tensor, "n k"]]
    slopes: Callable[[Points], Float[Tensor, "n k p"]]
    is_plane: bool = False


def faces_of(region: Region) -> Faces:
    """Return a region's pieces: the finite sides of a box or half-space, else its one function.

    The bridge looks at each side of a box for itself; of a region that is the least of several
    functions it sees one only, the nearest.
    """
    if isinstance(region, Box):
        return _planes(region, *_sides(region))
    if isinstance(region, HalfSpace):
        return _planes(region, [[-float(n) for n in region.normal]], [region.offset])

    level = scalar_valued("region", region)

    def heights(x: Points) -> Float[Tensor, "n k"]:
        return torch.func.vmap(level)(x).unsqueeze(1)

    one = torch.func.vmap(torch.func.grad(level))

    def slopes(x: Points) -> Float[Tensor, "n k p"]:
        gradient: Tensor = one(x)
        return gradient.unsqueeze(1)

    return Faces(heights, slopes)


def _sides(box: Box) -> tuple[list[list[float]], list[float]]:
    normals, offsets = [], []
    for axis, bounds in enumerate(zip(box.low, box.high, strict=True)):
        for sign, bound in zip((1.0, -1.0), bounds, strict=True):
            if abs(bound) < float("inf"):
                normals.append([sign if i == axis else 0.0 for i in range(len(box.low))])
                offsets.append(-sign * bound)
    if not offsets:
        raise ValueError("the region must have a boundary, got a box without finite sides")
    return normals, offsets


def _planes(region: Box | HalfSpace, normals: list[list[float]], offsets: list[float]) -> Faces:
    inward, beyond = (torch.tensor(a, dtype=torch.float64) for a in (normals, offsets))

    def heights(x: Points) -> Float[Tensor, "n k"]:
        check_coordinates(region, x)
        return torch.addmm(beyond.to(x), x, inward.to(x).T)

    def slopes(x: Points) -> Float[Tensor, "n k p"]:
        return inward.to(x).expand(len(x), -1, -1)

    return Faces(heights, slopes, is_plane=True)


def crossing_probability(
    before: Float[Tensor, "..."],
    after: Float[Tensor, "..."],
    spread: Float[Tensor, "..."],
    dt: float,
) -> Float[Tensor, "..."]:
    r"""Return the probability that a path touched a boundary between two of its points.

    The height h of a path above a plane has the variance $2 D_n \Delta t$ in a step, and a
    Brownian bridge of variance $s^2$ from h to h' reaches zero with probability
    $e^{-2 h h' / s^2}$, so

    $$P = e^{-h h' / (D_n \Delta t)}, \qquad D_n = \nabla h \cdot D \nabla h; \qquad
    P = 1 \text{ if } h' \le 0 \tag{F.62}$$

    Without noise across the boundary only an end beyond it is a crossing.

    Args:
        before: h, the heights before the step.
        after: h', those after it.
        spread: $D_n$.
        dt: Of the step [time].

    Example:
        >>> h = torch.tensor([0.1, 0.1])
        >>> crossing_probability(h, torch.tensor([0.1, -0.1]), torch.ones(2), dt=0.01)
        tensor([0.3679, 1.0000])
    """
    tiny = torch.finfo(before.dtype).tiny
    exponent = before.clamp(min=0) * after.clamp(min=0) / (spread * dt).clamp(min=tiny)
    quiet = (spread <= 0) & (after > 0)
    return torch.where(quiet, torch.zeros_like(exponent), torch.exp(-exponent))


def crossing_share(
    before: Float[Tensor, " n"],
    after: Float[Tensor, " n"],
    spread: Float[Tensor, " n"],
    dt: float,
    xi: Float[Tensor, " n"],
    uniform: Float[Tensor, " n"],
) -> Float[Tensor, " n"]:
    r"""Return at which share of a step a path that crossed did so first.

    $$\frac{s}{1 - s} \sim \mathrm{IG}\Bigl(\frac{h}{|h'|},\; \frac{h^2}{2 D_n \Delta t}\Bigr)
    \tag{F.63}$$

    the inverse Gaussian law of its mean and shape: in the time u = s / (1 - s) the bridge is a
    free path with a drift. It is drawn by the method of Michael, Schucany and Haas.

    Args:
        before: h, positive.
        after: h', of either sign: a path that came back is its own mirror image.
        spread: $D_n$; where it is zero the path is a straight line.
        dt: Of the step [time].
        xi: Standard normal numbers.
        uniform: Uniform numbers from 0 to 1.
    """
    tiny = torch.finfo(before.dtype).tiny
    mean = before / after.abs().clamp(min=1e-12 * before + tiny)
    a = mean * xi.square() * spread * dt / before.square().clamp(min=tiny)
    # The smaller root, written without a difference of large numbers.
    small = mean / (1 + a + torch.sqrt(a * (2 + a)))
    first = uniform * (mean + small) <= mean
    u = torch.where(first, small, mean / small.clamp(min=tiny) * mean)
    return u / (1 + u)
