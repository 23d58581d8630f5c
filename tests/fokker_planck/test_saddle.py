"""Minima and saddles whose places are known."""

import math

import pytest
import torch

from heatgrad.fokker_planck.escape.saddle import find_minimum, find_saddle


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def muller_brown(x):
    """Müller and Brown's surface, the usual test of saddle searches."""
    rows = (
        (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
        (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
        (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
        (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
    )
    return sum(
        A * torch.exp(a * (x[0] - u) ** 2 + b * (x[0] - u) * (x[1] - v) + c * (x[1] - v) ** 2)
        for A, a, b, c, u, v in rows
    )


def test_muller_brown():
    """Published: the minima, and the higher of the two saddles between them."""
    a = find_minimum(muller_brown, point(-0.5, 1.5))
    b = find_minimum(muller_brown, point(0.6, 0.1))
    top = find_saddle(muller_brown, a.point, b.point, images=9, sweeps=200)
    for found, place, value in (
        (a, (-0.558, 1.442), -146.700),
        (b, (0.623, 0.028), -108.167),
        (top, (-0.822, 0.624), -40.665),
    ):
        assert found.status == "converged"
        assert found.point.tolist() == pytest.approx(place, abs=6e-4)
        assert found.value == pytest.approx(value, abs=1e-3)
        assert found.gradient_norm < 1e-9
    assert (a.index, b.index, top.index) == (0, 0, 1)


def test_off_a_symmetric_ridge():
    """The straight line from (-1, 0) to (1, 0) leads over a maximum; saddles are at y² = 0.85."""

    def ring(x):
        return ((x**2).sum() - 1) ** 2 + 0.3 * x[1] ** 2

    top = find_saddle(ring, point(-1, 0), point(1, 0))
    assert top.status == "converged"
    assert top.index == 1
    assert top.value == pytest.approx(0.15**2 + 0.3 * 0.85, rel=1e-12)
    assert abs(float(top.point[1])) == pytest.approx(math.sqrt(0.85), rel=1e-10)
    assert top.gradient_norm < 1e-10


def test_ten_coordinates_along_a_bent_valley():
    """(x1² - 1)² / 4 + |y - x1² w|² / 2 in ten: the saddle at the origin, height 1/4."""
    w = torch.linspace(0.2, 1.5, 9, dtype=torch.float64)

    def bent(x):
        return (x[0] ** 2 - 1) ** 2 / 4 + ((x[1:] - x[0] ** 2 * w) ** 2).sum() / 2

    ends = [torch.cat([point(s), w]) for s in (-1.0, 1.0)]
    top = find_saddle(bent, *ends, images=9, sweeps=200)
    assert top.status == "converged"
    assert top.value == pytest.approx(0.25, rel=1e-12)
    assert float(top.point.norm()) < 1e-9
    found = find_minimum(bent, 0.7 * ends[1])
    torch.testing.assert_close(found.point, ends[1], rtol=0, atol=1e-9)


def test_rosenbrock():
    """A curved valley: the minimum at (1, 1, 1, 1) from the usual start."""

    def banana(x):
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    found = find_minimum(banana, point(-1.2, 1.0, -1.2, 1.0), max_steps=2000)
    assert found.status == "converged"
    assert found.index == 0
    assert found.value < 5  # the minimum, or the known local one with value 3.7


def test_no_minimum_is_a_status():
    """A slope has none; a saddle where a minimum was asked for is left behind."""
    assert find_minimum(lambda x: x.sum(), point(0.0, 0.0), max_steps=20).status == "not_converged"
    ridge = find_minimum(lambda x: x[0] ** 2 - x[1] ** 2, point(0.5, 0.0))
    assert ridge.status == "wrong_index"
    one_well = find_saddle(
        lambda x: (x**2).sum(), point(-1.0), point(1.0), images=5, sweeps=5, max_steps=20
    )
    assert one_well.status != "converged"


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((point(1), point(1)), {}, "different points"),
        ((point(1), point(1, 2)), {}, "different points"),
        ((point(1), point(math.nan)), {}, "b must be a finite point"),
        ((point(1), point(2)), {"images": 2}, "images must be at least 3"),
        ((point(1), point(2)), {"tol": 0.0}, "tol must be positive"),
        ((point(0), point(2)), {}, "potential at a must be finite"),
    ],
)
def test_refusals(args, options, message):
    with pytest.raises(ValueError, match=message):
        find_saddle(lambda x: torch.log(x).sum(), *args, **options)
