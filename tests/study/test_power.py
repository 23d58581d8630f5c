"""Promised power against simulation of the test itself, and against statsmodels."""

import itertools
import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from heatgrad.study.statistics import (
    attainable_level,
    blocks_to_detect,
    blocks_to_settle,
    detectable_difference,
    equivalence_p,
    sign_flip_interval,
    sign_flip_power,
)


def simulated(effect, n, alpha, repetitions):
    """Share of normal samples whose whole interval at 1 - alpha lies above 0."""
    d = np.random.default_rng([n, round(1e4 * alpha)]).normal(effect, 1, (repetitions, n))
    patterns = np.array(list(itertools.product((0, 1), repeat=n))[1:], dtype=float)
    rank = math.floor(alpha * 2**n / 2 + 1e-9)
    means = d @ patterns.T / patterns.sum(axis=1)
    low = np.partition(means, rank - 1, axis=1)[:, rank - 1]
    assert sign_flip_interval(d[0], confidence=1 - alpha)[0] == pytest.approx(low[0], rel=1e-9)
    return np.mean(low > 0)


@pytest.mark.parametrize(
    ("n", "alpha"), [(8, 0.05), (8, 0.05 / 3), (8, 0.05 / 6), (10, 0.05), (10, 0.05 / 12)]
)
@pytest.mark.parametrize("effect", [0.5, 1.0, 1.5])
def test_power_is_that_of_the_test(n, alpha, effect):
    """The docstring's 0.01, and four standard errors of 4,000 samples."""
    error = 4 * math.sqrt(0.25 / 4000)
    found = simulated(effect, n, alpha, 4000)
    assert sign_flip_power(effect, 1.0, n, alpha=alpha) == pytest.approx(found, abs=0.01 + error)


@pytest.mark.parametrize("effect", [0.3, 0.7])
def test_power_of_more_blocks_is_that_of_the_t_test(effect):
    """For n = 14 within .03 of simulation; for n = 24 statsmodels' one-sided half."""
    error = 4 * math.sqrt(0.25 / 600)
    found = simulated(effect, 14, 0.05, 600)
    assert sign_flip_power(effect, 1.0, 14) == pytest.approx(found, abs=0.03 + error)
    theirs = TTestPower().power(effect, 24, 0.025, alternative="larger")
    assert sign_flip_power(effect, 1.0, 24) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("n", [8, 9, 10, 11, 12])
def test_where_one_pattern_counts_all_differences_must_have_one_sign(n):
    """At alpha = 2/2^n the probability is that of n positive normals, Phi(effect)^n."""
    exact = (0.5 * math.erfc(-1.2 / math.sqrt(2))) ** n
    # Averaged over some thousand residuals, in 32 quantiles.
    assert sign_flip_power(1.2, 1.0, n, alpha=2 / 2**n) == pytest.approx(exact, abs=0.015)


@pytest.mark.parametrize(("n", "level"), [(5, 0.0), (8, 12 / 256), (10, 50 / 1024), (24, 0.05)])
def test_attainable_levels(n, level):
    """Whole patterns: floor(.05 * 2^n / 2) on either side; random patterns attain any."""
    assert attainable_level(n) == level


def test_limits():
    """No blocks enough, no spread, a huge effect, no effect."""
    assert sign_flip_power(9.0, 1.0, 5) == 0.0
    assert detectable_difference(1.0, 5) == math.inf
    assert sign_flip_power(0.1, 0.0, 8) == 1.0
    assert sign_flip_power(1e9, 1.0, 8) == pytest.approx(1.0)
    assert sign_flip_power(0.0, 1.0, 10) == pytest.approx(attainable_level(10) / 2, abs=0.004)
    assert detectable_difference(0.0, 8) == 0.0


@pytest.mark.parametrize("n", [8, 10, 16])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
def test_the_detectable_difference_has_the_power_it_says(n, alpha):
    """Power at it is .8, in units of the spread; half of it has less."""
    size = detectable_difference(0.02, n, alpha=alpha)
    assert sign_flip_power(size, 0.02, n, alpha=alpha) == pytest.approx(0.8, abs=1e-6)
    assert sign_flip_power(size / 2, 0.02, n, alpha=alpha) < 0.6
    assert size == pytest.approx(0.02 * detectable_difference(1.0, n, alpha=alpha))


@pytest.mark.parametrize("effect", [1.3, 0.6, 0.1, 0.03])
def test_the_blocks_needed_are_the_fewest_with_enough_power(effect):
    """One fewer has too little; close to ((1.96 + .84) / effect)^2 where they are many."""
    n = blocks_to_detect(effect, 1.0)
    assert sign_flip_power(effect, 1.0, n) >= 0.8 > sign_flip_power(effect, 1.0, n - 1)
    assert blocks_to_detect(-effect, 1.0) == n
    if n > 100:
        assert n == pytest.approx((2.802 / effect) ** 2, rel=0.02)


def test_too_many_blocks_are_none():
    """More than 10,000, or a mean on the margin."""
    assert blocks_to_detect(0.001, 1.0) is None
    assert blocks_to_settle(0.01, 0.02, 0.01) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_settling_a_mean_beyond_the_margin_is_beating_it(sign):
    """The distance from the margin has to be found."""
    assert blocks_to_settle(sign * 0.03, 0.02, 0.01) == blocks_to_detect(0.02, 0.02)


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.1), (0.3, 0.8)])
def test_settling_a_mean_inside_gives_equivalence(mean, sd):
    """Simulated: that many blocks show equivalence in about .8 of 1,000 samples."""
    n = blocks_to_settle(mean, sd, 1.0)
    assert 10 <= n <= 16
    d = np.random.default_rng(0).normal(mean, sd, (1000, n))
    share = np.mean([equivalence_p(row, 1.0) <= 0.05 for row in d])
    assert share == pytest.approx(0.82, abs=0.06)
