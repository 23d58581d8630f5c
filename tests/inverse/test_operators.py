"""What sensors measure, against SciPy's interpolation and quadrature."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.interpolate import RegularGridInterpolator

from heatgrad.inverse import Averages, Instrument, Lines, Observation, Points, observe
from heatgrad.pde import Grid


def random_field(n, seed=0):
    return torch.randn(1, n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def interpolant(field, grid):
    """Return SciPy's bilinear interpolant of a field on any grid, as a function of x and y."""
    axis, values = grid.axis().numpy(), field[0].numpy()
    if grid.kind == "torus":
        axis = np.append(axis, 1.0)
        values = np.pad(values, ((0, 1), (0, 1)), mode="wrap")
    elif grid.kind == "cells":  # the nearest value beyond the outermost centres
        axis = np.concatenate([[0.0], axis, [1.0]])
        values = np.pad(values, 1, mode="edge")
    return RegularGridInterpolator((axis, axis), values)


@pytest.mark.parametrize("kind", ["nodes", "cells", "torus"])
def test_points_are_scipys_bilinear_interpolation(kind):
    """RegularGridInterpolator at random points, corners and borders included."""
    grid = Grid(7, kind)
    field = random_field(7)
    points = np.concatenate([np.random.default_rng(0).random((40, 2)), [[0, 0], [1, 1], [0, 0.3]]])
    seen = Instrument(grid, [Points("u", torch.from_numpy(points))], ("u",))({"u": field})
    assert np.allclose(seen[0], interpolant(field, grid)(points), atol=1e-13)


def test_a_node_is_read_as_it_is():
    """Weight 1 of one value, up to rounding of k / (n - 1) alone."""
    grid = Grid(128)
    field = random_field(128)
    seen = Instrument(grid, [Points("u", grid.points().reshape(-1, 2)[::37])], ("u",))({"u": field})
    assert np.allclose(seen[0], field.flatten()[::37], atol=1e-12)


@pytest.mark.parametrize("kind", ["nodes", "cells", "torus"])
def test_lines_are_exact_integrals(kind):
    """scipy.integrate.quad over the pieces of the interpolant, slanted and along the axes."""
    grid, field = Grid(5, kind), random_field(5)
    f = interpolant(field, grid)
    starts = [(0.03, 0.1), (0.2, 0.2), (0.3, 0.0), (0.9, 0.05)]
    ends = [(0.97, 0.55), (0.8, 0.8), (0.3, 1.0), (0.1, 0.95)]
    seen = Instrument(grid, [Lines("u", starts, ends)], ("u",))({"u": field})[0]
    for value, start, end in zip(seen, np.array(starts), np.array(ends), strict=True):
        cuts = np.linspace(0, 1, 41)
        total = sum(
            integrate.quad(lambda t, a=start, b=end: float(f(a + t * (b - a))[0]), *piece)[0]
            for piece in pairwise(cuts)
        )
        assert float(value) == pytest.approx(total, abs=1e-7)  # quad meets kinks inside pieces


@pytest.mark.parametrize("kind", ["nodes", "cells", "torus"])
def test_averages_are_exact_integrals(kind):
    """A fine midpoint rule, whose error is of order 1e-5, and the mean of all by weights."""
    grid, field = Grid(5, kind), random_field(5)
    f = interpolant(field, grid)
    low, high = np.array([0.13, 0.4]), np.array([0.71, 0.93])
    seen = Instrument(grid, [Averages("u", [low], [high])], ("u",))({"u": field}).item()
    m = (np.arange(600) + 0.5) / 600
    x, y = (low[k] + m * (high[k] - low[k]) for k in (0, 1))
    rule = f(np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)).mean()
    assert seen == pytest.approx(rule, abs=2e-5)
    whole = Instrument(grid, [Averages("u", [(0, 0)], [(1, 1)])], ("u",))({"u": field}).item()
    if kind != "nodes":
        assert whole == pytest.approx(float(field.mean()), abs=1e-12)


def test_order_of_operators_is_order_of_values():
    """By hand: u, then a, then u again."""
    grid = Grid(3)
    fields = {"a": torch.full((1, 3, 3), 5.0), "u": torch.arange(9.0).reshape(1, 3, 3)}
    operators = [
        Points("u", [(0.5, 0.5)]),
        Averages("a", [(0.0, 0.0)], [(0.5, 0.5)]),
        Points("u", [(1.0, 0.0), (1.0, 1.0)]),
    ]
    instrument = Instrument(grid, operators, ("a", "u"))
    assert instrument(fields).tolist() == [[4.0, 5.0, 6.0, 8.0]]
    assert instrument.of("u").tolist() == [True, False, True, True]
    rows = instrument.transposed(0, 4, fields["a"])
    again = sum((rows[k] * fields[k]).sum((1, 2)) for k in rows)
    assert again.tolist() == [4.0, 5.0, 6.0, 8.0]


def test_noise_has_the_given_deviation():
    """Chi-square of 4000 residuals, a deviation of each; 5 standard errors."""
    grid = Grid(9)
    fields = {"u": random_field(9).repeat(2000, 1, 1)}
    seen = observe(
        fields, grid, [Points("u", [(0.3, 0.2), (0.5, 0.5)])], torch.tensor([0.1, 2.0]),
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    exact = observe(fields, grid, seen.operators).values
    std = ((seen.values - exact) / torch.tensor([0.1, 2.0])).std(0)
    assert torch.allclose(std, torch.ones(2).double(), atol=5 / math.sqrt(2 * 2000))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Points("u", [(0.5, 1.2)]), r"unit square, got \(0.5, 1.2\)"),
        (lambda: Points("u", [(math.nan, 0.2)]), "unit square"),
        (lambda: Points("u", []), "shape"),
        (lambda: Lines("u", [(0.1, 0.1)], [(0.1, 0.1)]), "two different ends"),
        (lambda: Averages("u", [(0.5, 0.1)], [(0.4, 0.9)]), "low below high"),
        (lambda: Instrument(Grid(4), [], ("u",)), "at least one"),
        (lambda: Instrument(Grid(4), [Points("w", [(0, 0)])], ("u",)), "unknown field 'w'"),
        (
            lambda: Observation([Points("u", [(0, 0)])], torch.tensor([math.nan])),
            "sensor 0 in case 0",
        ),
        (lambda: Observation([Points("u", [(0, 0)])], torch.zeros(2)), "one a sensor"),
        (lambda: Observation([Points("u", [(0, 0)])], torch.zeros(1), -1.0), "at least 0"),
        (
            lambda: observe({"u": torch.zeros(1, 4, 4)}, Grid(4), [Points("u", [(0, 0)])], 0.1),
            "needs a generator",
        ),
    ],
)
def test_refusals(make, message):
    """One clear line each."""
    with pytest.raises(ValueError, match=message):
        make()
