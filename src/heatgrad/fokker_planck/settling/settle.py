"""Where an ensemble settles: the mass of each basin over time, and entropies."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from heatgrad.core.shares import wilson
from heatgrad.fokker_planck.processes.langevin import Potential
from heatgrad.fokker_planck.processes.process import Points
from heatgrad.fokker_planck.settling.basins import Basins, basins

__all__ = [
    "Entropy",
    "Settling",
    "mass_per_basin",
    "occupation_entropy",
    "projection_entropy",
]


@dataclass(frozen=True)
class Entropy:
    """An entropy that was estimated from samples.

    Attributes:
        value: With the bias of first order taken off [nat].
        error: Standard error of independent samples [nat].
        num_cells: Cells that hold a sample.
        num_samples: How many samples.
    """

    value: float
    error: float
    num_cells: int
    num_samples: int


@dataclass(frozen=True, eq=False)
class Settling:
    """The mass of each basin over time.

    Attributes:
        times: Of each ensemble [time].
        basins: The minima, lowest first, and the labels of all points, in the order of time.
        counts: Points in each basin, shape (times, minima).
        totals: Points of each ensemble; those that reached no minimum included.
    """

    times: NDArray[np.float64]
    basins: Basins
    counts: NDArray[np.int64]
    totals: NDArray[np.int64]

    @property
    def mass(self) -> NDArray[np.float64]:
        """Share of the ensemble in each basin, shape (times, minima)."""
        return self.counts / self.totals[:, None]

    def intervals(
        self, confidence: float = 0.95
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ends of Wilson's interval of each mass, one time and basin by itself."""
        return wilson(self.counts, self.totals[:, None], confidence=confidence)

    def lowest_mass(
        self, confidence: float = 0.95
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the mass in the lowest minima, together, over time, and its interval's ends."""
        count = self.counts[:, self.basins.lowest()].sum(1)
        return count / self.totals, *wilson(count, self.totals, confidence=confidence)

    def holder(self, confidence: float = 0.95) -> int | None:
        """Return the basin that holds most of the last ensemble; None if none surely does."""
        low = self.intervals(confidence)[0][-1]
        above = np.flatnonzero(low > 0.5)
        return int(above[0]) if len(above) else None

    def verdict(self, confidence: float = 0.95) -> str:
        """Return where the last ensemble is.

        Returns:
            `"lowest"` if the lowest minima together surely hold most of it, `"other"` if one other
            minimum surely does, `"spread"` if surely none does, else `"undecided"`. The lowest is
            the lowest that any point reached; no sample can tell that there is no lower one.
        """
        _, low, high = self.lowest_mass(confidence)
        if len(low) and low[-1] > 0.5:
            return "lowest"
        if self.holder(confidence) is not None:
            return "other"
        others = self.intervals(confidence)[1][-1]
        is_spread = high[-1] < 0.5 and bool((others < 0.5).all())
        return "spread" if is_spread else "undecided"

    def entropy(self) -> list[Entropy]:
        """Return the entropy of the occupation of the basins at each time."""
        return [occupation_entropy(row) for row in self.counts]


def mass_per_basin(
    potential: Potential,
    ensembles: Float[Tensor, "times replicas p"] | Sequence[Points],
    *,
    times: ArrayLike | None = None,
    gradient: Callable[[Points], Points] | None = None,
    features: Callable[[Points], Tensor] | None = None,
    size: float | None = None,
    merge_distance: float | None = None,
    max_steps: int = 10_000,
) -> Settling:
    """Return how much of an ensemble each basin holds over time.

    The replicas of one time must be independent for the intervals to hold.

    Args:
        potential: As in `basins`.
        ensembles: Independent replicas at each time; not necessarily as many.
        times: Of each ensemble; 0, 1, 2, ..., unless given [time].
        gradient: As in `basins`.
        features: As in `basins`.
        size: As in `basins`.
        merge_distance: As in `basins`.
        max_steps: As in `basins`.

    Raises:
        ValueError: If there is no ensemble, one is empty, or the times are not as many.

    References:
        [Barbieri]: whether the weights settle, and where.

    Example:
        >>> start, end = torch.tensor([[-1.0], [0.5]]), torch.tensor([[0.9], [1.1]])
        >>> tilted = lambda x: ((x**2 - 1) ** 2).sum() - 0.1 * x.sum()
        >>> mass_per_basin(tilted, [start, end]).mass.tolist()  # the lower minimum is right
        [[0.5, 0.5], [1.0, 0.0]]
    """
    parts = list(ensembles)
    if not parts or any(part.dim() != 2 or not len(part) for part in parts):
        raise ValueError(
            f"ensembles must be matrices of at least one replica, got shapes "
            f"{[tuple(part.shape) for part in parts]}"
        )
    clock = np.arange(len(parts)) if times is None else np.asarray(times)
    if clock.shape != (len(parts),):
        raise ValueError(f"times must be one for each of {len(parts)} ensembles, got {clock.shape}")
    found = basins(
        potential,
        torch.cat(parts),
        gradient=gradient,
        features=features,
        size=size,
        merge_distance=merge_distance,
        max_steps=max_steps,
    )
    labels = torch.split(found.labels, [len(part) for part in parts])
    kinds = len(found.minima)
    counts = [torch.bincount(one[one >= 0], minlength=kinds).cpu().numpy() for one in labels]
    totals = np.array([len(part) for part in parts])
    return Settling(clock.astype(np.float64), found, np.stack(counts), totals)


def occupation_entropy(counts: ArrayLike) -> Entropy:
    r"""Return the entropy of the occupation of some cells, after Miller and Madow.

    $$-\sum_k \hat p_k \log \hat p_k + \frac{K - 1}{2 n}, \qquad K = \#\{k : \hat p_k > 0\}
    \tag{F.102}$$

    The plain sum is too small on average; the correction holds while n is well above K.

    Args:
        counts: Samples in each cell, at least one in all.

    Raises:
        ValueError: If a count is negative, or all are zero.

    References:
        Miller (1955), Note on the bias of information estimates.

    Example:
        >>> round(occupation_entropy([50, 50, 0]).value, 4)  # log 2 + 1/200
        0.6981
    """
    k = np.asarray(counts, dtype=np.float64)
    if not ((k >= 0).all() and k.sum() > 0):
        raise ValueError("counts must be at least 0 and not all 0, got others")
    n, held = float(k.sum()), k[k > 0]
    share = held / n
    value = float(-(share * np.log(share)).sum())
    variance = float((share * np.log(share) ** 2).sum()) - value**2
    error = math.sqrt(max(0.0, variance) / n)
    return Entropy(value + (len(held) - 1) / (2 * n), error, len(held), int(n))


def projection_entropy(samples: ArrayLike, *, width: float | None = None) -> Entropy:
    r"""Return the differential entropy of a projection of an ensemble, from a histogram.

    $$-\int \rho \log \rho \approx H_{\text{cells}} + \log w \tag{F.103}$$

    with the corrected entropy of the cells, of width w. A cell smears the density: the entropy is
    too large by about w² / 24 times its Fisher information.

    Args:
        samples: Independent values of one projection, at least two that differ.
        width: Of a cell; unless given, Freedman and Diaconis' 2 IQR n^(-1/3) [unit of samples].

    Raises:
        ValueError: If samples are not finite or do not differ, or the width is not positive or
            makes more than a million cells.

    Example:
        >>> x = np.linspace(0, 1, 1000, endpoint=False)
        >>> abs(projection_entropy(x, width=0.1).value) < 0.01  # uniform: log 1
        True
    """
    x = np.asarray(samples, dtype=np.float64).reshape(-1)
    if not len(x) or not np.isfinite(x).all() or x.min() == x.max():
        raise ValueError(f"samples must be finite and not all equal, got {len(x)} others")
    if width is None:
        low, high = np.quantile(x, [0.25, 0.75])
        # Where half of the samples coincide, their deviation instead.
        width = 2 * float(high - low or x.std()) * len(x) ** (-1 / 3)
    if not (math.isfinite(width) and width > 0) or (x.max() - x.min()) / width > 1e6:
        raise ValueError(
            f"width must be positive and make at most a million cells, got {width!r} for a range "
            f"of {x.max() - x.min():.3g}"
        )
    cells = np.floor((x - x.min()) / width).astype(np.int64)
    found = occupation_entropy(np.bincount(cells))
    return Entropy(found.value + math.log(width), found.error, found.num_cells, found.num_samples)
