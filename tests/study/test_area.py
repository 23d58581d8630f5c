"""The area under the accuracy-noise curve, against closed forms and by what must not change it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from heatgrad.study.statistics import area_under_curve, compare_paired

LEVELS = np.array([0.0, 0.1, 0.25, 0.4])


def test_of_a_ceiling_is_its_mean():
    """Flipped binary labels cap accuracy at 1 - p: over 0 to 0.4 its mean is 0.8."""
    assert area_under_curve(LEVELS, 1 - LEVELS) == pytest.approx(0.8, abs=1e-15)


def test_of_a_broken_line_is_the_sum_of_its_triangles():
    """From 1 down to 0.6 at p = 0.25, then level: (0.25 x 0.8 + 0.15 x 0.6) / 0.4."""
    values = np.interp(LEVELS, [0.0, 0.25, 0.4], [1.0, 0.6, 0.6])
    assert area_under_curve(LEVELS, values) == pytest.approx(0.725, abs=1e-15)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_is_scipys_and_linear(seed):
    """`scipy.integrate.trapezoid` over the range; shift, unit, order, blocks one by one."""
    rng = np.random.default_rng(seed)
    p, y, z = np.sort(rng.uniform(size=5)), rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    area = area_under_curve(p, y)
    np.testing.assert_allclose(area, integrate.trapezoid(y, p, axis=0) / (p[-1] - p[0]))
    order = rng.permutation(5)
    for same in (
        area_under_curve(p[order], y[order]),
        area_under_curve(3 * p - 1, y),
        area_under_curve(p, 2 + y) - 2,
        area_under_curve(p, y - z) + area_under_curve(p, z),
        [area_under_curve(p, column) for column in y.T],
    ):
        np.testing.assert_allclose(same, area, atol=1e-12)


def test_a_point_on_a_line_changes_nothing():
    """A level halfway, with the value halfway."""
    finer = np.insert(LEVELS, 2, 0.2)
    values = np.array([0.9, 0.8, 0.5, 0.45])
    expected = area_under_curve(LEVELS, values)
    assert area_under_curve(finer, np.interp(finer, LEVELS, values)) == pytest.approx(expected)


def test_matched_areas_are_compared_exactly():
    """An arm 0.02 better at each level and block: its area is, with the smallest p value."""
    rng = np.random.default_rng(0)
    plain = (1 - LEVELS)[:, None] + rng.normal(0, 0.05, 8)
    arm = plain + 0.02
    areas = [area_under_curve(LEVELS, y).round(9) for y in (arm, plain)]
    result = compare_paired(*areas, margin=0.005)
    assert (result.low, result.high) == pytest.approx((0.02, 0.02), abs=1e-8)
    assert result.p == 2 / 2**8


@pytest.mark.parametrize(
    ("levels", "values", "message"),
    [
        ([0.1], [0.5], "at least two levels"),
        ([0.1, 0.2], [0.5], "a row for each"),
        ([0.1, 0.2], [[0.5], [np.nan]], "must be finite; leave out blocks"),
        ([0.2, 0.1, 0.2], [1, 2, 3], "got 0.2 twice"),
    ],
)
def test_bad_curves(levels, values, message):
    """One line: what is required, what came, what to do."""
    with pytest.raises(ValueError, match=message):
        area_under_curve(np.array(levels), np.array(values))
