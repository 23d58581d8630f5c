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

    An arm's options take the columns of the design in order, the learning rate first: so arms that
    tune it over the same range try the same values, whatever else they or other arms tune; and a
    smaller budget is the beginning of a larger one.

    Args:
        study: A study with `tuning`.
        arm: Name of the arm.
        budget: Number of settings, K.
    """
    ranges = ranges_of(study, arm)
    names = sorted(ranges, key=lambda name: (name != "lr", name))
    seed = stream_seed(study.entropy, "design")
    columns = {name: _column(place, seed) for place, name in enumerate(names)}
    return [
        {name: ranges[name].at(float(columns[name][k])) for name in ranges} for k in range(budget)
    ]


@lru_cache(maxsize=32)
def _column(place: int, seed: int) -> np.ndarray:
    """Return a coordinate of the 32 points of the largest budget, each in [0, 1).

    It is the last of so many dimensions: scrambled otherwise than in a design of more, so that a
    column does not hang on those after it. Scrambled one by one, the points are a Sobol net still.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        sampler = qmc.Sobol(place + 1, scramble=True, rng=np.random.default_rng(seed))
    points: np.ndarray = sampler.random(32)
    return points[:, place]
