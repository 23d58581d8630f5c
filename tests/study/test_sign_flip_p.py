"""The sign-flip p value against enumeration by hand and against SciPy."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from heatgrad.study.statistics import (
    EXACT_UP_TO,
    beyond_p,
    equivalence_p,
    sign_flip_interval,
    sign_flip_p,
    smallest_p,
)

# Multiples of 1/2000, as accuracies are, so that ties happen.
lattice = st.lists(st.integers(-12, 12), min_size=1, max_size=9)


def brute_force(numbers, center=0):
    """Every sign pattern, in exact fractions."""
    d = [Fraction(x) - Fraction(center) for x in numbers]
    observed = abs(sum(d))
    sums = [sum(map(Fraction.__mul__, d, signs)) for signs in _signs(len(d))]
    return Fraction(sum(abs(s) >= observed for s in sums), 2 ** len(d))


def _signs(n):
    return itertools.product((Fraction(1), Fraction(-1)), repeat=n)


@settings(max_examples=60, deadline=None)
@given(lattice)
def test_equals_enumeration_with_ties(numbers):
    """Exact fractions over all sign patterns; the floats are multiples of 1/2000 that round."""
    assert sign_flip_p(np.array(numbers) / 2000) == float(brute_force(numbers))


@settings(max_examples=50, deadline=None)
@given(lattice, st.integers(-6, 6))
def test_center_shifts_the_null(numbers, center):
    """Eq. (S.1) with a centre is enumeration of the shifted differences."""
    p = sign_flip_p(np.array(numbers) / 8, center=center / 8)
    assert p == float(brute_force(numbers, center))


@pytest.mark.parametrize("n", range(2, 13))
@pytest.mark.parametrize("has_ties", [False, True])
def test_equals_scipy(n, has_ties):
    """`scipy.stats.permutation_test` of paired samples, exact enumeration, |sum| one-sided.

    SciPy's two-sided p doubles a one-sided one; the absolute sum as statistic is Eq. (S.1).
    """
    rng = np.random.default_rng(n)
    d = rng.integers(-3, 4, n) / 4 if has_ties else rng.normal(0.3, 1, n)
    result = stats.permutation_test(
        (d,),
        lambda x, axis: np.abs(x.sum(axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert sign_flip_p(d) == pytest.approx(result.pvalue, rel=1e-12)


@pytest.mark.parametrize("n", range(2, 21))
def test_the_smallest_p_is_that_of_one_sided_data(n):
    """All differences of one sign: only the observed pattern and its mirror count, 2 / 2^n."""
    d = np.random.default_rng(n).uniform(0.1, 1, n)
    assert sign_flip_p(d) == sign_flip_p(-d) == smallest_p(n) == 2 / 2**n


def test_no_difference_at_all_gives_one():
    """All zero, as in A/A: every pattern ties, p = 1; so does data symmetric about the centre."""
    for n in (1, 8, EXACT_UP_TO, EXACT_UP_TO + 4):
        assert sign_flip_p(np.zeros(n)) == 1.0
    assert sign_flip_p(np.array([-2.0, -1.0, 1.0, 2.0])) == 1.0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=8),
    st.sampled_from([1e-9, 1e-3, 7.0, 1e6, -1.0, -3e5]),
    st.randoms(use_true_random=False),
)
def test_scale_sign_and_order_do_not_matter(numbers, factor, random):
    """P is a function of the differences up to a factor, and of no order of the blocks."""
    d = np.array([round(x, 6) for x in numbers])
    shuffled = d.copy()
    random.shuffle(shuffled)
    assert sign_flip_p(d) == sign_flip_p(factor * d) == sign_flip_p(shuffled)


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
def test_random_patterns_come_close_to_the_normal_limit(shift):
    """For n = 24 the sum over random signs is nearly normal with variance sum d^2.

    Five Monte-Carlo standard errors, and 1/24 for the normal approximation.
    """
    d = np.random.default_rng(3).normal(shift, 1, 24)
    limit = 2 * stats.norm.sf(abs(d.sum()) / math.sqrt((d**2).sum()))
    error = math.sqrt(limit * (1 - limit) / 2**18)
    assert sign_flip_p(d) == pytest.approx(limit, abs=5 * error + 1 / 24)
    assert sign_flip_p(d) == sign_flip_p(d)


def test_random_patterns_agree_with_enumeration_in_exact_halves():
    """For n = 24 ones, |sum of signs| >= k is a binomial tail; five standard errors."""
    d = np.concatenate([np.ones(17), -np.ones(7)])
    exact = 2 * stats.binom.sf(16, 24, 0.5)
    error = math.sqrt(exact * (1 - exact) / 2**18)
    assert sign_flip_p(d) == pytest.approx(exact, abs=5 * error)


def test_random_patterns_never_give_zero():
    """The observed pattern and its opposite are counted: p is at least 2 / 2^18."""
    assert sign_flip_p(np.full(40, 1.0)) == 2**-17


@pytest.mark.parametrize("count", [8, 20, 21, 24, 33])
def test_the_interval_and_the_test_never_disagree(count):
    """Zero lies outside the 95 % interval if and only if p <= 0.05, borderline cases first."""
    generator = np.random.default_rng(count)
    for _ in range(20 if count <= 20 else 8):
        d = generator.normal(size=count)
        # A shift near the edge of significance: two standard errors.
        d += 2.03 * d.std() / np.sqrt(count) + generator.normal(scale=0.01) - d.mean()
        low, high = sign_flip_interval(d)
        assert (sign_flip_p(d) <= 0.05) == (not low <= 0 <= high)


def one_sided(numbers, margin):
    """P of H0: centre >= margin, by the exact sum of flipped differences from the margin."""
    d = [Fraction(x) - Fraction(margin) for x in numbers]
    sums = [sum(map(Fraction.__mul__, d, signs)) for signs in _signs(len(d))]
    return Fraction(sum(s <= sum(d) for s in sums), 2 ** len(d))


@settings(max_examples=40, deadline=None)
@given(lattice.map(lambda x: x[:7]), st.integers(1, 15))
def test_equivalence_is_the_larger_of_two_one_sided_tests(numbers, margin):
    """Both one-sided tests enumerated in fractions; ties with the margin count, however rounded."""
    upper = one_sided(numbers, margin)
    lower = one_sided([-x for x in numbers], margin)
    p = equivalence_p(np.array(numbers) / 2000, margin / 2000)
    assert p == float(max(upper, lower))


@settings(max_examples=40, deadline=None)
@given(lattice.map(lambda x: x[:7]), st.integers(0, 15))
def test_beyond_is_twice_the_smaller_of_two_one_sided_tests(numbers, margin):
    """Enumerated in fractions: of a centre of at most the margin, and of at least minus it."""
    above = one_sided([-x for x in numbers], -margin)
    below = one_sided(numbers, -margin)
    p = beyond_p(np.array(numbers) / 2000, margin / 2000)
    assert p == float(min(Fraction(1), 2 * min(above, below)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-12, 12), min_size=6, max_size=9), st.integers(0, 15))
def test_beyond_and_the_interval_tell_one_story(numbers, margin):
    """P <= .05 if and only if the interval lies beyond the margin; never below that of (S.1)."""
    d = np.array(numbers) / 2000
    low, high = sign_flip_interval(d, resolution=1e-9)
    low, high, margin = round(low, 8), round(high, 8), margin / 2000
    p = beyond_p(d, margin, resolution=1e-9)
    assert (p <= 0.05) == (low > margin + 1e-8 or high < -margin - 1e-8)
    assert p >= sign_flip_p(d, resolution=1e-9)
    assert beyond_p(d, 0.0, resolution=1e-9) == sign_flip_p(d, resolution=1e-9)


def test_equivalence_is_close_to_statsmodels_tost():
    """`ttost_paired` of sixteen normal differences: the t test at both margins, within .01."""
    d = np.random.default_rng(5).normal(0.1, 1.0, 16)
    for margin in (0.4, 0.6, 0.8):
        theirs, _, _ = ttost_paired(d, np.zeros(16), -margin, margin)
        assert equivalence_p(d, margin) == pytest.approx(theirs, abs=0.01)


def test_equivalence_of_identical_runs_is_the_smallest_p():
    """A/A: no subset mean but the data's own reaches the margin, 1 / 2^n one-sided."""
    assert equivalence_p(np.zeros(8), 0.01) == 1 / 2**8


def test_equivalence_with_random_patterns_is_close_to_normal():
    """N = 24, centre half a margin away: the normal tail of the shifted one-sided test, ±.01."""
    d = np.random.default_rng(4).normal(0.0, 1.0, 24)
    margin = 0.5
    sides = [
        stats.norm.cdf((sign * d - margin).sum() / math.sqrt(((sign * d - margin) ** 2).sum()))
        for sign in (1, -1)
    ]
    assert equivalence_p(d, margin) == pytest.approx(max(sides), abs=0.01)
