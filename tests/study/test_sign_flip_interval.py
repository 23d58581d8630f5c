"""The interval that inverts the sign-flip test: ends, symmetries, coverage."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.study.statistics import (
    compare_paired,
    equivalence_p,
    sign_flip_interval,
    sign_flip_p,
)

ALPHA = 0.05


@pytest.mark.parametrize("n", range(6, 13))
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_ends_are_where_the_test_changes_its_mind(n, confidence):
    """Just inside an end p exceeds alpha, just outside it does not: the interval inverts Eq. (S.1).

    The p value jumps only at subset means, so a step of 1e-7 of the scale decides.
    """
    alpha, rng = 1 - confidence, np.random.default_rng(n)
    for _ in range(5):
        d = rng.normal(rng.normal(), 1, n)
        low, high = sign_flip_interval(d, confidence=confidence)
        assert sign_flip_p(d, center=low + 1e-7) > alpha
        assert sign_flip_p(d, center=low - 1e-7) <= alpha
        assert sign_flip_p(d, center=high - 1e-7) > alpha
        assert sign_flip_p(d, center=high + 1e-7) <= alpha
        for centre in np.linspace(low, high, 15)[1:-1]:
            assert sign_flip_p(d, center=centre) > alpha


@pytest.mark.parametrize("n", range(1, 11))
def test_the_mean_lies_inside_as_many_subset_means_as_hartigan_says(n):
    """The ends have floor(.025 * 2^n) subset means at or beyond them, counted by hand.

    Hartigan's typical values: the centre is equally likely between any two neighbours of the
    2^n - 1 sorted subset means.
    """
    d = np.random.default_rng(n).normal(0.2, 1, n)
    means = [
        np.mean(subset) for k in range(1, n + 1) for subset in itertools.combinations(d.tolist(), k)
    ]
    assert len(means) == 2**n - 1
    low, high = sign_flip_interval(d)
    assert low <= d.mean() <= high
    if n < 6:
        assert (low, high) == (-math.inf, math.inf)
        return
    k = math.floor(0.025 * 2**n)
    assert sum(m <= low + 1e-12 for m in means) == k
    assert sum(m >= high - 1e-12 for m in means) == k


def test_six_pairs_give_their_range():
    """N = 6: floor(1.6) = 1, the smallest and largest subset mean are those of one element."""
    d = np.array([0.3, -0.1, 0.25, 0.7, 0.05, 0.4])
    assert sign_flip_interval(d) == (-0.1, 0.7)


@pytest.mark.parametrize("n", [6, 8, 13, 24])
@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e6])
def test_equal_differences_give_a_point(n, value):
    """A/A gives [0, 0] exactly; equal differences give their value, without rounding."""
    assert sign_flip_interval(np.full(n, value)) == (value, value)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-10, 10), min_size=6, max_size=9),
    st.integers(-50, 50),
    st.sampled_from([0.5, 3.0, 1e-6, 1e6]),
)
def test_shift_scale_and_sign(numbers, shift, scale):
    """A shift of the data shifts the interval, a factor scales it, a sign mirrors it."""
    d = np.array(numbers, dtype=float)
    low, high = sign_flip_interval(d)
    moved = sign_flip_interval(scale * (d + shift))
    assert moved == pytest.approx((scale * (low + shift), scale * (high + shift)), rel=1e-10)
    mirrored = sign_flip_interval(-d)
    assert mirrored == pytest.approx((-high, -low), rel=1e-12)
    assert sign_flip_interval(d[::-1]) == pytest.approx((low, high), rel=1e-12)
    assert low <= d.mean() + 1e-12
    assert d.mean() - 1e-12 <= high


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(-6, 6), min_size=6, max_size=9),
    st.sampled_from([0.05, 1 / 2000, 1 / 719, 0.1 / 3]),
)
def test_zero_is_excluded_if_and_only_if_p_is_at_most_alpha(numbers, step):
    """Interval and p value tell one story, ties included: multiples that do not add up exactly."""
    d = np.array(numbers) * step
    low, high = sign_flip_interval(d)
    assert (not low <= 0 <= high) == (sign_flip_p(d) <= ALPHA)
    comparison = compare_paired(0.5 + d, np.full(len(d), 0.5), margin=0.01)
    assert (not comparison.low <= 0 <= comparison.high) == (comparison.p <= ALPHA)
    assert comparison.p == sign_flip_p(d)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=6, max_size=9), st.integers(1, 8))
def test_equivalent_at_five_percent_is_a_ninety_percent_interval_inside(numbers, margin):
    """The two one-sided tests at alpha invert to the interval at 1 - 2 alpha, as they must."""
    d = np.array(numbers, dtype=float)
    low, high = sign_flip_interval(d, confidence=0.9)
    assert (equivalence_p(d, margin) <= ALPHA) == (-margin < low and high < margin)


def test_a_tie_that_rounding_would_break():
    """Of these 256 subset means the sixth is 0 in decimals and 5e-18 in floats; p is .0625."""
    d = np.array([-5, 6, 4, 4, 5, 1, 6, 6]) * 0.1 / 2
    assert sign_flip_p(d) == 0.0625
    assert sign_flip_interval(d)[0] == 0.0


@pytest.mark.parametrize("draw", ["normal", "laplace", "uniform"])
def test_coverage(draw):
    """Over 2,000 studies of 8 pairs the true centre is covered as often as promised.

    For continuous differences the probability is exactly 1 - 2 * 6 / 256 = .953; five standard
    errors of a binomial share.
    """
    rng, repetitions, n = np.random.default_rng(11), 2000, 8
    d = getattr(rng, draw)(size=(repetitions, n)) - (0.5 if draw == "uniform" else 0.0)
    patterns = np.array(list(itertools.product((0, 1), repeat=n))[1:], dtype=float)
    means = np.sort(d @ patterns.T / patterns.sum(axis=1), axis=1)
    low, high = means[:, 5], means[:, -6]
    for row in range(0, repetitions, 100):
        assert sign_flip_interval(d[row]) == pytest.approx((low[row], high[row]), rel=1e-10)
    share, nominal = np.mean((low <= 0) & (high >= 0)), 1 - 12 / 256
    error = math.sqrt(nominal * (1 - nominal) / repetitions)
    assert nominal >= 0.95
    assert share == pytest.approx(nominal, abs=5 * error)


def test_random_subsets_are_close_to_students_interval():
    """N = 24 normal differences: mean ± t sd / sqrt(n), to a tenth of its width."""
    from scipy import stats

    d = np.random.default_rng(6).normal(0.3, 1, 24)
    low, high = sign_flip_interval(d)
    half = stats.t.ppf(0.975, 23) * d.std(ddof=1) / math.sqrt(24)
    assert (low, high) == pytest.approx((d.mean() - half, d.mean() + half), abs=0.2 * half)


def test_compare_paired_puts_it_together():
    """Mean, sd and direction are NumPy's; one pair has no sd; the order of the two flips signs."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=8), rng.normal(size=8)
    ab, ba = compare_paired(a, b, margin=0.1), compare_paired(b, a, margin=0.1)
    assert ab.num_blocks == 8
    assert ab.mean == pytest.approx((a - b).mean(), abs=1e-12)
    assert ab.sd == pytest.approx((a - b).std(ddof=1), abs=1e-12)
    assert (ab.low, ab.high) == (-ba.high, -ba.low)
    assert (ab.p, ab.equivalence_p) == (ba.p, ba.equivalence_p)
    one = compare_paired(np.ones(1), np.zeros(1), margin=0.1)
    assert math.isnan(one.sd)
    assert (one.low, one.high, one.p) == (-math.inf, math.inf, 1.0)


