"""The secondary intervals against SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from heatgrad.study.statistics import bca_interval, intervals, t_interval

DRAWS = {
    "normal": lambda rng, n: rng.normal(0.3, 1, n),
    "skewed": lambda rng, n: rng.exponential(1, n) ** 2,
    "tied": lambda rng, n: rng.integers(-3, 4, n) / 8,
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("n", [2, 8, 10, 20])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_bca_is_scipys(draw, n, confidence):
    """`scipy.stats.bootstrap` with method BCa and a generator of the same seed.

    In multiples of 1/1024, whose sums are exact: SciPy lets rounding decide ties with the mean.
    """
    d = np.round(1024 * DRAWS[draw](np.random.default_rng(n), n)) / 1024
    if d.min() == d.max():
        pytest.skip("all equal: SciPy gives NaN")
    theirs = stats.bootstrap(
        (d,),
        np.mean,
        method="BCa",
        n_resamples=9999,
        confidence_level=confidence,
        rng=np.random.default_rng(0),
        vectorized=True,
    ).confidence_interval
    assert bca_interval(d, confidence=confidence) == pytest.approx(tuple(theirs), rel=1e-9)


def test_bca_of_many_pairs_is_drawn_in_pieces(monkeypatch):
    """Pieces are another order of the same kind of draws: close to the t interval both ways."""
    d = np.random.default_rng(0).normal(0.3, 1, 400)
    whole = bca_interval(d)
    monkeypatch.setattr(intervals, "_CELLS", 400 * 1000)
    pieces = bca_interval(d)
    assert pieces == pytest.approx(whole, abs=0.01)
    assert pieces == pytest.approx(t_interval(d), abs=0.01)


@pytest.mark.parametrize("n", [2, 8, 30])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_t_is_scipys(n, confidence):
    """`scipy.stats.ttest_1samp(d, 0).confidence_interval`."""
    d = np.random.default_rng(n).normal(0.3, 1, n)
    theirs = stats.ttest_1samp(d, 0).confidence_interval(confidence)
    assert t_interval(d, confidence=confidence) == pytest.approx(tuple(theirs), rel=1e-10)


@pytest.mark.parametrize("interval", [t_interval, bca_interval])
@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3])
def test_equal_differences_are_a_point_and_one_pair_says_nothing(interval, value):
    """No spread, no interval, as in A/A; and one pair has no spread at all."""
    assert interval(np.full(9, value)) == (value, value)
    assert interval(np.array([value])) == (-math.inf, math.inf)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=3, max_size=9), st.integers(-50, 50))
def test_shift_and_sign(numbers, shift):
    """A shift moves both ends; turning signs mirrors t, and BCa to the noise of its draws."""
    d = np.array(numbers, dtype=float)
    for interval in (t_interval, bca_interval):
        low, high = interval(d)
        assert interval(d + shift) == pytest.approx((low + shift, high + shift), abs=1e-9)
        assert low <= high
    low, high = t_interval(d)
    assert t_interval(-d) == pytest.approx((-high, -low), abs=1e-9)
