"""Effect sizes against brute force, NumPy and statsmodels."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from heatgrad.study.statistics import (
    effect_sizes,
    hodges_lehmann,
    jeffreys_interval,
    pairing_factor,
    probability_better,
    standardized_mean,
)

numbers = st.lists(st.integers(-20, 20), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(numbers)
def test_hodges_lehmann_is_the_median_of_all_pairs(values):
    """All pairs written out, each with itself, by the standard library's median."""
    pairs = itertools.combinations_with_replacement(values, 2)
    expected = statistics.median((a + b) / 2 for a, b in pairs)
    assert hodges_lehmann(np.array(values, dtype=float)) == expected


def test_hodges_lehmann_does_not_follow_an_outlier():
    """A diverged run moves the mean by 1e5 and the centre by less than the spread."""
    d = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, -1e6])
    assert hodges_lehmann(d) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("n", [1, 8, 10, 20])
def test_jeffreys_is_statsmodels(n):
    """`proportion_confint(method="jeffreys")` at every count."""
    for wins in range(n + 1):
        theirs = proportion_confint(wins, n, alpha=0.05, method="jeffreys")
        assert jeffreys_interval(wins, n) == pytest.approx(theirs, abs=1e-10)


def test_ties_count_half():
    """Two wins, one loss, one tie of four, rounding included: 2.5 / 4."""
    d = np.array([0.1, 0.2, -0.1, 0.3 - 0.2 - 0.1])
    assert probability_better(d) == 0.625
    assert probability_better(-d) == 0.375
    effects = effect_sizes(d, np.zeros(4))
    interval = (effects.prob_better_low, effects.prob_better_high)
    assert interval == pytest.approx(jeffreys_interval(2.5, 4))


def test_standardized_mean_and_pairing_are_numpys():
    """d_z squared times n is t squared; var(a - b) = var a + var b - 2 cov."""
    rng = np.random.default_rng(0)
    b = rng.normal(size=12)
    a = b + 0.1 * rng.normal(size=12)
    effects = effect_sizes(a, b)
    covariance = np.cov(a, b)
    assert effects.d_z == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert effects.correlation == pytest.approx(np.corrcoef(a, b)[0, 1])
    apart = covariance[0, 0] + covariance[1, 1]
    assert effects.pairing_factor == pytest.approx(apart / (apart - 2 * covariance[0, 1]))
    assert effects.pairing_factor > 50


def test_what_does_not_vary_has_no_ratio():
    """Equal differences, equal values and one pair: infinite, nothing or not a number."""
    assert standardized_mean(np.full(8, 0.1)) == math.inf
    assert standardized_mean(np.full(8, -0.1)) == -math.inf
    assert standardized_mean(np.zeros(8)) == 0.0
    assert math.isnan(standardized_mean(np.ones(1)))
    rising = np.arange(8.0)
    assert pairing_factor(rising, rising) == math.inf
    assert math.isnan(pairing_factor(np.ones(8), np.ones(8)))
    assert math.isnan(effect_sizes(np.ones(8), rising).correlation)
    assert math.isnan(effect_sizes(np.ones(1), np.ones(1)).correlation)


def test_differences_that_differ_by_rounding_are_equal():
    d = np.array([0.1 + 0.2 - 0.3, 0.0, 1e-17])
    assert standardized_mean(d, resolution=1e-12) == 0
    assert standardized_mean(d + 1, resolution=1e-12) == math.inf
    assert math.isfinite(standardized_mean(np.array([1.0, 1.1]), resolution=1e-12))
