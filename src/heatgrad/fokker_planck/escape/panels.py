"""Integrals of exponentials along a line, kept as logarithms, on panels that resolve them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

__all__ = ["Panels", "cumulated"]

Array = NDArray[np.float64]
Line = Callable[[Array], Array]

_NODES = 16
_RANGE = 4.0  # largest change of the exponent in a panel: above, nodes and digits are lost
_CLEAR = 60.0  # an exponent that far above the least contributes nothing in double precision
_MOST = 200_000


def _rules() -> tuple[Array, Array, Array]:
    """Return Gauss-Legendre nodes and weights, and the matrix of integrals from -1 to each node."""
    x, w = legendre.leggauss(_NODES)
    values = legendre.legvander(x, _NODES)  # P_k at the nodes
    integrals = np.empty((_NODES, _NODES))
    integrals[:, 0] = x + 1
    for k in range(1, _NODES):
        integrals[:, k] = (values[:, k + 1] - values[:, k - 1]) / (2 * k + 1)
    degrees = np.arange(_NODES)
    matrix = integrals @ ((2 * degrees[:, None] + 1) / 2 * values[:, :_NODES].T * w)
    return x, w, matrix


_X, _W, _LEFT = _rules()


class _Local(NamedTuple):
    """What a panel contributes, as logarithms: of each integral, and the exponent's range."""

    down: Array  # of e^{-V} / D
    up: Array  # of e^{V}
    nested: Array  # of e^{V(y) - V(z)} / D(z), z below y
    jump: Array  # of V itself, from end to end
    span: Array


class Panels:
    """The exponent V, by itself or its slope, and the diffusion D along a line.

    Args:
        exponent: V, of an array; None where only its slope is known.
        slope: V', of an array; used without `exponent`.
        diffusion: D, of an array.
    """

    def __init__(self, exponent: Line | None, slope: Line | None, diffusion: Line) -> None:
        self._exponent, self._slope, self._diffusion = exponent, slope, diffusion

    def fields(self, edges: Array) -> tuple[Array, Array, Array]:
        """Return V and log D at the nodes of panels between edges, and half their widths."""
        x, half = _nodes(edges[:-1], edges[1:])
        v, jump = self._values(x, half)
        if self._exponent is None:
            v = v + np.concatenate([[0.0], np.cumsum(jump)[:-1]])[:, None]
        return v, np.log(self._diffusion(x)), half

    def resolve(self, edges: Array, rtol: float) -> tuple[Array, bool]:
        """Return edges of panels on which every integral has converged, and whether it has.

        Raises:
            ValueError: If V or D is not finite somewhere between.
        """
        low, high = edges[:-1], edges[1:]
        width = edges[-1] - edges[0]
        done: list[Array] = []
        count = 0
        while len(low):
            middle = (low + high) / 2
            whole, left, right = (
                self._local(a, b) for a, b in ((low, high), (low, middle), (middle, high))
            )
            fine = _joined(left, right, shift=self._exponent is None)
            gaps = [
                abs(a - b)
                for a, b in zip(whole[: 4 if self._exponent is None else 3], fine, strict=False)
            ]
            ready = (np.max(gaps, axis=0) <= rtol) & (whole.span <= _RANGE)
            # Panels at a jump of V shrink to nothing and then count for nothing.
            smallest = 1e-14 * np.maximum(width, np.maximum(abs(low), abs(high)))
            ready |= high - low <= smallest
            done.append(low[ready])
            count += int(ready.sum())
            low, high, middle = (a[~ready] for a in (low, high, middle))
            low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
            if count + len(low) > _MOST:
                return np.sort(np.concatenate([*done, low, edges[-1:]])), False
        return np.sort(np.concatenate([*done, edges[-1:]])), True

    def far_out(self, x0: float, other: float, side: float) -> float:
        """Return where, on one side of the start, nothing contributes any more.

        Args:
            x0: The start.
            other: The end on its other side, for the scale.
            side: -1.0 below the start, 1.0 above.

        Raises:
            ValueError: If V does not rise enough for a finite mean.
        """
        distances = abs(other - x0) * np.geomspace(1e-6, 1e100, 2121)
        with np.errstate(all="ignore"):
            w = self._risen(x0, distances, side)
        finite = np.isfinite(w)
        known = w[finite]
        if not len(known):
            raise ValueError(f"the potential must be finite beside x0 = {x0}")
        near = finite & (w - known.min() <= _CLEAR)
        last = int(np.flatnonzero(near)[-1])
        if last + 1 == len(w):
            raise ValueError(
                f"the process must be confined {'below' if side < 0 else 'above'} x0, got a "
                f"potential that does not rise there; give reflect"
            )
        a, b = distances[last], distances[last + 1]
        with np.errstate(all="ignore"):
            for _ in range(60):  # not much beyond: a steep wall would take many panels
                value = self._risen(x0, np.append(distances[: last + 1], (a + b) / 2), side)[-1]
                if np.isfinite(value) and value - known.min() <= _CLEAR:
                    a = (a + b) / 2
                else:
                    b = (a + b) / 2
                    if np.isfinite(value) and value - known.min() <= 2 * _CLEAR:
                        break
        is_wall = not np.isfinite(self._risen(x0, np.append(distances[: last + 1], b), side)[-1])
        return float(x0 + side * (a if is_wall else b))

    def _risen(self, x0: float, distances: Array, side: float) -> Array:
        """Return V + log D - log(distance) at distances: what is beyond weighs e^-that."""
        at = x0 + side * distances
        if self._exponent is not None:
            v = self._exponent(at)
        else:
            edges = np.concatenate([[x0], at])
            x, half = _nodes(edges[:-1], edges[1:])
            v = np.cumsum(self._values(x, half)[1])
        risen: Array = v + np.log(self._diffusion(at)) - np.log(distances / distances[0])
        return risen

    def _values(self, x: Array, half: Array) -> tuple[Array, Array]:
        """Return V at nodes, from a panel's left end if only the slope is known, and its rise."""
        if self._exponent is not None:
            return self._exponent(x), np.zeros(len(x))
        assert self._slope is not None
        slope = self._slope(x)
        return half * (slope @ _LEFT.T), half[:, 0] * (slope @ _W)

    def _local(self, low: Array, high: Array) -> _Local:
        x, half = _nodes(low, high)
        v, jump = self._values(x, half)
        log_d = np.log(self._diffusion(x))
        if not (np.isfinite(v).all() and np.isfinite(log_d).all()):
            bad = x[~(np.isfinite(v) & np.isfinite(log_d))]
            raise ValueError(
                f"potential, drift and diffusion must be finite on the way, got NaN or infinity "
                f"at {bad.flat[0]:.6g}"
            )
        least, most = v.min(1, keepdims=True), v.max(1, keepdims=True)
        down, up = np.exp(least - v - log_d), np.exp(v - most)
        log_half = np.log(half[:, 0])
        nested = ((up * (down @ _LEFT.T)) @ _W).clip(np.finfo(float).tiny)
        return _Local(
            np.log(down @ _W) - least[:, 0] + log_half,
            np.log(up @ _W) + most[:, 0] + log_half,
            np.log(nested) + (most - least)[:, 0] + 2 * log_half,
            jump,
            (most - least)[:, 0],
        )


