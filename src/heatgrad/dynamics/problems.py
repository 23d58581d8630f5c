"""Problems of stochastic gradient descent by name: the loss of a sample, and the samples."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from heatgrad.core.random import stream_generator

__all__ = ["PROBLEMS", "Problem"]


@dataclass(frozen=True)
class Problem:
    """A loss that is a mean over samples.

    Attributes:
        loss: Of the parameters, shape (p,), and one sample, to a scalar [loss].
        data: Tensors whose first axis counts the samples, in double precision.
    """

    loss: Callable[..., Tensor]
    data: tuple[Tensor, ...]


def noisy_wells(
    *,
    num_samples: int = 64,
    tilt: float = 0.05,
    spread: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
) -> Problem:
    r"""Two wells in the plane, and gradients that differ from sample to sample by a constant.

    $$\ell_i(\theta) = \tfrac14 (\theta_1^2 - 1)^2 + \tfrac12 (\theta_2 - \theta_1)^2 +
    a \theta_1 + \xi_i \cdot \theta \tag{F.120}$$

    with centred ξ of exactly the given deviations, so the mean loss is known: wells near
    θ₁ = ±1, for a > 0 the left one deeper. With a deviation of 0 the noise is degenerate and
    reaches the other coordinate through the drift alone.

    Args:
        num_samples: At least 3.
        tilt: a.
        spread: Deviations of ξ along both axes, at least 0.
        seed: Of ξ.

    Raises:
        ValueError: If there are too few samples.

    Example:
        >>> problem = noisy_wells(num_samples=8, tilt=0.0)
        >>> each = torch.func.vmap(problem.loss, in_dims=(None, 0))
        >>> float(each(torch.zeros(2, dtype=torch.float64), *problem.data).mean())
        0.25
    """
    if num_samples < 3:
        raise ValueError(f"num_samples must be at least 3, got {num_samples}")
    drawn = torch.randn(
        num_samples, 2, generator=stream_generator(seed, "data"), dtype=torch.float64
    )
    drawn = drawn - drawn.mean(0)
    root = torch.linalg.cholesky(drawn.T @ drawn / num_samples)
    xi = torch.linalg.solve_triangular(root, drawn.T, upper=False).T * drawn.new_tensor(spread)

    def loss(theta: Tensor, xi: Tensor) -> Tensor:
        well = (theta[0] ** 2 - 1) ** 2 / 4 + (theta[1] - theta[0]) ** 2 / 2
        return well + tilt * theta[0] + xi @ theta

    return Problem(loss, (xi,))


def phase_retrieval(*, num_samples: int = 32, noise: float = 0.3, seed: int = 0) -> Problem:
    r"""A signal known up to its sign: two wells as deep, and noise that hangs on the place.

    $$\ell_i(\theta) = \tfrac14 (y_i - (x_i \theta)^2)^2, \quad y_i = x_i^2 + \text{noise}
    \tag{F.121}$$

    Args:
        num_samples: At least 2.
        noise: Deviation of the noise on y; with 0 all samples agree at ±1, where SGD stops.
        seed: Of the samples.

    Raises:
        ValueError: If there are too few samples.

    Example:
        >>> problem = phase_retrieval(noise=0.0)
        >>> float(problem.loss(torch.ones(1, dtype=torch.float64), *(d[0] for d in problem.data)))
        0.0
    """
    if num_samples < 2:
        raise ValueError(f"num_samples must be at least 2, got {num_samples}")
    generator = stream_generator(seed, "data")
    x = torch.randn(num_samples, 1, generator=generator, dtype=torch.float64)
    y = x[:, 0] ** 2
    y = y + noise * torch.randn(num_samples, generator=generator, dtype=torch.float64)

    def loss(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return (y - (x @ theta) ** 2) ** 2 / 4

    return Problem(loss, (x, y))


PROBLEMS: dict[str, Callable[..., Problem]] = {
    "noisy-wells": noisy_wells,
    "phase-retrieval": phase_retrieval,
}
