"""Where a flow goes: to a critical point, to infinity, or nobody can tell yet."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["PowerLaw", "Slope", "Verdict", "classify", "predicted_exponents"]

Word = Literal["converges", "diverges", "undecided"]

SLOW = -0.97  # speeds above this exponent make the path infinitely long
FAST = -1.1  # below this one, finite
STABLE = 0.05  # by which the exponents of the two windows may differ
BOUNDED = -0.5  # no loss that is bounded below keeps up a speed of this exponent, Eq. (A.2)
GROWN = 1.05  # times which the norm must have grown over the window
AGREE = 0.05  # share of the loss's fall that the energy may miss over the window
REST = 1e-12  # share of its largest that the speed of a flow at rest has left: rounding
_LEAST_POINTS = 8


@dataclass(frozen=True)
class PowerLaw:
    """Exponents of time in a flow on a power law.

    Attributes:
        norm: Of |θ|.
        loss: Of L above its limit.
        speed: Of |dθ/dt|.
    """

    norm: float
    loss: float
    speed: float


def predicted_exponents(k: float) -> PowerLaw:
    r"""Return the exponents of a flow along which the loss falls like a power of the norm.

    $$L \sim c R^{-k} \quad\Rightarrow\quad R \sim t^{1/(k+2)}, \quad L \sim t^{-k/(k+2)}, \quad
    |\dot\theta| \sim t^{-(k+1)/(k+2)} \tag{A.5}$$

    Args:
        k: Positive. A fit whose error falls like the square of its step has k = 2 on x², one
            whose error falls like the fourth power k = 4.

    Raises:
        ValueError: If k is not positive and finite.

    Example:
        >>> predicted_exponents(2)
        PowerLaw(norm=0.25, loss=-0.5, speed=-0.75)
    """
    if not (math.isfinite(k) and k > 0):
        raise ValueError(f"k must be positive and finite, got {k!r}")
    return PowerLaw(1 / (k + 2), -k / (k + 2), -(k + 1) / (k + 2))


@dataclass(frozen=True)
class Slope:
    """An exponent of time, fitted over a window.

    Attributes:
        value: Slope of the straight line in log-log axes.
        error: Its standard error from the scatter about the line. Neighbouring outputs are not
            independent: how far separate windows differ says more.
        start: Beginning of the window [time].
        end: Its end [time].
    """

    value: float
    error: float
    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}"


@dataclass(frozen=True)
class Verdict:
    """Where a flow goes, and why that is said.

    Attributes:
        word: `"converges"`, `"diverges"` or `"undecided"`.
        evidence: Sentences.
        speed: Exponents of |dθ/dt| over each separate decade of the window, the last one last.
        norm: Exponents of |θ|, likewise.
        loss: Exponents of the loss above its limit, likewise.
        long: Exponent of |dθ/dt| over the whole window, k1.
        short: The same over its last half, k2.
        loss_limit: Estimate of the limit of the loss [loss].
        loss_limit_error: How far two estimates of it differ [loss].
    """

    word: Word
    evidence: tuple[str, ...]
    speed: tuple[Slope, ...]
    norm: tuple[Slope, ...]
    loss: tuple[Slope, ...]
    long: Slope
    short: Slope
    loss_limit: float
    loss_limit_error: float

    def __str__(self) -> str:
        return f"{self.word}: " + " ".join(self.evidence)


def classify(
    t: Float[np.ndarray, " n"],
    loss: Float[np.ndarray, " n"],
    norm: Float[np.ndarray, " n"],
    speed: Float[np.ndarray, " n"],
    *,
    length: Float[np.ndarray, " n"],
    energy: Float[np.ndarray, " n"] | None = None,
    resolution: float = 0.0,
    ended: str = "",
    failed: bool = False,
    decades: float = 3.0,
) -> Verdict:
    r"""Say where a flow goes, from its speed over its last decades of time.

    $$|\dot\theta| \sim t^{k}: \qquad k_1 \text{ over the last three decades}, \quad
    k_2 \text{ over their last half} \tag{A.15}$$

    The path is finite if and only if k < -1. *Diverges*: both between -0.97 and -1/2, no farther
    apart than 0.05, no separate decade below -0.97, and the norm has grown by a twentieth.
    *Converges*: both below -1.1, no farther apart than 0.05 |k1|, and no decade above -1.1; or the
    path over the window is shorter than the integrator can resolve, and the speed has fallen to
    1e-12 of its largest, or like a power below -1.1 in every decade. A short path alone decides
    nothing: so starts a flow far out, where all is slow. All else is *undecided*: k = -1 is growth
    like log t, unstable exponents are a transient, and above -1/2 no loss that is bounded below
    can keep up.

    The loss's limit is that of a power law through three points that are evenly spaced in log t:

    $$L_\infty = \frac{L_1 L_3 - L_2^2}{L_1 + L_3 - 2 L_2}. \tag{A.16}$$

    Args:
        t: Increasing times; 0 is left out of the fits.
        loss: L.
        norm: |θ|.
        speed: |dθ/dt|, by the path or the fall of the loss, never by the gradient's length.
        length: Of the path so far.
        energy: The integral of speed², to be compared with the loss's fall; None for no check.
        resolution: The shortest path that is not noise [param].
        ended: Why the flow ended before its time, for the evidence.
        failed: Whether it failed: then nothing is decided.
        decades: Of the window.

    Raises:
        ValueError: If the arrays are not as long, or `decades` is not positive.

    Example:
        >>> t = np.logspace(0, 8, 161)
        >>> path = 4 * t**0.25
        >>> found = classify(t, 4 * t**-0.5, path, t**-0.75, length=path)
        >>> found.word, round(found.long.value, 6)
        ('diverges', -0.75)
    """
    arrays = [np.asarray(a, dtype=np.float64) for a in (t, loss, norm, speed, length)]
    if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 1:
        raise ValueError(f"arrays must be as long, got shapes {[a.shape for a in arrays]}")
    if not (math.isfinite(decades) and decades > 0):
        raise ValueError(f"decades must be positive and finite, got {decades!r}")
    keep = arrays[0] > 0
    t, loss, norm, speed, length = (a[keep] for a in arrays)
    evidence = [f"The flow ended early ({ended})."] if ended else []
    limit, limit_error = _limit(t, loss, decades)
    gap = loss - (limit if abs(limit) > 3 * limit_error else 0.0)

    def slopes(values: NDArray[np.float64]) -> tuple[Slope, ...]:
        count = int(decades + 1e-9)
        return tuple(_slope(t, values, n + 1, n) for n in range(count - 1, -1, -1))

    long, short = _slope(t, speed, decades, 0), _slope(t, speed, decades / 2, 0)
    window = _Window(t, loss, norm, speed, length, decades, resolution)
    missed = 0.0 if energy is None else window.missed(np.asarray(energy)[keep])
    each = slopes(speed)
    word, reasons = _judge(window, (long, short, *each), missed, failed)
    return Verdict(
        word,
        (*evidence, *reasons),
        each,
        slopes(norm),
        slopes(gap),
        long,
        short,
        limit,
        limit_error,
    )


class _Window:
    """The last decades of a flow."""

    def __init__(
        self,
        t: NDArray[np.float64],
        loss: NDArray[np.float64],
        norm: NDArray[np.float64],
        speed: NDArray[np.float64],
        length: NDArray[np.float64],
        decades: float,
        resolution: float,
    ) -> None:
        self.first = int(np.searchsorted(t, t[-1] * 10**-decades * (1 - 1e-9))) if len(t) else 0
        self.covered = math.log10(t[-1] / t[0]) if len(t) else 0.0
        # Not all of a window lies in the flow if the first output is later than its beginning.
        self.is_whole = self.covered >= decades - 1e-6 and len(t) - self.first >= _LEAST_POINTS
        self.decades, self.resolution = decades, resolution
        self.loss, self.norm = loss[self.first :], norm[self.first :]
        half = int(np.searchsorted(t, t[-1] * 10 ** (-decades / 2))) if len(t) else 0
        left, most = speed[half:].max(initial=0.0), speed.max(initial=0.0)
        self.at_rest = bool(left <= REST * most)
        self.path = float(length[-1] - length[self.first]) if len(t) else 0.0
        self.is_finite = bool(
            all(np.isfinite(a[self.first :]).all() for a in (loss, norm, speed, length))
        )

    @property
    def growth(self) -> float:
        """How many times the norm has grown."""
        return float(self.norm[-1] / self.norm[0]) if self.norm[0] > 0 else math.inf

    def missed(self, energy: NDArray[np.float64]) -> float:
        """Return the share of the loss's fall that the energy misses; 0 if it is rounding."""
        if not len(self.loss):
            return 0.0
        fall = float(self.loss[0] - self.loss[-1])
        spent = float(energy[-1] - energy[self.first])
        size = max(abs(float(self.loss[0])), float(energy[-1]))
        return abs(fall - spent) / max(abs(fall), spent) if spent > 1e-12 * size else 0.0


