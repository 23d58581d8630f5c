"""Starts of a flow: drawn at random, or in the valley that leads to infinity."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.flow.activations import Activation
from heatgrad.flow.networks import NetworkFit
from heatgrad.flow.shallow import unpack

__all__ = ["random_start", "valley_start"]


def random_start(fit: NetworkFit, *, seed: int, gain: float = 1.0) -> Float[Tensor, " p"]:
    """Return weights and offsets drawn uniformly, as wide as torch's layers draw them.

    Args:
        fit: The network.
        seed: Of the stream `"init"`.
        gain: Multiplies the width, gain / sqrt(inputs); positive [1].

    Raises:
        ValueError: If the gain is not positive.

    Example:
        >>> from heatgrad.flow.networks import polynomial_fit
        >>> fit = polynomial_fit(activation="tanh", hidden=(2,))
        >>> random_start(fit, seed=0).shape, random_start(fit, seed=0).dtype
        (torch.Size([7]), torch.float64)
    """
    if not (math.isfinite(gain) and gain > 0):
        raise ValueError(f"gain must be positive and finite, got {gain!r}")
    generator = stream_generator(seed, "init")
    drawn = torch.rand(fit.size, generator=generator, dtype=torch.float64) * 2 - 1
    parts = unpack(drawn.numpy(), fit.widths)
    for (matrix, offset), fan_in in zip(parts, fit.widths, strict=False):
        matrix *= gain / math.sqrt(fan_in)
        offset *= gain / math.sqrt(fan_in)
    return drawn


def valley_start(
    fit: NetworkFit, step: float, *, center: float | None = None, seed: int = 0
) -> Float[Tensor, " p"]:
    r"""Return weights whose outputs approach the polynomial as the step goes to 0.

    Units bent about the same place, with growing outer weights, take finite differences:

    $$\frac{s(b + \epsilon x) + s(b - \epsilon x) - 2 s(b)}{\epsilon^2 s''(b)}
    \xrightarrow[\epsilon \to 0]{} x^2, \qquad
    \sum_j v_j \tau_j^r = \frac{c_r\, r!}{s^{(r)}(b)\, \epsilon^r}, \quad r = 1, \dots, m
    \tag{A.14}$$

    for a polynomial of degree m with coefficients c, by m units s(b + ε τ_j x). The loss is 0 only
    in the limit, where the outer weights are infinite. With two hidden layers the first carries x
    itself, as the difference of two of its units. Units that are not needed are drawn at random,
    with outer weights of 0.

    Args:
        fit: The network, of one input, with the polynomial's coefficients.
        step: ε, positive: the smaller, the smaller is the loss and the larger are the weights.
        center: b; that of the activation unless given. There no derivative up to the m-th that the
            polynomial needs may vanish.
        seed: Of the units that are not needed, stream `"init"`.

    Raises:
        ValueError: If the network has too few units, the target is no polynomial of degree 1 or
            more, or a derivative that is needed vanishes.

    References:
        Theory page: Eq. (A.14).

    Example:
        >>> from heatgrad.flow.networks import polynomial_fit
        >>> fit = polynomial_fit(activation="softplus", hidden=(2,))
        >>> losses = [fit.value(valley_start(fit, step)) for step in (0.4, 0.2, 0.1)]
        >>> [round(a / b) for a, b in zip(losses, losses[1:])]
        [16, 16]
    """
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, got {step!r}")
    unit = fit.activation
    b = unit.center if center is None else center
    nodes, outer, constant = _differences(fit, step, b)
    theta = random_start(fit, seed=seed)
    layers = [tuple(map(torch.from_numpy, pair)) for pair in unpack(theta.numpy(), fit.widths)]
    needed = len(nodes)
    matrix, offset = layers[-2]  # of the units that bend
    if len(fit.hidden) == 1:
        matrix[:needed, 0] = step * nodes
    else:
        if fit.hidden[0] < 2:
            raise ValueError(f"the first layer must have at least 2 units, got {fit.hidden[0]}")
        b0 = unit.odd_center
        slope = _derivatives(unit, b0, 1)[1]
        layers[0][0][:2, 0] = torch.tensor([step, -step], dtype=torch.float64)
        layers[0][1][:2] = b0
        matrix[:needed] = 0
        share = nodes / (2 * slope)  # (s(b0 + ε x) - s(b0 - ε x)) / (2 s'(b0)) is ε x
        matrix[:needed, 0], matrix[:needed, 1] = share, -share
    offset[:needed] = b
    layers[-1][0].zero_()
    layers[-1][0][0, :needed] = outer
    layers[-1][1][0] = constant
    return theta


def _differences(
    fit: NetworkFit, step: float, b: float
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"], float]:
    """Return the nodes and the outer weights of Eq. (A.14), and the offset of the output."""
    if fit.coefficients is None or fit.x.shape[1] != 1:
        raise ValueError("fit must be of a polynomial of one variable; see polynomial_fit")
    degree = max((n for n, c in enumerate(fit.coefficients) if c), default=0)
    if not 1 <= degree <= fit.hidden[-1]:
        raise ValueError(
            f"the polynomial must have a degree from 1 to the {fit.hidden[-1]} units of the last "
            f"hidden layer, got {degree}"
        )
    slopes = _derivatives(fit.activation, b, degree)
    right = torch.zeros(degree, dtype=torch.float64)
    for r in range(1, degree + 1):
        c = fit.coefficients[r] if r < len(fit.coefficients) else 0.0
        if c and abs(slopes[r]) < 1e-6:
            raise ValueError(
                f"derivative {r} of {fit.activation.name} must not vanish at center {b:g}, got "
                f"{slopes[r]:.2g}; take another center"
            )
        right[r - 1] = c * math.factorial(r) / (slopes[r] * step**r) if c else 0.0
    nodes = torch.linspace(-1, 1, degree + degree % 2, dtype=torch.float64)[:degree]
    powers = torch.stack([nodes**r for r in range(1, degree + 1)])
    outer = torch.linalg.solve(powers, right)
    return nodes, outer, fit.coefficients[0] - float(outer.sum()) * slopes[0]


def _derivatives(unit: Activation, at: float, order: int) -> list[float]:
    """Return the value and the derivatives of an activation at a place."""
    x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    value = unit.torch(x)
    found = [float(value.detach())]
    for _ in range(order):
        (value,) = torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)
        found.append(float(value.detach()))
        if not value.requires_grad:
            value = value + 0 * x
    return found
