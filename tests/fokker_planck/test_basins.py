"""Basins, masses and entropies of ensembles against what is known by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from heatgrad.core.shares import wilson
from heatgrad.fokker_planck.settling.basins import basins
from heatgrad.fokker_planck.settling.settle import (
    mass_per_basin,
    occupation_entropy,
    projection_entropy,
)


def tilted(x):
    """Minima near -1 and 1, the lower one right."""
    return (x[0] ** 2 - 1) ** 2 + (x[1:] ** 2).sum() - 0.1 * x[0]


ROOTS = np.sort(np.roots([4, 0, -4, -0.1]).real)  # critical points: left, ridge, right


def cloud(n, p, seed=0, scale=1.5):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, p, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("scale", [1.5, 20.0])
def test_a_tilted_double_well(scale):
    """The ridge of 4x³ - 4x - 0.1 parts the points, however far they start; minima to rounding."""
    x = cloud(300, 2, scale=scale)
    found = basins(tilted, x)
    assert found.status == "complete"
    expected = torch.tensor([[ROOTS[2], 0.0], [ROOTS[0], 0.0]], dtype=torch.float64)
    torch.testing.assert_close(found.minima, expected, rtol=0, atol=1e-12)
    right = x[:, 0] > ROOTS[1]
    clear = (x[:, 0] - ROOTS[1]).abs() > 1e-3 * scale
    assert torch.equal((found.labels == 0)[clear], right[clear])
    assert found.lowest().tolist() == [0]
    assert found.counts.sum() == 300
    np.testing.assert_allclose(found.curvatures, 2, rtol=1e-10)


def test_the_flow_is_followed_and_not_a_step_that_jumps():
    """Steep walls: from x = 3 a gradient step of 1/10 would land beyond the ridge, at -6.6."""
    found = basins(
        lambda x: ((x**2 - 1) ** 2).sum(), torch.tensor([[3.0], [-3.0], [50.0]]).double()
    )
    ends = found.minima[found.labels][:, 0]
    torch.testing.assert_close(ends, torch.tensor([1.0, -1.0, 1.0]).double(), rtol=0, atol=1e-12)


def test_a_stiff_valley():
    """Condition 1e2 along a diagonal: still complete, as the tilted well along it decides."""
    x = cloud(60, 2)

    def valley(x):
        return (x[0] ** 2 - 1) ** 2 - 0.1 * x[0] + 50 * (x[1] - x[0]) ** 2

    found = basins(valley, x)
    assert found.status == "complete"
    assert len(found.minima) == 2
    # Off the valley the stiff part acts first: it takes both coordinates to their mean.
    along = x.mean(1)
    clear = (along - ROOTS[1]).abs() > 0.05
    assert torch.equal((found.labels == 0)[clear], (along > ROOTS[1])[clear])


def test_equal_minima_are_all_lowest_and_points_on_a_ridge_have_none():
    """Wells in two dimensions: four minima of one loss; the origin is a maximum."""
    x = torch.tensor([[0.0, 0.0], [2.0, 2], [2, -2], [-2, 2], [-2, -2], [0.3, 0.0]]).double()
    found = basins(lambda x: ((x**2 - 1) ** 2).sum(), x)
    assert found.labels[0] == -1
    assert found.labels[5] == -1  # a saddle, at (1, 0)
    assert sorted(found.labels[1:5].tolist()) == [0, 1, 2, 3]
    assert found.lowest().tolist() == [0, 1, 2, 3]
    assert (found.num_saddles, found.status) == (2, "incomplete")


def test_what_runs_to_infinity_or_out_of_steps_is_reported():
    """e^(-x) has no minimum; neither has -x²; ten steps are too few."""
    x = torch.tensor([[0.0], [1.0]]).double()
    down = basins(lambda x: -(x**2).sum() / 2, torch.tensor([[1.0], [-2.0]]).double())
    assert (down.num_escaped, len(down.minima), down.labels.tolist()) == (2, 0, [-1, -1])
    assert len(down.lowest()) == 0
    hole = basins(lambda x: torch.log(x).sum(), x + 1, max_steps=300)
    assert (hole.num_unfinished, hole.status) == (2, "incomplete")  # NaN beyond 0
    few = basins(tilted, cloud(5, 2), max_steps=3)
    assert (few.num_unfinished, few.status, few.steps) == (5, "incomplete", 3)
    tail = basins(lambda x: torch.exp(-x).sum(), x, max_steps=200, gradient_tolerance=1e-200)
    assert tail.num_unfinished + tail.num_escaped == 2


def test_a_valley_of_minima_is_told_by_its_curvature():
    """(xy - 1)² is zero on a curve: many minima of one loss, each of smallest curvature 0."""
    found = basins(lambda x: (x[0] * x[1] - 1) ** 2, cloud(20, 2).abs())
    assert len(found.minima) > 10
    assert len(found.lowest()) == len(found.minima)
    assert not found.curvatures.any()
    # What they have in common makes them one.
    one = basins(
        lambda x: (x[0] * x[1] - 1) ** 2,
        cloud(20, 2).abs(),
        features=lambda x: x[:, :1] * x[:, 1:],
    )
    assert len(one.minima) == 1


def test_single_precision_and_a_gradient_of_ones_own():
    x = cloud(50, 2)
    whole = basins(tilted, x)
    single = basins(tilted, x.float())
    assert single.minima.dtype == torch.float32
    clear = (x[:, 0] - ROOTS[1]).abs() > 1e-2
    assert torch.equal(single.labels[clear], whole.labels[clear])

    def slope(x):
        return torch.stack([4 * x[:, 0] ** 3 - 4 * x[:, 0] - 0.1, 2 * x[:, 1]], dim=1)

    assert torch.equal(basins(tilted, x, gradient=slope).labels, whole.labels)


def test_permuting_coordinates_permutes_the_minima():
    """A symmetry of the loss: exchanged points reach exchanged minima."""

    def potential(x):
        return ((x**2 - 1) ** 2).sum() + 0.1 * x.sum() + 0.05 * x[0] * x[1]

    x = cloud(40, 2)
    a, b = basins(potential, x), basins(potential, x.flip(1))
    torch.testing.assert_close(a.minima[a.labels], b.minima[b.labels].flip(1), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (torch.zeros(3), {}, "must be a matrix"),
        (torch.full((2, 1), math.nan), {}, "finite numbers"),
        (torch.zeros(2, 1, dtype=torch.long), {}, "must be floating point"),
        (torch.zeros(2, 1), {"accuracy": 0.0}, "accuracy must be positive"),
        (torch.zeros(2, 1), {"merge_distance": -1.0}, "merge_distance must be positive"),
    ],
)
def test_points_and_options_are_checked(points, options, message):
    with pytest.raises(ValueError, match=message):
        basins(tilted, points, **options)


def ensembles(masses, n=200):
    """Replicas of which a known share is right of the ridge."""
    found = []
    for mass in masses:
        x = cloud(n, 1, scale=0.1) - 1
        x[: round(mass * n)] += 2
        found.append(x)
    return torch.stack(found)


def test_masses_over_time_are_those_that_were_planted():
    """0, 30, 90 % in the lower minimum; intervals are Wilson's, against scipy's."""
    found = mass_per_basin(tilted, ensembles([0, 0.3, 0.9]), times=[0.0, 1.0, 5.0])
    np.testing.assert_allclose(found.mass, [[0, 1], [0.3, 0.7], [0.9, 0.1]])
    mass, low, high = found.lowest_mass()
    np.testing.assert_allclose(mass, [0, 0.3, 0.9])
    for index, count in enumerate((0, 60, 180)):
        other = binomtest(count, 200).proportion_ci(method="wilson")
        assert (low[index], high[index]) == pytest.approx((other.low, other.high), abs=1e-12)
    assert (found.holder(), found.verdict()) == (0, "lowest")
    assert [e.num_cells for e in found.entropy()] == [1, 2, 2]
    assert found.times.tolist() == [0, 1, 5]


def test_verdicts():
    """Held by the lower, by the other, by none for sure; equal minima count together."""
    assert mass_per_basin(tilted, ensembles([0.1])).verdict() == "other"
    assert mass_per_basin(tilted, ensembles([0.5])).verdict() == "undecided"
    assert mass_per_basin(tilted, ensembles([0.52])).holder() is None
    twins = mass_per_basin(lambda x: ((x**2 - 1) ** 2).sum(), ensembles([0.5]))
    assert twins.verdict() == "lowest"

    def three(x):  # minima near -2, 0, 2, the middle one lowest
        return (1 - torch.cos(math.pi * x[0])) + 0.05 * x[0] ** 2

    points = torch.tensor([-2.0, 0.0, 2.0]).double().repeat(200)[:, None]
    assert mass_per_basin(three, [points + 0.01]).verdict() == "spread"


def test_points_without_a_minimum_stay_in_the_total():
    """A point on the ridge is in no basin; the masses add up to less than one."""
    found = mass_per_basin(
        lambda x: ((x**2 - 1) ** 2).sum(), [torch.tensor([[0.0], [0.5], [0.7], [-0.5]]).double()]
    )
    assert found.mass.sum() == pytest.approx(0.75)
    assert found.basins.status == "incomplete"


def test_ensembles_are_checked():
    with pytest.raises(ValueError, match="at least one replica"):
        mass_per_basin(tilted, [])
    with pytest.raises(ValueError, match="at least one replica"):
        mass_per_basin(tilted, [torch.zeros(0, 1)])
    with pytest.raises(ValueError, match=r"one for each of 1 ensembles, got \(2,\)"):
        mass_per_basin(tilted, [torch.ones(2, 1)], times=[0.0, 1.0])
    with pytest.raises(ValueError, match="counts must be from 0 to totals"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="confidence must be"):
        wilson(1, 2, confidence=1.0)


def test_wilson_covers_what_it_claims():
    """At p = 0.03, n = 100 exact coverage by the binomial law is near 95 %."""
    from scipy.stats import binom

    k = np.arange(101)
    low, high = wilson(k, 100)
    covered = binom.pmf(k, 100, 0.03)[(low <= 0.03) & (high >= 0.03)].sum()
    assert 0.93 < covered < 0.98


def test_occupation_entropy_is_corrected():
    """50 draws from 10 equal cells, 2000 times: the plain sum is 9 / 100 low, this one is not."""
    stream = np.random.default_rng(0)
    draws = stream.multinomial(50, np.full(10, 0.1), size=2000)
    found = [occupation_entropy(row) for row in draws]
    value = np.mean([one.value for one in found])
    assert value == pytest.approx(math.log(10), abs=0.01)
    plain = np.mean([one.value - (one.num_cells - 1) / 100 for one in found])
    assert plain < math.log(10) - 0.08
    skew = np.array([0.7, 0.2, 0.1])
    many = [occupation_entropy(row) for row in stream.multinomial(500, skew, size=500)]
    spread = np.std([one.value for one in many])
    assert np.mean([one.error for one in many]) == pytest.approx(spread, rel=0.15)
    for bad in ([0, 0], [-1, 2]):
        with pytest.raises(ValueError, match="at least 0 and not all 0"):
            occupation_entropy(bad)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_entropy_of_a_gaussian_projection(scale):
    """log(2 pi e s²) / 2, in any unit, to 5 errors and the smear of a cell."""
    x = scale * np.random.default_rng(1).normal(size=20_000)
    found = projection_entropy(x)
    exact = math.log(2 * math.pi * math.e * scale**2) / 2
    width = 2 * 1.349 * 20_000 ** (-1 / 3)
    assert abs(found.value - exact) < 5 * found.error + width**2 / 12
    assert found.error == pytest.approx(math.sqrt(0.5 / 20_000), rel=0.1)


def test_what_has_no_entropy_is_refused():
    for samples in ([], [1.0, 1.0], [0.0, math.nan]):
        with pytest.raises(ValueError, match="finite and not all equal"):
            projection_entropy(samples)
    with pytest.raises(ValueError, match="at most a million cells"):
        projection_entropy([0.0, 1.0], width=1e-9)


def test_a_point_that_passes_a_saddle_slowly_goes_on():
    """From 1e-7 beside the ridge of a tilted valley; one that is on it to rounding stays."""

    def valley(x):
        return (x[0] ** 2 - 1) ** 2 + 3 * x[1] ** 2

    x = torch.tensor([[1e-7, 1.0], [-1e-7, 1.0], [0.0, 1.0], [30.0, 30.0]]).double()
    found = basins(valley, x)
    assert found.num_saddles == 1
    assert found.labels[2] == -1
    assert found.minima[found.labels[:2], 0].tolist() == pytest.approx([1, -1])


def test_a_tight_ensemble_that_is_far_from_its_minimum():
    """All points within 1e-3 of one another, the minimum at 1: the size must be said."""
    x = 3 + cloud(20, 1, scale=1e-3)
    found = basins(lambda x: ((x**2 - 1) ** 2).sum(), x, size=1.0)
    assert (found.status, found.counts.tolist()) == ("complete", [20])
    alone = basins(lambda x: ((x**2 - 1) ** 2).sum(), x[:1])
    assert alone.minima.item() == pytest.approx(1, abs=1e-12)