def _judge(
    window: _Window, slopes: tuple[Slope, ...], missed: float, failed: bool
) -> tuple[Word, list[str]]:
    """Return the word and its reasons, by the rules of `classify`, in order.

    The slopes are those of the whole window, its last half and its separate decades.
    """
    long, short = slopes[:2]
    if failed:
        return "undecided", ["A failed integration decides nothing."]
    if not window.is_whole:
        return "undecided", [
            f"The outputs cover {window.covered:.1f} decades of time; it takes "
            f"{window.decades:g}, of at least {_LEAST_POINTS} outputs."
        ]
    if not window.is_finite:
        return "undecided", ["The record holds values that are not finite."]
    high, low = max(s.value for s in slopes), min(s.value for s in slopes)
    is_short = window.path <= window.resolution
    if is_short and (window.at_rest or high < FAST):
        return "converges", [
            f"Over the last {window.decades:g} decades the path is {window.path:.2g} long, less "
            f"than the integrator resolves ({window.resolution:.2g}), and the speed has fallen "
            f"to nothing: it stands still."
        ]
    apart = abs(long.value - short.value)
    said = [
        f"The speed falls like t^k, k = {long} over the last {window.decades:g} decades and "
        f"{short} over their last half."
    ]
    if missed > AGREE:
        return "undecided", [
            *said,
            f"The loss and the path disagree by {missed:.1%} over the window: integrate with "
            f"smaller tolerances.",
        ]
    if high < FAST and apart < STABLE * abs(long.value):
        return "converges", [*said, "Below -1 the path is finite."]
    if low > SLOW and apart < STABLE:
        return _growing(window, max(long.value, short.value), said)
    if abs(long.value + 1) < 0.03 and abs(short.value + 1) < 0.03:
        said.append("k = -1 is growth like log t: neither a finite path nor a power law.")
    elif not apart < STABLE:
        said.append("The two differ too much: a transient.")
    elif high - low > 2 * STABLE:
        said.append(f"Single decades range from {low:.3f} to {high:.3f}: a transient.")
    else:
        said.append(f"Between {FAST} and {SLOW} the fit cannot tell a finite path from none.")
    return "undecided", said


