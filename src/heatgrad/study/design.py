"""The settings that are tried for each arm: one scrambled Sobol design for all."""

import warnings
from functools import lru_cache

import numpy as np
from scipy.stats import qmc

from heatgrad.core.random import stream_seed
from heatgrad.study.spec import StudySpec
from heatgrad.study.tuning_spec import Range

__all__ = ["ranges_of", "settings_of"]

Setting = dict[str, float]


def ranges_of(study: StudySpec, arm: str) -> dict[str, Range]:
    """Return where the options of an arm are searched."""
    assert study.tuning is not None
    return study.tuning.space | study.arms[arm].tune


def settings_of(study: StudySpec, arm: str, budget: int) -> list[Setting]:
    """Return the first settings of an arm's options.

    Each option has a column of the design of its own, so arms that tune the same option over the
    same range try the same values; and a smaller budget is the beginning of a larger one.

    Args:
        study: A study with `tuning`.
        arm: Name of the arm.
        budget: Number of settings, K.
    """
    names = sorted({name for other in study.arms for name in ranges_of(study, other)})
    points = _design(len(names), stream_seed(study.entropy, "design"))[:budget]
    ranges = ranges_of(study, arm)
    columns = {name: names.index(name) for name in ranges}
    return [
        {name: ranges[name].at(float(point[column])) for name, column in columns.items()}
        for point in points
    ]


@lru_cache(maxsize=8)
def _design(dimension: int, seed: int) -> np.ndarray:
    """Return the 32 points of the largest budget, each in [0, 1)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        sampler = qmc.Sobol(dimension, scramble=True, rng=np.random.default_rng(seed))
    points: np.ndarray = sampler.random(32)
    return points
