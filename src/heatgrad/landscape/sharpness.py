"""Sharpness: how much the loss rises around a solution."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from heatgrad.landscape.ground import Ground, Move
from heatgrad.landscape.norms import Statistics, check_statistics, inputs_for, kept
from heatgrad.landscape.objective import (
    Objective,
    check_repeatable,
    moved_params,
    objective_of,
    quiet,
)
from heatgrad.landscape.scales import Scale, scales_of

__all__ = ["RAY_SHARPNESS", "Noise", "Sharpness", "check_sharpness", "sharpness"]

Kind = Literal["average", "worst"]
Noise = Literal["normal", "sign"]

_STEP = 0.25  # of the radius, in the search for the worst case
# The "random perturbations of magnitude ± 0.1" of [Ray] D.3, as options of `sharpness`.
RAY_SHARPNESS: Mapping[str, Any] = MappingProxyType(
    {"radius": 0.1, "scale": "raw", "noise": "sign"}
)


@dataclass(frozen=True)
class Sharpness:
    """The rise of a loss around a solution.

    Attributes:
        values: The rise in each direction that was drawn; of the worst case one.
        loss: The loss of the solution itself.
        radius: How far it was looked.
        kind: `"average"` or `"worst"`.
        scale: In whose units.
        statistics: What was done about batch normalisation.
    """

    values: NDArray[np.float64]
    loss: float
    radius: float
    kind: str
    scale: str
    statistics: str

    @property
    def value(self) -> float:
        """The mean rise."""
        return float(self.values.mean())

    @property
    def error(self) -> float:
        """Its standard error over the directions; NaN of a single one."""
        count = len(self.values)
        return float(self.values.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return Student's interval of the mean rise over directions; NaN of a single one."""
        half = self.error * float(stats.t.ppf((1 + confidence) / 2, max(1, len(self.values) - 1)))
        return self.value - half, self.value + half


def sharpness(
    model: nn.Module,
    loss: Objective | Callable[[nn.Module], Tensor],
    radius: float,
    *,
    kind: Kind = "average",
    scale: Scale = "element",
    noise: Noise = "normal",
    draws: int = 20,
    steps: int = 20,
    vectors: bool = False,
    statistics: Statistics = "recalibrate",
    recalibrate_on: Iterable[Tensor] | None = None,
    seed: int = 0,
) -> Sharpness:
    r"""Return how much the loss of a network rises when its weights are moved.

    $$S_{\text{avg}} = E_z \tfrac12 [L(\theta + \rho T z) + L(\theta - \rho T z)] - L(\theta),
    \qquad S_{\max} = \max_{|v| \le \rho} L(\theta + T v) - L(\theta) \tag{G.3}$$

    with the diagonal T of `scales_of`. Both signs of a direction are taken, so that a slope does
    not count as sharpness. The worst case is a lower bound of the true one: the best point of
    `steps` steps of projected ascent, a quarter of the radius each.

    The paper's "random perturbations of magnitude ± 0.1" ([Ray] D.3) is `sharpness(model, loss,
    **RAY_SHARPNESS)`; what it measures changes when the weights are rescaled and the function is
    not.

    Args:
        model: The network; it is left as it was. Dropout is off.
        loss: A `DataLoss`, or a function that takes the network and returns a scalar.
        radius: ρ, positive [1, or the weights' own unit for `"raw"`].
        kind: The average over directions, or the worst case.
        scale: T: `"element"`, which no rescaling fools, `"filter"`, which none before batch
            normalisation does, or `"raw"`.
        noise: The distribution of z: standard normal, or signs.
        draws: Directions of the average, at least 1.
        steps: Of the search for the worst case, at least 1.
        vectors: Whether `"filter"` moves biases and normalisations' parameters.
        statistics: Batch normalisation's running statistics: estimated anew at each point, the
            solution's own included, or those of the network (`"frozen"`).
        recalibrate_on: Batches of inputs for that; those of a `DataLoss`, unless given.
        seed: Of the directions.

    Raises:
        ValueError: If a number is out of range, a name is unknown, or the loss is not the same
            when asked twice.

    References:
        [Ray] D.3; Foret et al. (2021), Kwon et al. (2021). Theory page: Eq. (G.3).

    Example:
        >>> point = torch.nn.Linear(3, 1, bias=False).double()
        >>> loss = lambda m: (m.weight**2).sum()
        >>> round(sharpness(point, loss, 0.1, scale="raw", noise="sign").value, 6)
        0.03
    """
    check_sharpness(radius, kind=kind, noise=noise, draws=draws, steps=steps)
    check_statistics(statistics)
    objective = objective_of(loss)
    params = moved_params(model)
    generator = torch.Generator().manual_seed(seed)
    with quiet(model), kept(model):
        inputs = inputs_for(objective, model, statistics, recalibrate_on)
        check_repeatable(objective, model)
        scales = scales_of(params, scale, vectors=vectors)
        if not any(t.any() for t in scales):
            raise ValueError(
                f"in the scale '{scale}' no parameter moves: take another, or vectors=True"
            )
        ground = Ground(model, objective, params, inputs)
        if kind == "average":
            ways = [[t * _drawn(t, noise, generator) for t in scales] for _ in range(draws)]
            moves = [Move(z, sign * radius) for z in ways for sign in (1, -1)]
            center, *both = ground.losses([Move(scales, 0.0), *moves])  # rounded alike
            values = list(np.reshape(both, (draws, 2)).mean(axis=1) - center)
        else:
            values = [_worst(ground, scales, radius, steps, generator)]
    return Sharpness(
        np.array(values), ground.loss, radius, kind, scale, statistics if inputs else "frozen"
    )


