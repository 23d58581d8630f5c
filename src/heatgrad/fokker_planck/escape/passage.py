"""Mean first-passage times in one dimension, exactly, by quadrature."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.fokker_planck.escape.panels import Panels, cumulated
from heatgrad.fokker_planck.processes.langevin import Potential
from heatgrad.fokker_planck.processes.process import Process

__all__ = ["Passage", "mean_first_passage_1d", "mean_first_passage_ito", "process_passage"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Passage:
    """A mean first-passage time, kept as its logarithm: it can be beyond all floating point.

    Attributes:
        log_value: The logarithm of the mean [log time].
        log_second_moment: That of the second moment; None if it was not asked for.
        relative_error: Of the mean, estimated: the change on halving all panels.
        status: `"not_converged"` if the panels could not be made fine enough.
        low: Where the computation begins: a target, the reflecting point, or far out where
            nothing contributes.
        high: Where it ends.
        num_panels: How many there are between.

    Example:
        >>> Passage(2000.0, None, 0.0, "converged", 0.0, 1.0, 1).value
        inf
    """

    log_value: float
    log_second_moment: float | None
    relative_error: float
    status: Literal["converged", "not_converged"]
    low: float
    high: float
    num_panels: int

    @property
    def value(self) -> float:
        """The mean; infinite if it overflows [time]."""
        return _exp(self.log_value)

    @property
    def error(self) -> float:
        """The estimated error of the mean [time]."""
        return self.value * self.relative_error

    @property
    def second_moment(self) -> float | None:
        """The second moment, if it was asked for [time²]."""
        return None if self.log_second_moment is None else _exp(self.log_second_moment)


def mean_first_passage_1d(
    potential: Potential,
    temperature: float,
    x0: float,
    target: float | tuple[float, float],
    *,
    reflect: float | None = None,
    moments: Literal[1, 2] = 1,
    rtol: float = 1e-10,
) -> Passage:
    r"""Return the mean time to reach a target in a potential, by quadrature.

    $$\tau(x_0) = \frac1T \int_{x_0}^{b} e^{U(y)/T} \int_{a}^{y} e^{-U(z)/T}\,dz\,dy,
    \qquad A \tau_2 = -2 \tau_1 \tag{F.65}$$

    for a target b above $x_0$, with a the reflecting point or $-\infty$; mirrored for one below;
    between two targets a and b

    $$\tau(x) = \int_a^b \frac{S(a, x \wedge z)\, S(x \vee z, b)}{S(a, b)}
    \frac{e^{-U(z)/T}}{T}\,dz, \qquad S(x, y) = \int_x^y e^{U/T} \tag{F.67}$$

    All integrands are positive and kept as logarithms,
    on panels halved until each is resolved: neither overflow nor cancellation at any temperature.

    Args:
        potential: U, a function of one point, shape (1,), to a scalar; torch, float64 [loss].
        temperature: T, positive [loss].
        x0: The start.
        target: Where the process is stopped: one point, or two around the start.
        reflect: A reflecting point on the side of the start away from the target. Without one the
            potential must confine the process there.
        moments: 2 for the second moment, too.
        rtol: Relative error of each panel, at least 1e-13.

    Raises:
        ValueError: If a number is out of range, the places are out of order, the potential is not
            finite there, or it does not confine.

    References:
        Gardiner (2009), section 5.5. Theory page: Eqs. (F.65) to (F.67).

    Example:
        >>> flat = lambda x: 0 * x.sum()
        >>> time = mean_first_passage_1d(flat, 0.5, 0.0, 2.0, reflect=0.0)
        >>> round(time.value, 9)  # b² / (2 T)
        4.0
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be positive and finite, got {temperature!r}")
    height = _of_numbers(potential, "potential")
    panels = Panels(lambda x: height(x) / temperature, None, lambda x: np.full_like(x, temperature))
    return _passage(panels, x0, target, reflect, moments, rtol)


def mean_first_passage_ito(
    drift: Callable[[Tensor], Tensor],
    diffusion: Callable[[Tensor], Tensor] | float,
    x0: float,
    target: float | tuple[float, float],
    *,
    reflect: float | None = None,
    moments: Literal[1, 2] = 1,
    rtol: float = 1e-10,
) -> Passage:
    r"""Return the mean time to reach a target with any drift and diffusion, by quadrature.

    $$\varphi = \int \frac{b}{D}, \qquad \tau(x_0) = \int_{x_0}^{b} e^{-\varphi(y)}
    \int_{a}^{y} \frac{e^{\varphi(z)}}{D(z)}\,dz\,dy \tag{F.66}$$

    for dX = b dt + sqrt(2 D) dW, Itô; otherwise as `mean_first_passage_1d`.

    Args:
        drift: b, a function of one point, shape (1,), to its drift.
        diffusion: D, positive: a number, or a function of one point to D, of one element.
        x0: As of `mean_first_passage_1d`.
        target: As of `mean_first_passage_1d`.
        reflect: As of `mean_first_passage_1d`.
        moments: As of `mean_first_passage_1d`.
        rtol: As of `mean_first_passage_1d`.

    Raises:
        ValueError: As `mean_first_passage_1d`, or if D is not positive.

    Example:
        >>> time = mean_first_passage_ito(lambda x: 1 + 0 * x, 0.5, 0.0, 3.0)
        >>> round(time.value, 9)  # at speed one
        3.0
    """
    slope = _of_numbers(drift, "drift")
    if callable(diffusion):
        spread = _of_numbers(diffusion, "diffusion")
    else:
        constant = float(diffusion)

        def spread(x: Array) -> Array:
            return np.full_like(x, constant)

    def positive(x: Array) -> Array:
        return _positive(spread(x))

    panels = Panels(None, lambda x: -slope(x) / positive(x), positive)
    return _passage(panels, x0, target, reflect, moments, rtol)


