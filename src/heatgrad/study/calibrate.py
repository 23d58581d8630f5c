"""Self-calibration: how often verdicts are wrong, and right, where the truth is known.

Pairs of runs are drawn, not trained, and judged by the code that judges studies.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import nearest
from heatgrad.study.metric import METRICS
from heatgrad.study.question import ALPHA, MIN_BLOCKS, Question
from heatgrad.study.statistics import attainable_level, detectable_difference, sign_flip_power
from heatgrad.study.verdict import judge, judge_all

__all__ = ["FAMILY", "SHAPES", "Calibration", "Shape", "calibrate"]

FAMILY = 5
MARGIN = 0.005
# Test examples: accuracies are multiples of 1 over this number, where they are rounded.
_EXAMPLES = 2000
# Of the exact binomial bands.
_BAND = 0.99
_METRIC = METRICS["test_accuracy"]

Noise = Float[np.ndarray, "studies seeds"]


@dataclass(frozen=True)
class Shape:
    """A kind of run-to-run noise.

    Attributes:
        label: What it looks like.
        draw: From a generator and a shape to noise of mean 0 and standard deviation 1.
        is_rounded: Whether accuracies are multiples of 1/2000, so that differences tie.
        is_paired: Whether both arms have such noise: then differences are symmetric. If not, only
            the arm has, and the assumption of the sign-flip test is broken.
    """

    label: str
    draw: Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]
    is_rounded: bool = False
    is_paired: bool = True


def _normal(generator: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    return generator.standard_normal(size)


def _heavy(generator: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    return generator.standard_t(3, size) / math.sqrt(3)


def _skewed(generator: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    return 1 - generator.standard_exponential(size)


SHAPES: Mapping[str, Shape] = {
    "normal": Shape("normal", _normal),
    "heavy": Shape("heavy tails (t with 3 degrees of freedom)", _heavy),
    "tied": Shape("ties (multiples of 1/2000)", _normal, is_rounded=True),
    "skewed": Shape("skewed runs (exponential, both arms)", _skewed),
    "lopsided": Shape("skewed differences (assumption broken)", _skewed, is_paired=False),
}


@dataclass(frozen=True)
class Calibration:
    """What was found of one shape of noise.

    Attributes:
        shape: Key of `SHAPES`.
        studies: Number of comparisons without a difference, and of planted ones.
        seeds: Pairs in each.
        level: Attainable level of p <= 0.05, Eq. (S.12).
        rate: Share of comparisons without a difference with p <= 0.05.
        band: Exact 99 % binomial band around `level`.
        claims: Share of those that were called HELPS or HURTS.
        families: Share of families of five of those in which any difference is found after Holm's
            correction.
        families_band: Upper end of the exact 99 % binomial band around 0.05 for it.
        coverage: Share of primary intervals that hold the planted difference.
        t_coverage: The same of Student's intervals.
        bca_coverage: The same of BCa intervals.
        promised: Probability with which a planted effect of twice the margin should be found.
        found: Share of those that were called HELPS.
        found_band: Exact 99 % binomial band around `promised`.
    """

    shape: str
    studies: int
    seeds: int
    level: float
    rate: float
    band: tuple[float, float]
    claims: float
    families: float
    families_band: float
    coverage: float
    t_coverage: float
    bca_coverage: float
    promised: float
    found: float
    found_band: tuple[float, float]

    def faults(self) -> list[str]:
        """Return what is not as promised, in words; empty for a shape that breaks the assumption.

        Ties make the test conservative, so that too low a rate is a fault of other shapes only.
        """
        if not SHAPES[self.shape].is_paired:
            return []
        is_low = self.rate < self.band[0] and not SHAPES[self.shape].is_rounded
        checks = {
            "rate of p <= 0.05": is_low or self.rate > self.band[1],
            "HELPS + HURTS": self.claims > self.band[1],
            "families with a false difference": self.families > self.families_band,
            "coverage": self.coverage < 1 - self.band[1],
            "power": self.found < self.found_band[0],
        }
        return [f"{self.shape}: {name}" for name, is_fault in checks.items() if is_fault]


def calibrate(
    *,
    studies: int = 2000,
    seeds: int = 10,
    shapes: Sequence[str] = tuple(SHAPES),
    entropy: int = 0,
) -> list[Calibration]:
    """Judge comparisons whose truth is known, and count.

    Of each shape, `studies` comparisons have no difference, and as many a planted one of twice the
    margin. The spread is that at which `seeds` pairs find a difference of one margin with
    probability 0.8, so that HELPS is promised with that probability: it has to beat the margin.

    Args:
        studies: Number of comparisons, at least 10.
        seeds: Pairs in each, at least 8.
        shapes: Keys of `SHAPES`.
        entropy: Seed of all draws.

    Raises:
        SpecError: If a number is too small or a shape unknown.

    References:
        Theory page: Eqs. (S.12) and (S.13).

    Example:
        >>> (found,) = calibrate(studies=40, seeds=8, shapes=["normal"])
        >>> found.level
        0.046875
    """
    if studies < 10 or seeds < MIN_BLOCKS:
        raise SpecError(
            f"calibration needs at least 10 studies of {MIN_BLOCKS} seeds, got {studies} of {seeds}"
        )
    for shape in shapes:
        if shape not in SHAPES:
            raise SpecError(f"unknown shape '{shape}'; {nearest(shape, SHAPES)}")
    return [_calibrate(shape, studies, seeds, entropy) for shape in shapes]


def _calibrate(name: str, studies: int, seeds: int, entropy: int) -> Calibration:
    # A shape's draws depend on no other: each has a stream of its own.
    stream = np.random.SeedSequence(entropy, spawn_key=(sorted(SHAPES).index(name), seeds))
    generator = np.random.default_rng(stream)
    sd = MARGIN / detectable_difference(1.0, seeds, alpha=ALPHA)
    null = _questions(SHAPES[name], generator, (studies, seeds), sd, effect=0.0)
    planted = _questions(SHAPES[name], generator, (studies, seeds), sd, effect=2 * MARGIN)
    alone, with_effect = [judge(q) for q in null], [judge(q) for q in planted]
    level = attainable_level(seeds, alpha=ALPHA)
    promised = sign_flip_power(MARGIN, sd, seeds, alpha=ALPHA)
    families = studies // FAMILY
    return Calibration(
        shape=name,
        studies=studies,
        seeds=seeds,
        level=level,
        rate=_share(v.comparison is not None and v.comparison.p <= ALPHA for v in alone),
        band=_band(level, studies),
        claims=_share(v.word in ("HELPS", "HURTS") for v in alone),
        families=_share(_has_claim(null[FAMILY * k : FAMILY * (k + 1)]) for k in range(families)),
        families_band=_band(ALPHA, families)[1],
        coverage=_coverage(
            (v.comparison.low, v.comparison.high) for v in with_effect if v.comparison
        ),
        t_coverage=_coverage(v.t_interval for v in with_effect),
        bca_coverage=_coverage(v.bca_interval for v in with_effect),
        promised=promised,
        found=_share(v.word == "HELPS" for v in with_effect),
        found_band=_band(promised, studies),
    )


def _questions(
    shape: Shape, generator: np.random.Generator, size: tuple[int, int], sd: float, *, effect: float
) -> list[Question]:
    """Return comparisons of an arm that is better than its baseline by `effect`."""
    # Blocks differ by more than arms do, as data and initial weights make them.
    blocks = 0.85 + 0.02 * generator.standard_normal((size[0], size[1]))
    if shape.is_paired:
        baseline = blocks + sd / math.sqrt(2) * shape.draw(generator, size)
        arm = blocks + effect + sd / math.sqrt(2) * shape.draw(generator, size)
    else:
        baseline, arm = blocks, blocks + effect + sd * shape.draw(generator, size)
    if shape.is_rounded:
        baseline, arm = (np.round(v * _EXAMPLES) / _EXAMPLES for v in (baseline, arm))
    return [
        Question(
            task="",
            arm="arm",
            baseline="baseline",
            role="confirmatory",
            metric=_METRIC,
            margin=MARGIN,
            values=tuple(map(float, values)),
            baseline_values=tuple(map(float, base)),
            controls={},
            needs_control=False,
            ceiling=None,
            diverged=0,
        )
        for values, base in zip(arm, baseline, strict=True)
    ]


def _has_claim(family: Sequence[Question]) -> bool:
    members = [replace(question, family_size=len(family)) for question in family]
    found = [verdict.adjusted for verdict in judge_all(members)]
    return any(p is not None and p.difference <= ALPHA for p in found)


def _share(found: Iterable[bool]) -> float:
    return float(np.mean([bool(value) for value in found]))


def _coverage(intervals: Iterable[tuple[float, float]]) -> float:
    # Ends are rounded to eight digits, the truth is not.
    return _share(low - 1e-8 <= 2 * MARGIN <= high + 1e-8 for low, high in intervals)


def _band(level: float, count: int) -> tuple[float, float]:
    low, high = stats.binom.interval(_BAND, count, level)
    return float(low / count), float(high / count)