def _worst(
    ground: Ground,
    scales: Sequence[Tensor],
    radius: float,
    steps: int,
    generator: torch.Generator,
) -> float:
    """Return the largest rise that was met by projected ascent; NaN if a loss was none."""
    v = _of_length([(t > 0) * _drawn(t, "normal", generator) for t in scales], radius)
    best = 0.0
    for _ in range(steps + 1):
        loss, grads = ground.gradient(Move([t * x for t, x in zip(scales, v, strict=True)], 1.0))
        if math.isnan(loss - ground.loss):
            return math.nan
        best = max(best, loss - ground.loss)
        step = _of_length([t * g for t, g in zip(scales, grads, strict=True)], _STEP * radius)
        v = _inside([x + d for x, d in zip(v, step, strict=True)], radius)
    return best


def _inside(parts: Sequence[Tensor], radius: float) -> list[Tensor]:
    total = torch.sqrt(sum((part.double() ** 2).sum() for part in parts))  # type: ignore[arg-type]
    return _of_length(parts, radius) if total > radius else list(parts)


def _of_length(parts: Sequence[Tensor], length: float) -> list[Tensor]:
    total = torch.sqrt(sum((part.double() ** 2).sum() for part in parts))  # type: ignore[arg-type]
    return [part * (length / total).to(part.dtype) for part in parts] if total > 0 else list(parts)


def _drawn(like: Tensor, noise: Noise, generator: torch.Generator) -> Tensor:
    if noise == "sign":
        z = torch.randint(2, like.shape, generator=generator).double() * 2 - 1
    else:
        z = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    return z.to(device=like.device, dtype=like.dtype)


def check_sharpness(
    radius: float,
    *,
    kind: str = "average",
    noise: str = "normal",
    draws: int = 1,
    steps: int = 1,
) -> None:
    """Refuse settings that no sharpness can be measured with.

    Raises:
        ValueError: With what is required.
    """
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius must be positive and finite, got {radius}")
    for name, value, known in (
        ("kind", kind, ("average", "worst")),
        ("noise", noise, ("normal", "sign")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    for name, count in (("draws", draws), ("steps", steps)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
