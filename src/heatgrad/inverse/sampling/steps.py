"""Steps of a guided sampler down the levels."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from heatgrad.inverse.guidance.guidance import Steering

__all__ = ["SAMPLERS", "Sampler", "num_calls", "run"]

Sampler = Literal["angle", "heun", "euler"]

SAMPLERS: tuple[Sampler, ...] = ("angle", "heun", "euler")
"""The names of the samplers."""


_FAR = 1e3  # deviations of the prior, in the mean square of all samples


def num_calls(sampler: Sampler, steps: int) -> int:
    """Return how often the denoiser is called for each draw.

    Example:
        >>> num_calls("heun", 10), num_calls("euler", 10)
        (19, 10)
    """
    return steps if sampler == "euler" else 2 * steps - 1


def run(
    steering: Steering, x: Tensor, levels: Sequence[float], sampler: Sampler, data_std: float
) -> Tensor:
    r"""Return samples at level 0.

    `euler` and `heun` follow $dx/d\sigma = (x - D) / \sigma$. `angle` is Heun's method after a
    change of variables that makes data of deviation s stand still,

    $$\sigma = s \tan\varphi, \quad v = x \cos\varphi, \qquad
    \frac{dv}{d\varphi} = \frac{v \cos\varphi - D}{\sin\varphi}: \tag{I.28}$$

    numbers of variance s² that no sensor sees keep theirs with any number of steps. The last step,
    to level 0, is $x = D$ for all three.

    Args:
        steering: Denoises, and corrects steps.
        x: Samples at the first level, shape (n, *shape).
        levels: Strictly decreasing, the last 0.
        sampler: Which method.
        data_std: s, positive.

    Raises:
        ValueError: If the samples end far beyond the prior: the guidance diverged.

    References:
        Karras et al. (2022), arXiv:2206.00364v2, Algorithm 1; Lu and Song (2025),
        arXiv:2410.11081 (the angle). Theory page: Eq. (I.28).
    """
    with torch.no_grad():
        for sigma, below in pairwise(levels):
            x0 = steering.denoise(x, sigma, is_first=True)
            if below == 0:
                ahead = x0
            elif sampler == "angle":
                ahead = _angle(steering, x, x0, sigma, below, data_std)
            else:
                slope = (x - x0) / sigma
                ahead = x + (below - sigma) * slope
                if sampler == "heun":
                    there = steering.denoise(ahead, below, is_first=False)
                    ahead = x + (below - sigma) / 2 * (slope + (ahead - there) / below)
            x = steering.moved(ahead, sigma, below)
        found = steering.finished(x)
    size = float(found.square().mean().sqrt())
    if not size <= _FAR * data_std:
        raise ValueError(
            f"the samples must stay near the prior, got a size of {size:.3g} where it has "
            f"{data_std:g}: the guidance diverged; lower its weights or rates, or take more levels"
        )
    return found


def _angle(
    steering: Steering, x: Tensor, x0: Tensor, sigma: float, below: float, data_std: float
) -> Tensor:
    """Return one step of Heun's method in the angle, Eq. (I.28)."""
    start, end = math.atan2(sigma, data_std), math.atan2(below, data_std)
    v = x * math.cos(start)
    slope = (v * math.cos(start) - x0) / math.sin(start)
    ahead = v + (end - start) * slope
    there = steering.denoise(ahead / math.cos(end), below, is_first=False)
    second = (ahead * math.cos(end) - there) / math.sin(end)
    return (v + (end - start) / 2 * (slope + second)) / math.cos(end)
