"""A quantity of a process as its extra noise vanishes: the degenerate equation as a limit."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from heatgrad.fokker_planck.processes.process import Process

__all__ = ["NoiseLimit", "as_noise_vanishes"]

Quantity = Callable[[Process], float | tuple[float, float]]

_ROUNDING = 1e-13  # relative to the values: differences below are none
_POWERS = (0.05, 8.0)  # where the power q is looked for


@dataclass(frozen=True, eq=False)
class NoiseLimit:
    """A quantity as the extra noise vanishes.

    Attributes:
        values: The extra noises ε, decreasing.
        quantities: Of each.
        errors: Standard errors of each; zero where none was given.
        limit: Extrapolated to ε = 0; NaN if it was not found.
        error: How far the last two extrapolations are apart, and statistical error.
        power: q of Eq. (F.110); NaN if it was not found, or nothing changes.
        status: `"converged"` or `"not converged"`.
        message: Why.
        at_zero: The quantity of the degenerate process itself; None if it was not asked for, or
            does not exist.
    """

    values: NDArray[np.float64]
    quantities: NDArray[np.float64]
    errors: NDArray[np.float64]
    limit: float
    error: float
    power: float
    status: str
    message: str
    at_zero: float | None


def as_noise_vanishes(
    make_process: Callable[[float], Process],
    values: Sequence[float],
    quantity: Quantity,
    *,
    tolerance: float = 1e-2,
    with_zero: bool = False,
) -> NoiseLimit:
    r"""Return the limit of a quantity of a process as its extra noise vanishes.

    $$f(\epsilon) \approx f_0 + c\, \epsilon^q \tag{F.110}$$

    is laid through each three values in a row. The limit is $f_0$ of the last three. It has
    converged if the three before give the same, to `tolerance`; otherwise, and where the changes
    do not fit a power (a logarithm, an exit time that grows without bound), it has not, and that
    is said. With statistical errors, the errors of the limit are propagated; if all changes lie
    within them, the limit is the last value.

    Args:
        make_process: From ε to a process, e.g. `SGDDiffusion` with `extra_noise=ε`.
        values: At least four positive ε, decreasing.
        quantity: An exit time, a stationary mass, a mean: a number, or a number and its standard
            error.
        tolerance: Of the limit, relative to the largest quantity in size [1].
        with_zero: Whether to evaluate the quantity at ε = 0, too: the limit need not be that of
            the degenerate process, which may have several stationary laws.

    Raises:
        ValueError: If there are too few values, or they do not decrease to above zero, or a
            quantity is not finite.

    References:
        [Barbieri]: the degenerate equation of SGD as the limit of noisy SGD. Theory page:
        Eq. (F.110).

    Example:
        >>> from heatgrad.fokker_planck.processes.langevin import Langevin
        >>> heated = lambda e: Langevin(lambda x: (x**2).sum() / 2, temperature=1 + e)
        >>> found = as_noise_vanishes(heated, [0.1, 0.05, 0.025, 0.01], lambda p: p.temperature**2)
        >>> found.status, abs(found.limit - 1) < found.error < 1e-2
        ('converged', True)
    """
    noise = np.asarray(values, dtype=np.float64)
    if len(noise) < 4 or not (np.isfinite(noise).all() and (noise > 0).all()):
        raise ValueError(f"values must be at least four, positive and finite, got {list(values)}")
    if not (np.diff(noise) < 0).all():
        raise ValueError(f"values must decrease, got {list(values)}")
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance must be positive and finite, got {tolerance!r}")
    found = [_number(quantity(make_process(float(one)))) for one in noise]
    level, errors = (np.array(part) for part in zip(*found, strict=True))
    if not (np.isfinite(level).all() and np.isfinite(errors).all()):
        raise ValueError(
            f"quantity must be finite, got {level.tolist()} with errors {errors.tolist()} at "
            f"{noise.tolist()}"
        )
    limit, error, power, message = _extrapolated(noise, level, errors)
    allowed = tolerance * float(np.abs(level).max())
    is_near = math.isfinite(limit) and error <= allowed
    if math.isfinite(limit):
        message += f"; its error of {error:.3g} is {'within' if is_near else 'above'} {allowed:.3g}"
    at_zero = _number(quantity(make_process(0.0)))[0] if with_zero else None
    return NoiseLimit(
        values=noise,
        quantities=level,
        errors=errors,
        limit=limit,
        error=error,
        power=power,
        status="converged" if is_near else "not converged",
        message=message,
        at_zero=at_zero,
    )


def _number(found: float | tuple[float, float]) -> tuple[float, float]:
    value, error = found if isinstance(found, tuple) else (found, 0.0)
    return float(value), float(error)


def _extrapolated(
    noise: NDArray[np.float64], level: NDArray[np.float64], errors: NDArray[np.float64]
) -> tuple[float, float, float, str]:
    """Return limit, its error, the power and what was done."""
    size = float(np.abs(level).max())
    changes = np.abs(np.diff(level))[-3:]
    noisy = 2 * np.sqrt(errors[-4:-1] ** 2 + errors[-3:] ** 2)
    if (changes <= noisy + _ROUNDING * size).all():
        spread = float(np.ptp(level[-4:]))
        error = max(float(errors[-1]), spread if errors.any() else _ROUNDING * size)
        return float(level[-1]), error, math.nan, "the last four values are equal within errors"
    last, before = (_power_law(noise[at], level[at]) for at in (slice(-3, None), slice(-4, -1)))
    if last is None or before is None:
        return math.nan, math.inf, math.nan, "the changes do not fall as a power of the noise"
    limit, power = last
    statistical = 0.0
    for index in range(3):  # by differences: the limit is a function of three values
        moved = level[-3:].copy()
        moved[index] += errors[len(level) - 3 + index]
        other = _power_law(noise[-3:], moved)
        if other is None:
            return math.nan, math.inf, math.nan, "the statistical errors hide the limit"
        statistical += (other[0] - limit) ** 2
    error = math.hypot(abs(limit - before[0]), math.sqrt(statistical))
    error = max(error, _ROUNDING * size)
    return limit, error, power, f"extrapolated by a power of {power:.3g}"


def _power_law(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return limit and power of the law through three points, if there is one."""
    first, second = float(y[0] - y[1]), float(y[1] - y[2])
    if abs(second) <= _ROUNDING * float(np.abs(y).max()):
        return (float(y[2]), math.nan) if abs(first) >= abs(second) else None
    scale = x / x[0]

    def misfit(q: float) -> float:
        a, b, c = scale**q
        return float((a - b) / (b - c)) - first / second

    low, high = _POWERS
    if not first / second > 0 or misfit(low) * misfit(high) > 0:
        return None
    q = float(brentq(misfit, low, high, xtol=1e-12))
    ratio = float(scale[2] ** q / (scale[1] ** q - scale[2] ** q))
    return float(y[2]) - second * ratio, q  # Eq. (F.110)
