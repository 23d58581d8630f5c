"""Outputs and derivatives of networks with one or two hidden layers, written out."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from heatgrad.flow.activations import Activation, Array

__all__ = ["Layers", "curvature", "forward", "jacobian", "unpack"]


@dataclass(frozen=True)
class Layers:
    """What one pass through a network leaves behind.

    Attributes:
        weights: Matrix and offsets of each layer.
        inputs: What each layer was handed, with a row of ones below, shape (fan_in + 1, n).
        slopes: First derivative of each hidden layer's units, shape (units, n).
        bends: Second derivative, the same shape.
        output: Of the network, shape (n,).
    """

    weights: tuple[tuple[Array, Array], ...]
    inputs: tuple[Array, ...]
    slopes: tuple[Array, ...]
    bends: tuple[Array, ...]
    output: Array


def unpack(theta: Array, widths: tuple[int, ...]) -> tuple[tuple[Array, Array], ...]:
    """Return the matrix and the offsets of each layer: views, in the order of torch's layers."""
    parts, at = [], 0
    for fan_in, fan_out in pairwise(widths):
        end = at + fan_in * fan_out
        parts.append((theta[at:end].reshape(fan_out, fan_in), theta[end : end + fan_out]))
        at = end + fan_out
    return tuple(parts)


def forward(theta: Array, widths: tuple[int, ...], activation: Activation, x: Array) -> Layers:
    r"""Take all points through a network.

    $$a_0 = x, \quad a_l = s(W_l a_{l-1} + b_l), \quad
    f = W_{m+1} a_m + b_{m+1} \tag{A.11}$$

    Args:
        theta: All weights, shape (p,).
        widths: Units of each layer, the input and the one output included.
        activation: s.
        x: Points, shape (widths[0] + 1, n): a row of ones below them.
    """
    weights = unpack(theta, widths)
    inputs, slopes, bends = [x], [], []
    for matrix, offset in weights[:-1]:
        value, slope, bend = activation.jet(matrix @ inputs[-1][:-1] + offset[:, None])
        below = np.ones((len(value) + 1, value.shape[1]), value.dtype)
        below[:-1] = value
        inputs.append(below)
        slopes.append(slope)
        bends.append(bend)
    matrix, offset = weights[-1]
    output = matrix[0] @ inputs[-1][:-1] + offset[0]
    return Layers(weights, tuple(inputs), tuple(slopes), tuple(bends), output)


def _order(parts: list[tuple[Array, int]]) -> Array:
    """Return rows (unit, input and offset) in the order of the parameter vector."""
    rows = []
    for block, units in parts:
        fan = len(block) // units
        cube = block.reshape(units, fan, *block.shape[1:])
        rows += [cube[:, :-1].reshape(-1, *block.shape[1:]), cube[:, -1]]
    return np.concatenate(rows)


def _pairs(units: Array, inputs: Array) -> Array:
    """Return the products of every unit with every input, shape (units * inputs, n)."""
    return (units[:, None] * inputs[None]).reshape(-1, inputs.shape[1])


def _backs(layers: Layers) -> list[Array]:
    """Return the derivative of the output by each hidden layer's sums, shape (units, n)."""
    backs: list[Array] = []
    above = layers.weights[-1][0].T  # (units, 1)
    for depth in range(len(layers.slopes) - 1, -1, -1):
        backs.insert(0, above * layers.slopes[depth])
        if depth:
            above = layers.weights[depth][0].T @ backs[0]
    return backs


def jacobian(layers: Layers) -> Array:
    """Return the derivative of the outputs by the parameters, shape (p, n)."""
    parts = [
        (_pairs(back, inputs), len(back))
        for back, inputs in zip(_backs(layers), layers.inputs, strict=False)
    ]
    return _order([*parts, (layers.inputs[-1], 1)])


def curvature(layers: Layers, residual: Array) -> Array:
    r"""Return the sum of the outputs' Hessians, weighted, shape (p, p).

    $$\sum_i r_i \nabla^2_\theta f(x_i) \tag{A.12}$$

    With $z_l$ the sums of layer l, $A_l$ its inputs with a 1 below, and
    $\partial f / \partial z_l = \delta_l$, the blocks are $\sum_i r_i\,
    (\partial^2 f / \partial z_l \partial z_m) A_l A_m'$, and $\sum_i r_i\,
    \delta_m\, \partial A_m / \partial z_l$ where a weight of a layer above meets its own input.
    """
    if len(layers.slopes) == 1:
        return _one_hidden(layers, residual)
    return _two_hidden(layers, residual)


