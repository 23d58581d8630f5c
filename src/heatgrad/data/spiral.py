"""Two intertwined spiral arms in the plane."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.data.checks import check_int, check_positive, check_split
from heatgrad.data.dataset import Ceiling, Dataset
from heatgrad.data.noise import check_rate
from heatgrad.data.quadrature import planar_bayes_accuracy
from heatgrad.data.split import stratified_split
from heatgrad.data.task import Task

__all__ = ["Spiral"]


@dataclass(frozen=True, kw_only=True)
class Spiral(Task):
    r"""Two classes on intertwined spiral arms, blurred by isotropic Gaussian noise.

    $$r_i = a i, \qquad \theta_i = b i + \pi c, \qquad
    x_i = r_i (\cos\theta_i, \sin\theta_i) + \epsilon_i, \qquad
    \epsilon_i \sim N(0, \sigma^2 I_2), \tag{T.1}$$

    for $i = 1, \dots, N/2$ in each class c, with $a = \text{radius} / (N/2)$ and
    $b = 2\pi\,\text{turns} / (N/2)$. Samples are permuted and split with exactly equal classes
    in both parts.

    The paper gives neither a, b nor the radius. Its text says four full revolutions, the
    default here; its published accuracies (SGD 0.55 to 0.60, momentum 0.883, Adam 0.9135) fit
    two turns, i.e. 4 pi radians, with radius 3 to 4.

    Attributes:
        num_samples: N, both classes and both parts together, even.
        num_test: Size of the test part, even.
        turns: Revolutions of each arm, positive (the paper: four) [1].
        radius: Outer radius a N/2, positive (not given in the paper) [data].
        sigma: Standard deviation of the noise, positive (the paper: 0.2) [data].
        label_noise: Probability that a label is replaced [1].
        noise_in: The parts that get label noise.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> data = Spiral(num_samples=1000, num_test=200).load(seed=0)
        >>> data.input_shape, int(data.y_test.sum()), round(data.ceiling.clean, 3)
        ((2,), 100, 0.994)

    References:
        [Ray] appendix A. Theory page: Eqs. (T.1) to (T.3).
    """

    num_samples: int = 10_000
    num_test: int = 2_000
    turns: float = 4.0
    radius: float = 4 * math.pi
    sigma: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.label_noise, 2)
        for name in ("num_samples", "num_test"):
            value = getattr(self, name)
            check_int(name, value, at_least=2)
            if value % 2:
                raise ValueError(f"{name} must be even, for two equal classes, got {value}")
        check_split(self.num_samples, self.num_test)
        for name in ("turns", "radius", "sigma"):
            check_positive(name, getattr(self, name))

    def generate(self, seed: int) -> Dataset:
        """Return the data with clean labels, from the streams `(seed, "data", ...)`."""
        curve = torch.cat([self.curve(0), self.curve(1)])
        labels = torch.arange(2).repeat_interleave(self.num_samples // 2)
        noise = torch.randn(
            curve.shape, generator=stream_generator(seed, "data", 0), dtype=torch.float64
        )
        x = (curve + self.sigma * noise).float()
        train, test = stratified_split(labels, self.num_test, stream_generator(seed, "data", 1))
        clean, error = _bayes_accuracy(self.num_samples, self.turns, self.radius, self.sigma)
        return Dataset.from_clean(
            x_train=x[train],
            y_train=labels[train],
            x_test=x[test],
            y_test=labels[test],
            num_classes=2,
            ceiling=Ceiling(clean=clean, noisy=clean, stderr=error),
        )

    def curve(self, label: int) -> Float64[Tensor, "half 2"]:
        """Return the noise-free points of class 0 or 1, Eq. (T.1), from the centre outwards."""
        return _curve(self.num_samples, self.turns, self.radius, label)

    def posterior(self, x: Float[Tensor, "n 2"]) -> Float64[Tensor, " n"]:
        r"""Return the exact probability of class 1 at each point.

        $$P(1 \mid x) = \frac{f_1(x)}{f_0(x) + f_1(x)}, \qquad
        f_c(x) = \frac{2}{N} \sum_{i=1}^{N/2} N(x; \tilde x_i^{(c)}, \sigma^2 I_2), \tag{T.2}$$

        in float64 on the CPU; labels are clean ones.

        Args:
            x: Points in the plane [data].

        Example:
            >>> Spiral(turns=2, radius=4).posterior(torch.zeros(1, 2)).item()
            0.5
        """
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"x must have shape (n, 2), got {tuple(x.shape)}")
        chunks = torch.split(x.detach().to("cpu", torch.float64), 1024)
        return torch.cat([torch.sigmoid(self._log_odds(chunk)) for chunk in chunks])

    def _log_odds(self, x: Tensor) -> Tensor:
        log_density = []
        for label in (0, 1):
            # Differences, not a matrix product: exact however small sigma is.
            distance = torch.cdist(
                x, self.curve(label), compute_mode="donot_use_mm_for_euclid_dist"
            )
            log_density.append(torch.logsumexp(-0.5 * (distance / self.sigma) ** 2, dim=1))
        return log_density[1] - log_density[0]


def _curve(num_samples: int, turns: float, radius: float, label: int) -> Tensor:
    half = num_samples // 2
    fraction = torch.arange(1, half + 1, dtype=torch.float64) / half
    theta = 2 * math.pi * turns * fraction
    points = radius * fraction[:, None] * torch.stack([theta.cos(), theta.sin()], dim=1)
    # theta + pi turns the point to its opposite, exactly.
    return -points if label else points


@lru_cache(maxsize=256)
def _bayes_accuracy(
    num_samples: int, turns: float, radius: float, sigma: float
) -> tuple[float, float]:
    means = [_curve(num_samples, turns, radius, label) for label in (0, 1)]
    return planar_bayes_accuracy(means[0], means[1], sigma)
