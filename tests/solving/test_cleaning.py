"""Sensors that carry nothing, repeat each other or cannot be true."""

import numpy as np
import pytest

from heatgrad.core.errors import DataError
from heatgrad.pde import Poisson
from heatgrad.solving.cleaning import cleaned, doubted, with_noise
from heatgrad.solving.sensors import Sensors


def sensors(field, points, value, noise=0.0):
    """Return sensors of one noise."""
    count = len(field)
    return Sensors(
        tuple(field),
        np.array(points, dtype=float),
        np.array(value, dtype=float),
        np.full(count, noise),
    )


def test_sensors_on_a_border_where_the_field_is_zero_are_left_out_with_a_warning():
    """By definition u of Poisson is 0 on the border; a is not."""
    points = [(0.0, 0.5), (0.5, 0.5), (0.0, 0.5)]
    left, notes, doubts = cleaned(sensors("uua", points, [0, 1, 2]), Poisson(9))
    assert left.field == ("u", "a")
    assert notes == ()
    assert len(doubts) == 1
    assert "1 of 2 sensors of u" in doubts[0]
    assert "no information" in doubts[0]
    _, notes, doubts = cleaned(sensors("uua", points, [0, 1, 2]), Poisson(9), is_drawn=True)
    assert (len(notes), doubts) == (1, ())


def test_no_information_at_all_is_an_error():
    with pytest.raises(DataError, match="no sensor carries information"):
        cleaned(sensors("u", [(1.0, 0.2)], [0]), Poisson(9))


def test_repeated_sensors():
    """The same said twice is left out; a contradiction is refused; with noise both are kept."""
    twice = [(0.5, 0.5), (0.5, 0.5)]
    left, _, doubts = cleaned(sensors("uu", twice, [1, 1]), Poisson(9))
    assert (len(left), len(doubts)) == (1, 1)
    with pytest.raises(DataError, match="say 1 and 2"):
        cleaned(sensors("uu", twice, [1, 2]), Poisson(9))
    assert len(cleaned(sensors("uu", twice, [1, 2], noise=0.1), Poisson(9))[0]) == 2


def test_noise_that_is_not_given_is_a_share_of_the_field_and_values_beyond_it_are_doubted():
    """By hand: 1 % of 4, and a value of 100 of a field whose size is 4."""
    some = sensors("uu", [(0.1, 0.1), (0.2, 0.2)], [100, 1], noise=np.nan)
    assert with_noise(some, {"u": 4.0}, 0.01).noise.tolist() == [0.04, 0.04]
    (words,) = doubted(some, {"u": 4.0})
    assert "25 times its typical size" in words
    assert doubted(some, {"u": 40.0}) == ()
