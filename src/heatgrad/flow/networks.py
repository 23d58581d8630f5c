"""Small networks on polynomial targets: the setting in which gradient flow runs to infinity."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.core.lookup import lookup
from heatgrad.flow.activations import ACTIVATIONS, Activation
from heatgrad.flow.shallow import Layers, curvature, forward, jacobian

__all__ = ["NetworkFit", "polynomial_fit"]


@dataclass(frozen=True)
class NetworkFit:
    r"""The mean squared error of a fully connected network, as a function of all its weights.

    $$L(\theta) = \frac1n \sum_{i=1}^n r_i^2, \quad r_i = f_\theta(x_i) - y_i; \qquad
    \nabla L = \frac2n J' r, \quad
    \nabla^2 L = \frac2n \Bigl(J' J + \sum_i r_i \nabla^2 f(x_i)\Bigr) \tag{A.13}$$

    Called with a tensor it is an ordinary torch function, differentiable any number of times;
    `value_and_gradient` and `hessian` are closed forms, many times faster for small networks.
    The weights lie in `theta` as in `module(...)`'s parameters: matrix, then offsets, by layer.

    Attributes:
        activation: s, of all hidden units.
        hidden: Units of the one or two hidden layers.
        x: Points, shape (n, d), float64.
        y: Target at each, shape (n,), float64.
        coefficients: Of the polynomial that the target is, constant first, if it is one.

    Raises:
        ValueError: If there are not one or two hidden layers, or x and y do not fit together.

    References:
        [SAD] (arXiv:2505.09572), abstract: fully connected networks with these activations.
        Theory page: Eqs. (A.11) to (A.13).

    Example:
        >>> fit = polynomial_fit((0, 0, 1), activation="tanh", hidden=(2,))
        >>> fit.size
        7
        >>> theta = torch.zeros(7, dtype=torch.float64)
        >>> bool(fit(theta).isclose((fit.y**2).mean()))
        True
    """

    activation: Activation
    hidden: tuple[int, ...]
    x: Float[Tensor, "n d"]
    y: Float[Tensor, " n"]
    coefficients: tuple[float, ...] | None = None
    _points: dict[torch.dtype, tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if len(self.hidden) not in (1, 2) or min(self.hidden) < 1:
            raise ValueError(f"hidden must be one or two positive widths, got {self.hidden}")
        if self.x.dim() != 2 or self.y.shape != self.x.shape[:1] or not len(self.y):
            raise ValueError(
                f"x must be of shape (n, d) and y of shape (n,), n at least 1, got "
                f"{tuple(self.x.shape)} and {tuple(self.y.shape)}"
            )
        if self.x.dtype != torch.float64 or self.y.dtype != torch.float64:
            raise ValueError(f"x and y must be float64, got {self.x.dtype} and {self.y.dtype}")
        if not (self.x.isfinite().all() and self.y.isfinite().all()):
            raise ValueError("x and y must be finite, got an infinity or NaN")

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of every layer, from the input to the output."""
        return (self.x.shape[1], *self.hidden, 1)

    @property
    def size(self) -> int:
        """Number of parameters p."""
        return sum((a + 1) * b for a, b in pairwise(self.widths))

    def __call__(self, theta: Float[Tensor, " p"]) -> Float[Tensor, ""]:
        """Return the loss, by torch."""
        y = self.y.to(theta)
        return ((self.predict(theta, self.x) - y) ** 2).mean()

    def predict(self, theta: Float[Tensor, " p"], x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the network's output at points."""
        self._check(theta)
        value, at = x.to(theta).mT, 0
        layers = list(pairwise(self.widths))
        for number, (fan_in, fan_out) in enumerate(layers):
            end = at + fan_in * fan_out
            value = theta[at:end].view(fan_out, fan_in) @ value + theta[end : end + fan_out, None]
            at = end + fan_out
            if number < len(layers) - 1:
                value = self.activation.torch(value)
        return value[0]

    def value(self, theta: Float[Tensor, " p"]) -> float:
        """Return the loss, in closed form, in the precision of `theta`."""
        _, residual = self._pass(theta)
        return float(residual @ residual) / len(residual)

    def value_and_gradient(self, theta: Float[Tensor, " p"]) -> tuple[float, Float[Tensor, " p"]]:
        """Return the loss and its gradient, in closed form, in the precision of `theta`."""
        layers, residual = self._pass(theta)
        slope = jacobian(layers) @ residual
        slope *= slope.dtype.type(2 / len(residual))
        return float(residual @ residual) / len(residual), torch.from_numpy(slope)

    def hessian(self, theta: Float[Tensor, " p"]) -> Float[Tensor, "p p"]:
        """Return the Hessian, in closed form."""
        layers, residual = self._pass(theta)
        slopes = jacobian(layers)
        both = slopes @ slopes.T
        both += curvature(layers, residual)
        both *= both.dtype.type(2 / len(residual))
        return torch.from_numpy(both)

    def subset(self, rows: Sequence[int] | Tensor) -> "NetworkFit":
        """Return the same loss over some of the points: a minibatch."""
        at = torch.as_tensor(rows)
        return replace(self, x=self.x[at], y=self.y[at])

    def module(self, theta: Float[Tensor, " p"]) -> nn.Sequential:
        """Return the network as a module of torch with these weights; its output has shape (n, 1).

        Units are `nn.Linear` and a module around the activation.
        """
        self._check(theta)
        layers: list[nn.Module] = []
        pairs = list(pairwise(self.widths))
        for number, (fan_in, fan_out) in enumerate(pairs):
            layers.append(nn.Linear(fan_in, fan_out, device="meta", dtype=theta.dtype))
            if number < len(pairs) - 1:
                layers.append(_Apply(self.activation))
        network = nn.Sequential(*layers).to_empty(device="cpu")
        nn.utils.vector_to_parameters(theta.detach().clone(), network.parameters())
        return network

    def _pass(self, theta: Tensor) -> tuple[Layers, np.ndarray]:
        self._check(theta)
        if theta.dtype not in self._points:
            ones = torch.ones(1, len(self.y), dtype=theta.dtype)
            below = torch.cat([self.x.to(theta.dtype).mT, ones])
            self._points[theta.dtype] = below.numpy(), self.y.to(theta.dtype).numpy()
        x, y = self._points[theta.dtype]
        layers = forward(theta.detach().numpy(), self.widths, self.activation, x)
        return layers, layers.output - y

    def _check(self, theta: Tensor) -> None:
        if theta.shape != (self.size,):
            raise ValueError(f"theta must have shape ({self.size},), got {tuple(theta.shape)}")


class _Apply(nn.Module):
    """An activation as a module."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, z: Tensor) -> Tensor:
        """Return the activation of each entry."""
        return self.activation.torch(z)


def polynomial_fit(
    coefficients: Sequence[float] = (0.0, 0.0, 1.0),
    *,
    activation: str,
    hidden: tuple[int, ...],
    points: int = 20,
    interval: tuple[float, float] = (-1.0, 1.0),
) -> NetworkFit:
    """Return the loss of a network on a polynomial at evenly spaced points.

    Width, interval and number of points are not given in the abstract of [SAD]; the defaults are
    ours.

    Args:
        coefficients: Of the polynomial, constant first; (0, 0, 1) is x².
        activation: A key of `ACTIVATIONS`.
        hidden: Units of the one or two hidden layers: (2,) is the network 1-2-1.
        points: n, at least 2; both ends of the interval are among them.
        interval: Its ends [data].

    Raises:
        ValueError: If an argument is out of range.
        SpecError: If the activation is unknown.

    Example:
        >>> polynomial_fit(activation="gelu", hidden=(3, 3), points=5).y.tolist()
        [1.0, 0.25, 0.0, 0.25, 1.0]
    """
    low, high = interval
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"interval must be two finite numbers that increase, got {interval}")
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    if len(coefficients) == 0 or not np.isfinite(coefficients).all():
        raise ValueError(f"coefficients must be finite and at least one, got {coefficients}")
    x = torch.linspace(low, high, points, dtype=torch.float64)
    y = sum((c * x**power for power, c in enumerate(coefficients)), torch.zeros_like(x))
    unit: Activation = lookup(activation, ACTIVATIONS, "activation")
    return NetworkFit(unit, tuple(hidden), x[:, None], y, tuple(map(float, coefficients)))
