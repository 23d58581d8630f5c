"""Times of first exit, some of them cut off: mean, interval, survival."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["FirstExits", "Status"]

Status = Literal["complete", "censored", "none_exited", "diverged"]


@dataclass(frozen=True)
class FirstExits:
    r"""Times of first exit of an ensemble that was watched up to one time.

    Paths still inside at `t_max` are cut off there, all at the same time: the Kaplan-Meier curve
    is then the fraction still inside. Without such paths the mean is the sample's. With them it is
    the restricted mean, which needs no assumption, and an exponential tail, which is one:

    $$E\,\tau = E \min(\tau, t_{\max}) + P(\tau > t_{\max})\, m, \qquad
    m = \frac{\sum_i (\min(\tau_i, t_{\max}) - t_c)^+}{\#\{t_c < \tau_i \le t_{\max}\}} \tag{F.60}$$

    with $t_c = t_{\max} / 2$ (zero, if nothing left after it). `tail_p` tests that assumption. Its
    standard error is that of the paths' influence on the estimate.

    Attributes:
        times: One for each path, shape (replicas,): of the exit, or where it was cut off [time].
        exited: Whether it exited.
        places: Where, shape (replicas, p): on the boundary, or where it was last seen [param].
        t_max: How long it was watched [time].
        num_diverged: How many paths ceased to be finite, or came to where the drift or loss is not
            finite or D not positive semidefinite; no mean is given then.

    Example:
        >>> times = FirstExits(np.array([1.0, 2.0, 4.0, 4.0]), np.array([True, True, True, False]),
        ...                   np.zeros((4, 1)), t_max=4.0)
        >>> times.status, times.num_censored, times.restricted_mean
        ('censored', 1, 2.75)
        >>> times.value  # 2.75 + 1/4 * (2 + 2) / 1
        3.75
    """

    times: NDArray[np.float64]
    exited: NDArray[np.bool_]
    places: NDArray[np.float64]
    t_max: float
    num_diverged: int = 0

    @property
    def num_censored(self) -> int:
        """How many paths were cut off."""
        return int((~self.exited).sum()) - self.num_diverged

    @property
    def status(self) -> Status:
        """Whether all paths exited, some were cut off, none exited, or some diverged."""
        if self.num_diverged:
            return "diverged"
        if not self.exited.any():
            return "none_exited"
        return "censored" if self.num_censored else "complete"

    @property
    def value(self) -> float:
        """The mean exit time, Eq. (F.60); NaN where none exited or some diverged [time]."""
        if self.status in ("none_exited", "diverged"):
            return math.nan
        return self.restricted_mean + (1 - float(self.exited.mean())) * self._tail()[0]

    @property
    def error(self) -> float:
        """Its standard error; NaN of a single path [time]."""
        if self.status in ("none_exited", "diverged") or len(self.times) < 2:
            return math.nan
        alive = ~self.exited
        share = alive.mean()
        mean, begin = self._tail()
        # The derivative of Eq. (F.60) along one path's weight.
        influence = self.times - self.times.mean() + mean * (alive - share)
        if share:
            exposure = np.maximum(self.times - begin, 0)
            events = self.exited & (self.times > begin)
            influence += share * mean * (exposure / exposure.mean() - events / events.mean())
        return float(influence.std(ddof=1) / math.sqrt(len(self.times)))

    @property
    def restricted_mean(self) -> float:
        """The mean of the exit time or `t_max`, whichever is less [time]."""
        return math.nan if self.num_diverged else float(self.times.mean())

    @property
    def tail_p(self) -> float:
        """A p-value against the exponential tail: the same rate in both halves of it.

        One where nothing was cut off: nothing was assumed.
        """
        if self.status != "censored":
            return 1.0
        begin = self._tail()[1]
        middle = (begin + self.t_max) / 2
        late = self.exited & (self.times > middle)
        early = self.exited & (self.times > begin) & ~late
        exposures = [
            np.clip(self.times - a, 0, b - a).sum()
            for a, b in ((begin, middle), (middle, self.t_max))
        ]
        count = int(early.sum() + late.sum())
        share = float(exposures[0] / sum(exposures))
        return float(stats.binomtest(int(early.sum()), count, share).pvalue)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        r"""Return the interval of the mean exit time.

        Normal, on the scale of the mean's logarithm. Where none exited it has a lower end only,
        $t_{\max} ((1 - c) / 2)^{1/n}$, which assumes nothing about the law.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
        if self.status == "none_exited":
            return self.t_max * ((1 - confidence) / 2) ** (1 / len(self.times)), math.inf
        if math.isnan(self.error) or self.value <= 0:
            return math.nan, math.nan
        factor = math.exp(float(stats.norm.ppf((1 + confidence) / 2)) * self.error / self.value)
        return self.value / factor, self.value * factor

    def survival(
        self, t: NDArray[np.float64], confidence: float = 0.95
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the fraction still inside at times t, and its Wilson interval.

        It is NaN beyond `t_max`, of which nothing is known. Paths that diverged count as inside
        until then and as neither after: with any of them, all is NaN.
        """
        t = np.asarray(t, dtype=np.float64)
        count = len(self.times)
        gone = np.searchsorted(np.sort(self.times[self.exited]), t, side="right")
        alive = 1 - gone / count
        z = float(stats.norm.ppf((1 + confidence) / 2))
        middle = (alive + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z / (1 + z**2 / count) * np.sqrt(alive * (1 - alive) / count + (z / count) ** 2 / 4)
        known = (t <= self.t_max) & (self.num_diverged == 0)
        alive, low, high = (
            np.where(known, x, np.nan) for x in (alive, middle - half, middle + half)
        )
        return alive, low, high

    def _tail(self) -> tuple[float, float]:
        """Return the mean time that is left to a path in the tail, and where the tail begins."""
        if self.exited.all():
            return 0.0, 0.0
        begin = self.t_max / 2
        if not (self.exited & (self.times > begin)).any():
            begin = 0.0
        events = int((self.exited & (self.times > begin)).sum())
        return float(np.maximum(self.times - begin, 0).sum() / events), begin