def process_passage(
    process: Process,
    x0: float,
    target: float | tuple[float, float],
    *,
    moments: Literal[1, 2] = 1,
    rtol: float = 1e-10,
) -> Passage:
    """Return `mean_first_passage_ito` of a process in one dimension, no reflection.

    Its scaled potential is used where it gives the drift.

    Raises:
        ValueError: As `mean_first_passage_ito`.
    """

    def points(x: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).reshape(-1, 1)

    def numbers(values: Tensor, like: Array) -> Array:
        array: Array = values.detach().double().reshape(like.shape).numpy()
        return array

    def spread(x: Array) -> Array:
        return _positive(numbers(process.diffusion(points(x)), x))

    def slope(x: Array) -> Array:
        return -numbers(process.drift(points(x)), x) / spread(x)

    def height(x: Array) -> Array:
        values = process.scaled_potential(points(x))
        assert values is not None
        return numbers(values, x)

    panels = Panels(height if process.is_reversible else None, slope, spread)
    return _passage(panels, x0, target, None, moments, rtol)


def _passage(
    panels: Panels,
    x0: float,
    target: float | tuple[float, float],
    reflect: float | None,
    moments: int,
    rtol: float,
) -> Passage:
    if moments not in (1, 2):
        raise ValueError(f"moments must be 1 or 2, got {moments!r}")
    if not 1e-13 <= rtol < 1:
        raise ValueError(f"rtol must be from 1e-13 to 1, got {rtol!r}")
    low, high, absorbs = _ends(x0, target, reflect)
    if low is None:
        assert high is not None
        low = panels.far_out(x0, high, -1.0)
    elif high is None:
        high = panels.far_out(x0, low, 1.0)
    assert high is not None
    pieces = [np.linspace(a, b, 33) for a, b in ((low, x0), (x0, high)) if a < b]
    edges, resolved = panels.resolve(np.unique(np.concatenate(pieces)), rtol)
    halves = np.sort(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))
    coarse, fine = (_log_moments(panels, e, x0, absorbs, moments) for e in (edges, halves))
    error = abs(math.expm1(coarse[0] - fine[0]))
    converged = resolved and error <= max(1e3 * rtol, 1e-11)
    return Passage(
        fine[0],
        fine[1] if moments == 2 else None,
        error,
        "converged" if converged else "not_converged",
        low,
        high,
        len(halves) - 1,
    )


def _ends(
    x0: float, target: float | tuple[float, float], reflect: float | None
) -> tuple[float | None, float | None, tuple[bool, bool]]:
    """Return the ends of the line, None where it has none, and which of them absorb."""
    places = [x0, *(target if isinstance(target, tuple) else [target])]
    if not all(math.isfinite(place) for place in (*places, reflect or 0.0)):
        raise ValueError(f"places must be finite, got x0 {x0}, target {target}, reflect {reflect}")
    if isinstance(target, tuple):
        low, high = target
        if reflect is not None or not low < x0 < high:
            raise ValueError(
                f"x0 must lie between two targets, without reflect, got x0 {x0}, target {target}, "
                f"reflect {reflect}"
            )
        return low, high, (True, True)
    if target == x0:
        raise ValueError(f"target must not be x0, got {target}")
    if reflect is not None and not min(reflect, target) <= x0 <= max(reflect, target):
        raise ValueError(f"x0 must lie between reflect and target, got {reflect}, {x0}, {target}")
    return (reflect, target, (False, True)) if target > x0 else (target, reflect, (True, False))


def _log_moments(
    panels: Panels, edges: Array, x0: float, absorbs: tuple[bool, bool], moments: int
) -> list[float]:
    """Return the logarithms of the moments from the start, one after another: A t' = -k t."""
    v, log_d, half = panels.fields(edges)
    place = int(np.searchsorted(edges, x0))
    results = []
    inner = np.zeros_like(v)  # the logarithm of the last moment at the nodes
    for k in range(1, moments + 1):
        weight = inner + math.log(k) - v - log_d
        if all(absorbs):
            # Eq. (F.67)
            (p, p_ends), (q, q_ends) = cumulated(v, half), cumulated(v, half, backward=True)
            a, a_ends = cumulated(p + weight, half)
            b, b_ends = cumulated(q + weight, half, backward=True)
            whole = p_ends[-1]
            inner = np.logaddexp(q + a, p + b) - whole
            ends = np.logaddexp(q_ends + a_ends, p_ends + b_ends) - whole
        else:
            backward = absorbs[0]
            flux, _ = cumulated(weight, half, backward=backward)
            inner, ends = cumulated(v + flux, half, backward=not backward)
        results.append(float(ends[place]))
    return results


def _of_numbers(function: Callable[[Tensor], Tensor], name: str) -> Callable[[Array], Array]:
    """Return a function of one point as one of arrays of numbers."""
    batched = torch.func.vmap(function)

    def of(x: Array) -> Array:
        values = batched(torch.from_numpy(np.ascontiguousarray(x)).reshape(-1, 1))
        if values.numel() != x.size:
            raise ValueError(
                f"{name} must give one number at a point of shape (1,), got shape "
                f"{tuple(values.shape[1:])}"
            )
        array: Array = values.detach().double().reshape(x.shape).numpy()
        return array

    return of


def _positive(values: Array) -> Array:
    if not (values > 0).all():
        raise ValueError(f"diffusion must be positive on the way, got {values.min():.3g}")
    return values


def _exp(log_value: float) -> float:
    return math.exp(log_value) if log_value < 709.7 else math.inf