def _growing(window: _Window, high: float, said: list[str]) -> tuple[Word, list[str]]:
    """Return the word of a flow whose speed falls slowly enough."""
    if high >= BOUNDED:
        said.append(
            "No loss that is bounded below keeps up a speed above t^-1/2: a transient, or the loss "
            "is not bounded."
        )
        return "undecided", said
    grown = f"the norm has grown {window.growth:.3g} times, the path by {window.path:.3g}."
    if window.growth < GROWN:
        return "undecided", [*said, f"The path would be infinite, but so far {grown}"]
    return "diverges", [*said, f"Above -1 the path is infinite; over the window {grown}"]


def _slope(t: NDArray[np.float64], values: NDArray[np.float64], high: float, low: float) -> Slope:
    """Return the slope of log values from `high` to `low` decades before the end."""
    if not len(t):
        return Slope(math.nan, math.nan, math.nan, math.nan)
    start, end = t[-1] * 10**-high, t[-1] * 10**-low
    inside = (t >= start * (1 - 1e-9)) & (t <= end * (1 + 1e-9)) & (values > 0)
    if inside.sum() < 3:
        return Slope(math.nan, math.nan, float(start), float(end))
    x, y = np.log(t[inside]), np.log(values[inside])
    x = x - x.mean()
    value = float(x @ y / (x @ x))
    rest = y - y.mean() - value * x
    error = math.sqrt(float(rest @ rest) / (len(x) - 2) / float(x @ x))
    return Slope(value, error, float(start), float(end))


def _limit(
    t: NDArray[np.float64], loss: NDArray[np.float64], decades: float
) -> tuple[float, float]:
    """Return the limit of the loss by Eq. (A.16), and how far a shorter window's differs."""
    if not len(t):
        return math.nan, math.nan

    def over(window: float) -> float:
        at = np.log(t[-1]) - math.log(10) * np.array([window, window / 2, 0.0])
        one, two, three = np.interp(at, np.log(t), loss)
        bend = one + three - 2 * two
        # Only a convex fall has a limit below its end; less than rounding is none.
        if not (one > two > three and bend > 1e-13 * abs(one)):
            return float(three)
        return float((one * three - two**2) / bend)

    whole, half = over(decades), over(decades / 2)
    return whole, abs(whole - half)