def _unordered(sizes: list[tuple[int, int]]) -> NDArray[np.intp]:
    """Return where each row (unit, input and offset) lies in the parameter vector."""
    parts, at = [], 0
    for units, fan in sizes:
        weights = at + np.arange(units * (fan - 1)).reshape(units, fan - 1)
        offsets = at + units * (fan - 1) + np.arange(units)
        parts.append(np.concatenate([weights, offsets[:, None]], axis=1).ravel())
        at += units * fan
    return np.concatenate(parts)


def _one_hidden(layers: Layers, residual: Array) -> Array:
    (x, hidden), (slope,), (bend,) = layers.inputs, layers.slopes, layers.bends
    units, fan = len(slope), len(x)
    inner = units * fan
    v = layers.weights[1][0][0]
    size = inner + len(hidden)
    total = np.zeros((size, size), slope.dtype)
    each = np.arange(units)
    own = total[:inner, :inner].reshape(units, fan, units, fan)
    own[each, :, each] = np.einsum("jn,an,bn->jab", v[:, None] * bend * residual, x, x)
    mixed = total[:inner, inner:-1].reshape(units, fan, units)
    mixed[each, :, each] = (slope * residual) @ x.T
    total[inner:-1, :inner] = total[:inner, inner:-1].T
    return _sorted(total, [(units, fan), (1, units + 1)])


def _two_hidden(layers: Layers, residual: Array) -> Array:
    x, first, second = layers.inputs
    (slope, upper_slope), (bend, upper_bend) = layers.slopes, layers.bends
    matrix, v = layers.weights[1][0], layers.weights[2][0][0]
    units, uppers, fan, wide = len(slope), len(upper_slope), len(x), len(first)
    lower, middle = units * fan, uppers * wide
    size = lower + middle + len(second)
    total = np.zeros((size, size), slope.dtype)
    each, over = np.arange(units), np.arange(uppers)
    upper = v[:, None] * upper_slope * residual  # r times delta of the upper layer
    curve = v[:, None] * upper_bend * residual

    inner = total[:lower, :lower].reshape(units, fan, units, fan)
    reach = matrix.T @ (curve[:, None] * (matrix[:, :, None] * slope)).reshape(uppers, -1)
    reach = reach.reshape(units, units, -1) * slope[:, None]  # (j, l, n)
    reach[each, each] += (matrix.T @ upper) * bend
    inner[...] = np.einsum("jln,an,bn->jalb", reach, x, x, optimize=True)

    block = total[lower : lower + middle, lower : lower + middle]
    block = block.reshape(uppers, wide, uppers, wide)
    block[over, :, over] = (curve[:, None] * first) @ first.T

    cross = total[:lower, lower : lower + middle].reshape(units, fan, uppers, wide)
    passed = matrix.T[:, :, None] * slope[:, None]  # (l, k, n): of z_k by z_l
    cross[...] = np.einsum("lkn,an,bn->lakb", passed * curve, x, first, optimize=True)
    cross[each, :, :, each] += np.einsum("kn,jn,an->jak", upper, slope, x, optimize=True)
    total[lower : lower + middle, :lower] = total[:lower, lower : lower + middle].T

    last = slice(lower + middle, size - 1)
    by_lower = np.einsum("lkn,an->lak", passed * (upper_slope * residual), x, optimize=True)
    total[:lower, last] = by_lower.reshape(lower, uppers)
    by_middle = total[lower : lower + middle, last].reshape(uppers, wide, uppers)
    by_middle[over, :, over] = (upper_slope * residual) @ first.T
    total[last, : lower + middle] = total[: lower + middle, last].T
    return _sorted(total, [(units, fan), (uppers, wide), (1, uppers + 1)])


def _sorted(total: Array, sizes: list[tuple[int, int]]) -> Array:
    at = _unordered(sizes)
    out = np.empty_like(total)
    out[np.ix_(at, at)] = total
    return out
