"""The laws of escape at low temperature: Eyring and Kramers, Freidlin and Wentzell."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy import linalg, optimize
from torch import Tensor

from heatgrad.core.errors import HeatgradWarning
from heatgrad.fokker_planck.ensembles.bridge import faces_of
from heatgrad.fokker_planck.processes.langevin import Potential
from heatgrad.fokker_planck.processes.process import scalar_valued
from heatgrad.fokker_planck.processes.region import Region

__all__ = ["EscapeCost", "EyringKramers", "escape_cost", "eyring_kramers"]

To = Literal["well", "saddle"]

_LOWEST_BARRIER = 3.0  # in temperatures: below, the law is off by tens of percents


@dataclass(frozen=True)
class EyringKramers:
    """The mean time of escape over a saddle at low temperature.

    Attributes:
        log_value: The logarithm of the time: it can be beyond all floating point [log time].
        barrier: The height of the saddle over the minimum [loss].
        prefactor: The time is the prefactor times $e^{barrier / T}$ [time].
        temperature: T [loss].
        to: `"well"` or `"saddle"`.
        unstable: The saddle's negative eigenvalue.
    """

    log_value: float
    barrier: float
    prefactor: float
    temperature: float
    to: To
    unstable: float

    @property
    def value(self) -> float:
        """The time; infinite if it overflows [time]."""
        return math.exp(self.log_value) if self.log_value < 709.7 else math.inf


def eyring_kramers(
    potential: Potential,
    minimum: Tensor,
    saddle: Tensor,
    temperature: float,
    *,
    friction: float | None = None,
    to: To = "well",
) -> EyringKramers:
    r"""Return the mean time of escape from a minimum over a saddle.

    $$E\,\tau = \frac{2 \pi}{|\lambda_-|} \sqrt{\frac{|\det \nabla^2 U(z)|}{\det \nabla^2 U(x)}}
    \; e^{(U(z) - U(x)) / T} \tag{F.69}$$

    to the other well, for $dX = -\nabla U\,dt + \sqrt{2T}\,dW$; half of it to the saddle's own
    surface, from where every second path returns. With friction γ and a unit mass
    (`Kinetic`)

    $$|\lambda_-| \to \sqrt{\gamma^2 / 4 + |\lambda_-|} - \gamma / 2. \tag{F.70}$$

    The law is that of low temperature: its relative error is O(T), still percents where the
    barrier is ten temperatures.

    Args:
        potential: U, a function of one point, shape (p,), to a scalar [loss].
        minimum: x, shape (p,).
        saddle: z, shape (p,), the lowest on the way out.
        temperature: T, positive [loss].
        friction: γ, positive, of kinetic dynamics; None for overdamped dynamics.
        to: `"well"`: to the other minimum; `"saddle"`: to the surface that divides the wells.

    Raises:
        ValueError: If a number is out of range, the gradient does not vanish at one of the points,
            one is not of its kind, or the saddle is not above the minimum.

    Warns:
        HeatgradWarning: If the barrier is lower than three temperatures.

    References:
        Bovier et al. (2004), doi:10.4171/JEMS/14; Kramers (1940). Theory page: Eqs. (F.69), (F.70).

    Example:
        >>> double_well = lambda x: ((x**2 - 1) ** 2).sum() / 4
        >>> law = eyring_kramers(double_well, torch.tensor([1.0]), torch.tensor([0.0]), 0.05)
        >>> law.barrier, round(law.prefactor / (2 * math.pi / math.sqrt(2)), 12)
        (0.25, 1.0)
    """
    for name, value in (("temperature", temperature), ("friction", friction)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
    if to not in ("well", "saddle"):
        raise ValueError(f"to must be 'well' or 'saddle', got {to!r}")
    below, bottom = _eigenvalues(potential, minimum, "minimum", 0)
    above, top = _eigenvalues(potential, saddle, "saddle", 1)
    barrier = top - bottom
    if not barrier > 0:
        raise ValueError(f"the saddle must be above the minimum, got {top} and {bottom}")
    if barrier < _LOWEST_BARRIER * temperature:
        warnings.warn(
            f"the barrier is only {barrier / temperature:.2g} temperatures high: the law needs "
            f"{_LOWEST_BARRIER:g} at least; trust a grid or an ensemble",
            HeatgradWarning,
            stacklevel=2,
        )
    rate = abs(float(above[0]))
    if friction is not None:
        # The same number as in Eq. (F.70), without its cancellation at high friction.
        rate = rate / (math.sqrt(friction**2 / 4 + rate) + friction / 2)
    log_prefactor = (
        math.log(2 * math.pi / rate)
        + 0.5 * float(above.abs().log().sum() - below.log().sum())
        - (math.log(2) if to == "saddle" else 0.0)
    )
    return EyringKramers(
        log_prefactor + barrier / temperature,
        barrier,
        math.exp(log_prefactor),
        float(temperature),
        to,
        float(above[0]),
    )


@dataclass(frozen=True)
class EscapeCost:
    """What it costs noise to leave a quadratic well.

    Attributes:
        value: The exponent: the mean time of escape grows as $e^{value}$ [1].
        place: Where on the boundary it is least, shape (p,): where paths leave [param].
        status: `"not_converged"` if the search along the boundary failed.
    """

    value: float
    place: Float[Tensor, " p"]
    status: Literal["converged", "not_converged"]


def escape_cost(
    hessian: Float[Tensor, "p p"],
    diffusion: Float[Tensor, "p p"],
    region: Region,
    *,
    center: Tensor | None = None,
) -> EscapeCost:
    r"""Return the exponent of escape from a quadratic well under anisotropic noise.

    $$E\,\tau \sim e^{Q}, \qquad Q = \min_{h(x) = 0} \tfrac12 (x - c)^\top S^{-1} (x - c),
    \qquad H S + S H^\top = 2 D \tag{F.71}$$

    for drift $-H (x - c)$. For SGD, $2 D = \eta \Sigma_B$ and Q is the quasi-potential over η; for
    $\Sigma_B = s^2 I$ it is $2 \Delta L / (s^2 \eta)$. Of planes the minimum is exact; of another
    boundary it is the least that searches from all principal axes of S find.

    Args:
        hessian: H; its eigenvalues have positive real parts.
        diffusion: D, symmetric and positive semidefinite.
        region: A function of one point, positive inside.
        center: c, inside; the origin, unless given.

    Raises:
        ValueError: If shapes do not fit, H does not confine, the noise does not reach all
            directions, the centre is not inside, or no boundary is found.

    References:
        Freidlin and Wentzell (2012), chapter 4. Theory page: Eq. (F.71).

    Example:
        >>> from heatgrad.fokker_planck.processes.region import HalfSpace
        >>> H, D = torch.diag(torch.tensor([1.0, 4.0])), torch.eye(2) / 16
        >>> cost = escape_cost(H, D, HalfSpace((0.0, 1.0), 0.5))
        >>> round(cost.value, 9)  # the height of the loss over the temperature
        8.0
    """
    H, D = (np.asarray(m.detach().double().cpu()) for m in (hessian, diffusion))
    if H.ndim != 2 or H.shape[0] != H.shape[1] or D.shape != H.shape:
        raise ValueError(f"hessian and diffusion must be square alike, got {H.shape}, {D.shape}")
    if not linalg.eigvals(H).real.min() > 0:
        raise ValueError("hessian must have eigenvalues with positive real parts: no well")
    S = linalg.solve_continuous_lyapunov(H, 2 * D)
    values, vectors = linalg.eigh((S + S.T) / 2)
    if not values[0] > 1e-13 * values[-1]:
        raise ValueError(
            f"noise must reach all directions, got variances from {values[0]:.3g} to "
            f"{values[-1]:.3g}; add some to every gradient"
        )
    origin = torch.zeros(len(H), dtype=torch.float64) if center is None else center.double().cpu()
    faces = faces_of(region)
    heights = faces.heights(origin.unsqueeze(0))[0]
    if not bool((heights > 0).all()):
        raise ValueError(f"center must be inside the region, got heights {heights.tolist()}")
    root = vectors * np.sqrt(values)  # in x = c + root y the cost is |y|² / 2
    if faces.is_plane:
        normals = np.asarray(faces.slopes(origin.unsqueeze(0))[0]) @ root
        lengths = (normals**2).sum(1)
        costs = np.asarray(heights) ** 2 / (2 * lengths)
        k = int(costs.argmin())
        y = -float(heights[k]) / lengths[k] * normals[k]
        return EscapeCost(float(costs[k]), origin + torch.from_numpy(root @ y), "converged")
    return _nearest(lambda y: origin + torch.from_numpy(root @ y), region, len(H))


def _nearest(place: Callable[[np.ndarray], Tensor], region: Region, dim: int) -> EscapeCost:
    """Return the boundary's point nearest to the origin of y, from many starts."""
    frame = place(np.zeros(dim))
    axes = np.stack([(place(e) - frame).numpy() for e in np.eye(dim)], axis=1)
    slope = torch.func.grad(lambda x: region(x).reshape(()))

    def height(y: np.ndarray) -> float:
        return float(region(place(y)))

    def gradient(y: np.ndarray) -> np.ndarray:
        result: np.ndarray = slope(place(y)).numpy() @ axes
        return result

    best: tuple[float, np.ndarray] | None = None
    for way in np.concatenate([np.eye(dim), -np.eye(dim)]):
        far = next((f for f in np.geomspace(1e-6, 1e6, 241) if height(f * way) <= 0), None)
        if far is None:
            continue
        start = optimize.brentq(lambda f, w=way: height(f * w), 0.0, far) * way
        found = optimize.minimize(
            lambda y: y @ y / 2,
            start,
            jac=lambda y: y,
            method="SLSQP",
            constraints={"type": "eq", "fun": height, "jac": gradient},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        for y in (start, found.x):
            if height(0.5 * y) > 0 >= height(2 * y):
                # The search ends near the boundary, not on it.
                y = optimize.brentq(lambda f, y=y: height(f * y), 0.5, 2.0, xtol=1e-15) * y
                if best is None or y @ y / 2 < best[0]:
                    best = (float(y @ y / 2), y)
    if best is None:
        raise ValueError("the region must end somewhere, got no boundary along any axis")
    y, g = best[1], gradient(best[1])
    # At a minimum the way there is along the boundary's normal.
    off = np.linalg.norm(y - (y @ g) / (g @ g) * g) / np.linalg.norm(y)
    return EscapeCost(best[0], place(y), "converged" if off < 1e-4 else "not_converged")


def _eigenvalues(
    potential: Potential, point: Tensor, name: str, index: int
) -> tuple[Float[Tensor, " p"], float]:
    """Return the Hessian's eigenvalues at a critical point of one kind, and the potential."""
    if point.dim() != 1 or not bool(torch.isfinite(point).all()):
        raise ValueError(f"{name} must be a finite point of shape (p,), got {point}")
    x = point.detach().double()
    potential = scalar_valued("potential", potential)
    gradient = float(torch.func.grad(potential)(x).norm())
    H = torch.func.hessian(potential)(x)
    values = torch.linalg.eigvalsh((H + H.T) / 2)
    size = float(values.abs().max())
    if not gradient <= 1e-5 * max(size, 1e-300) * max(1.0, float(x.norm())):
        raise ValueError(
            f"the gradient at the {name} must vanish, got length {gradient:.3g}; polish it with "
            f"find_{name}"
        )
    kinds = int((values < -1e-9 * size).sum()), int((values.abs() <= 1e-9 * size).sum())
    if kinds != (index, 0):
        raise ValueError(
            f"the {name} must have {index} negative and no zero eigenvalues, got {kinds[0]} and "
            f"{kinds[1]}"
        )
    return values, float(potential(x))
