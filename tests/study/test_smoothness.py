"""Smoothness of paths, against closed forms."""

import math

import numpy as np
import pytest

from heatgrad.study.statistics import path_over_chord, total_variation


def test_total_variation_of_a_trend_is_its_ends():
    """A monotone series varies by its ends: (9 - 1) / 4 a step, mean 5."""
    for series in (np.linspace(1, 9, 5), np.linspace(9, 1, 5)):
        assert total_variation(series) == pytest.approx((8 / 4) / 5)
    falling = np.linspace(1, 0, 21)
    assert total_variation(falling) == pytest.approx(2 / 20)


def test_total_variation_of_noise_does_not_depend_on_length():
    """Uniform on (0, 1): the mean step is 1/3, the mean 1/2."""
    rng = np.random.default_rng(0)
    for length in (2000, 20000):
        series = rng.uniform(size=(5, length))
        # The step's standard deviation is sqrt(1/18), neighbours hang together.
        assert total_variation(series) == pytest.approx(2 / 3, abs=10 / math.sqrt(length) / 3)


def test_total_variation_has_no_unit_and_goes_run_by_run():
    """Scaled, turned round in time, one run or many."""
    series = np.random.default_rng(0).uniform(size=(2, 3, 10))
    expected = total_variation(series)
    assert expected.shape == (2, 3)
    np.testing.assert_allclose(total_variation(7 * series), expected)
    np.testing.assert_allclose(total_variation(series[..., ::-1]), expected)
    assert total_variation(series[1, 2]) == pytest.approx(expected[1, 2])
    assert total_variation(np.ones(5)) == 0
    assert math.isnan(total_variation(np.zeros(5)))


def test_path_of_a_circle_and_of_a_line():
    """A regular half polygon of m chords: m sin(pi / 2m), near pi / 2; a line has 1."""
    for m in (2, 10, 1000):
        angles = np.linspace(0, math.pi, m + 1)
        points = np.column_stack([np.cos(angles), np.sin(angles)])
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        expected = m * math.sin(math.pi / (2 * m))
        assert path_over_chord(steps, 2.0) == pytest.approx(expected)
    assert path_over_chord(np.array([0.1, 0.2, 0.3]), 0.6) == pytest.approx(1)
    # Norms of single precision may put the chord a little above.
    assert path_over_chord(np.array([0.1, 0.2, 0.3]), 0.6000001) == 1


def test_path_of_a_random_walk_grows_as_the_root():
    """In 2,000 dimensions m unit steps end sqrt(m) away."""
    steps = np.random.default_rng(0).normal(size=(4, 64, 2000)) / math.sqrt(2000)
    lengths, chords = np.linalg.norm(steps, axis=-1), np.linalg.norm(steps.sum(axis=1), axis=-1)
    assert path_over_chord(lengths, chords) == pytest.approx(8, rel=0.1)


def test_path_that_came_back_or_never_left():
    """Infinite and not a number, run by run."""
    found = path_over_chord(np.array([[1.0, 1.0], [0.0, 0.0]]), np.zeros(2))
    assert found[0] == math.inf
    assert math.isnan(found[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: total_variation(np.ones((3, 1))), "at least 2 records"),
        (lambda: total_variation(np.array([1.0, np.nan])), "leave out runs that diverged"),
        (lambda: total_variation(np.array([1.0, -1.0])), "not negative, got -1 to 1"),
        (lambda: path_over_chord(np.ones((2, 3)), np.ones(3)), r"shape \(2,\), got shape \(3,\)"),
        (lambda: path_over_chord(np.ones(3), 3.1), "got 3.1 for a path of 3"),
    ],
)
def test_bad_curves(call, message):
    """One line: what is required, what came, what to do."""
    with pytest.raises(ValueError, match=message):
        call()