@pytest.mark.parametrize("n", [8, 24])
def test_the_order_of_the_blocks_says_nothing(n):
    """The same pairs shuffled: every number, to the last digit, also with drawn patterns."""
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.3, 1, n), rng.normal(size=n)
    first = compare_paired(a, b, margin=0.1)
    for _ in range(3):
        order = rng.permutation(n)
        assert compare_paired(a[order], b[order], margin=0.1) == first


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(300, 330), st.integers(300, 330)), min_size=6, max_size=8))
def test_records_of_nine_digits_keep_their_ties(counts):
    """Right answers of 360, as shares of nine digits: p and interval are those of whole numbers."""
    a, b = (
        np.array([float(f"{c / 360:.9g}") for c in column]) for column in zip(*counts, strict=True)
    )
    whole = np.array([x - y for x, y in counts], dtype=float)
    comparison = compare_paired(a, b, margin=1 / 360)
    low, high = sign_flip_interval(whole)
    assert comparison.p == sign_flip_p(whole)
    assert comparison.equivalence_p == equivalence_p(whole, 1.0)
    assert (comparison.low, comparison.high) == pytest.approx((low / 360, high / 360), abs=1e-8)
    assert (not comparison.low <= 0 <= comparison.high) == (comparison.p <= ALPHA)


@pytest.mark.parametrize(("a", "b"), [(8, 7), (0, 0), (1, 8)])
def test_compare_paired_refuses_what_is_not_paired(a, b):
    """Different lengths, which NumPy would broadcast, and nothing at all are errors."""
    with pytest.raises(ValueError, match="must hold the same blocks, at least one"):
        compare_paired(np.zeros(a), np.zeros(b), margin=0.1)