def cumulated(log_values: Array, half: Array, *, backward: bool = False) -> tuple[Array, Array]:
    """Return the logarithm of the integral of a positive function from one end of the line.

    Args:
        log_values: The logarithm of the function at the nodes, shape (panels, nodes).
        half: Half the widths of the panels, shape (panels, 1).
        backward: Whether to integrate from the right end instead of the left.

    Returns:
        It at the nodes, and at all edges from left to right.
    """
    if backward:
        nodes, edges = cumulated(log_values[::-1, ::-1], half[::-1])
        return nodes[::-1, ::-1], edges[::-1]
    scale = log_values.max(1, keepdims=True)
    values = np.exp(log_values - scale)
    log_half = np.log(half)
    tiny = np.finfo(float).tiny
    within = np.log((values @ _LEFT.T).clip(tiny)) + scale + log_half
    whole = np.log((values @ _W).clip(tiny)) + (scale + log_half)[:, 0]
    edges = np.concatenate([[-np.inf], np.logaddexp.accumulate(whole)])
    return np.logaddexp(edges[:-1, None], within), edges


def _nodes(low: Array, high: Array) -> tuple[Array, Array]:
    half = ((high - low) / 2)[:, None]
    return ((high + low) / 2)[:, None] + half * _X, half


def _joined(left: _Local, right: _Local, *, shift: bool) -> tuple[Array, Array, Array, Array]:
    """Return what two neighbours contribute together."""
    rise = left.jump if shift else np.zeros_like(left.jump)
    return (
        np.logaddexp(left.down, right.down - rise),
        np.logaddexp(left.up, right.up + rise),
        np.logaddexp(np.logaddexp(left.nested, right.nested), left.down + right.up + rise),
        left.jump + right.jump,
    )
