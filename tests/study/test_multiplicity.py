"""Adjusted p values against statsmodels and against closed testing by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from heatgrad.study.statistics import (
    benjamini_hochberg,
    blocks_for_family,
    holm,
    largest_family,
    smallest_p,
)

# Sign-flip p values tie often: they are multiples of 1/128.
p_values = st.lists(st.integers(1, 128).map(lambda k: k / 128), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(p_values)
def test_both_are_statsmodels(values):
    """`multipletests` with methods holm and fdr_bh."""
    p = np.array(values)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], rel=1e-12)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(p_values.map(lambda p: p[:5]), st.sampled_from([0.05, 0.2]))
def test_holm_is_the_closed_test_of_bonferroni(values, alpha):
    """A hypothesis falls if Bonferroni rejects every intersection that holds it."""
    m = len(values)
    adjusted = holm(np.array(values))
    sets = [s for r in range(1, m + 1) for s in itertools.combinations(range(m), r)]
    for i in range(m):
        falls = all(min(values[j] for j in s) <= alpha / len(s) for s in sets if i in s)
        assert (adjusted[i] <= alpha + 1e-12) == falls


@settings(max_examples=40, deadline=None)
@given(p_values, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(values, random):
    """Shuffled tests get their own value back."""
    order = list(range(len(values)))
    random.shuffle(order)
    p = np.array(values)
    for adjust in (holm, benjamini_hochberg):
        assert adjust(p[order]).tolist() == adjust(p)[order].tolist()
        assert np.all(adjust(p) >= p - 1e-12)


def test_nothing_to_adjust():
    """No test and one test."""
    assert holm(np.array([])).tolist() == benjamini_hochberg(np.array([])).tolist() == []
    assert (
        holm(np.array([0.03])).tolist() == benjamini_hochberg(np.array([0.03])).tolist() == [0.03]
    )


@pytest.mark.parametrize("n", range(6, 15))
def test_the_largest_family_is_the_last_that_can_be_decided(n):
    """So many tests can reach .05 if m times 2/2^n does; one more cannot."""
    size = largest_family(n)
    assert size * smallest_p(n) <= 0.05 < (size + 1) * smallest_p(n)
    assert blocks_for_family(size) == n
    assert blocks_for_family(size + 1) == n + 1


def test_a_family_that_just_fits():
    """Whole alpha: .0625 = 4 * 2/2^7 is reached with equality, however it rounds."""
    assert largest_family(7, alpha=0.0625) == 4
    assert largest_family(10, alpha=0.1) == 51
