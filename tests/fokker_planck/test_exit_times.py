"""Exit times of ensembles: exact means, the bias of naive ones, paths that never left."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate

from heatgrad.fokker_planck.ensembles.exits import exit_times
from heatgrad.fokker_planck.ensembles.survival import FirstExits
from heatgrad.fokker_planck.escape.passage import mean_first_passage_1d
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.region import Ball, Box, HalfSpace


def double_well(x):
    return ((x**2 - 1) ** 2).sum() / 4


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_double_well_with_the_bridge_and_without():
    """Quadrature gives 2.4: the bridge meets it at dt = 0.01, steps alone are many errors late."""
    truth = mean_first_passage_1d(double_well, 0.4, -1.0, 0.0).value
    args = {"dt": 0.01, "t_max": 40.0, "replicas": 10_000}
    process, region = Langevin(double_well, 0.4), HalfSpace((1.0,), 0.0)
    bridged = exit_times(process, point(-1.0), region, **args)
    naive = exit_times(process, point(-1.0), region, **args, bridge=False)
    assert bridged.status == "complete"
    assert abs(bridged.value - truth) < 4 * bridged.error
    assert naive.value - truth > 6 * naive.error
    low, high = bridged.interval(0.9999)
    assert low < truth < high


def test_the_second_moment_is_there_too():
    """The spread of the sample against A tau2 = -2 tau1 by quadrature."""
    truth = mean_first_passage_1d(double_well, 0.6, -1.0, 0.5, moments=2)
    exits = exit_times(
        Langevin(double_well, 0.6),
        point(-1.0),
        HalfSpace((1.0,), 0.5),
        dt=0.01,
        t_max=60.0,
        replicas=8000,
    )
    squares = exits.times**2
    assert exits.status == "complete"
    assert squares.mean() == pytest.approx(
        truth.second_moment, abs=4.5 * squares.std() / math.sqrt(len(squares))
    )


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_brownian_motion_in_a_ball(dim):
    """(R² - r²) / (2 d D), from off the centre; places lie on the sphere, on the near side more."""
    D, r, dt = 0.8, 0.6, 0.01 / dim
    process = Ito(lambda x: 0 * x, D * torch.eye(dim, dtype=torch.float64))
    start = torch.zeros(dim, dtype=torch.float64)
    start[0] = r
    exits = exit_times(process, start, Ball((0.0,) * dim, 1.5), dt=dt, t_max=20.0, replicas=5000)
    assert exits.status == "complete"
    assert abs(exits.value - (1.5**2 - r**2) / (2 * dim * D)) < 4 * exits.error
    np.testing.assert_allclose(np.linalg.norm(exits.places, axis=1), 1.5, rtol=1e-3)
    # Each coordinate is a martingale: the mean place is the start.
    error = exits.places.std(0) / math.sqrt(len(exits.places))
    assert (abs(exits.places.mean(0) - start.numpy()) < 4.5 * error).all()


def test_radial_formula_in_a_bowl():
    """tau(0) = int_0^R r^{1-d} e^{U/T}/T int_0^r s^{d-1} e^{-U/T} ds dr, by scipy, d = 3."""
    T, R = 0.5, 1.2

    def inner(r):
        return integrate.quad(lambda s: s**2 * math.exp(-(s**2) / 2 / T), 0, r)[0]

    truth = integrate.quad(lambda r: math.exp(r**2 / 2 / T) / T * inner(r) / r**2, 1e-9, R)[0]
    exits = exit_times(
        Langevin(lambda x: (x**2).sum() / 2, T),
        point(0, 0, 0),
        Ball((0.0, 0.0, 0.0), R),
        dt=0.005,
        t_max=30.0,
        replicas=10_000,
    )
    assert abs(exits.value - truth) < 4 * exits.error


def test_two_sides_and_the_odds_between_them():
    """Free motion in (0, 1) from x: mean x (1 - x) / (2 D), left with probability 1 - x."""
    process = Ito(lambda x: 0 * x, torch.eye(1, dtype=torch.float64))
    exits = exit_times(
        process, point(0.3), Box((0.0,), (1.0,)), dt=1e-3, t_max=5.0, replicas=20_000
    )
    assert abs(exits.value - 0.3 * 0.7 / 2) < 4 * exits.error
    left = (exits.places[:, 0] < 0.5).mean()
    assert left == pytest.approx(0.7, abs=4.5 * math.sqrt(0.21 / 20_000))
    assert set(np.abs(np.round(exits.places[:, 0], 12))) == {0.0, 1.0}


def test_state_dependent_noise_across_the_boundary():
    """Geometric Brownian motion from 1 to b: log(b) / (mu - s²/2)."""
    mu, s = 1.0, 0.7
    process = Ito(lambda x: mu * x, lambda x: (s * x).square().reshape(1, 1) / 2)
    exits = exit_times(process, point(1.0), HalfSpace((1.0,), 3.0), dt=5e-3, t_max=30.0,
                       replicas=10_000)  # fmt: skip
    assert abs(exits.value - math.log(3) / (mu - s**2 / 2)) < 4 * exits.error


def test_a_boundary_that_no_noise_crosses():
    """Kinetic: x' = v meets its boundary smoothly, at the very time of free flight."""
    ball = Kinetic(lambda q: 0 * q.sum(), temperature=1e-12, friction=1e-9)
    exits = exit_times(ball, point(0.0, 2.0), HalfSpace((1.0, 0.0), 1.0), dt=0.15, t_max=2.0,
                       replicas=5)  # fmt: skip
    np.testing.assert_allclose(exits.times, 0.5, rtol=1e-6)


def test_censoring_keeps_the_mean():
    """Most cut off: restricted mean plus tail still meet quadrature; the sample's does not."""
    truth = mean_first_passage_1d(double_well, 0.2, -1.0, 0.0).value
    exits = exit_times(
        Langevin(double_well, 0.2),
        point(-1.0),
        HalfSpace((1.0,), 0.0),
        dt=0.01,
        t_max=4.0,
        replicas=10_000,
    )
    assert exits.status == "censored"
    assert exits.num_censored == (exits.times == 4.0).sum() > 5000
    assert abs(exits.value - truth) < 4 * exits.error
    assert exits.restricted_mean < 4
    assert exits.times[exits.exited].mean() < 0.4 * truth


def exponential(rng, count, t_max, mean=1.0):
    times = rng.exponential(mean, count)
    return FirstExits(np.minimum(times, t_max), times <= t_max, np.zeros((count, 1)), t_max)


@pytest.mark.parametrize("t_max", [0.5, 2.0, 100.0])
def test_intervals_cover(t_max):
    """1000 samples of 200 exponential times of mean one: 95 % intervals, 5 binomial errors."""
    rng = np.random.default_rng(0)
    ends = np.array([exponential(rng, 200, t_max).interval() for _ in range(1000)])
    covered = ((ends[:, 0] < 1) & (ends[:, 1] > 1)).mean()
    assert covered == pytest.approx(0.95, abs=5 * math.sqrt(0.95 * 0.05 / 1000))


def test_a_tail_that_is_none_is_seen():
    """Rates that fall fivefold in the last quarter: p is small; exponential ones: uniform."""
    rng = np.random.default_rng(1)
    plain = np.array([exponential(rng, 500, 1.0).tail_p for _ in range(200)])
    assert 0.3 < plain.mean() < 0.75
    times = np.concatenate([rng.uniform(0, 0.75, 800), rng.uniform(0.75, 1, 20), np.full(200, 1.0)])
    odd = FirstExits(times, times < 1, np.zeros((1020, 1)), 1.0)
    assert odd.tail_p < 1e-6


def test_none_left_is_no_mean():
    """A wall out of reach: a lower end that assumes nothing, and no number for the mean."""
    exits = exit_times(
        Langevin(double_well, 0.01),
        point(-1.0),
        HalfSpace((1.0,), 5.0),
        dt=0.05,
        t_max=2.0,
        replicas=100,
    )
    assert exits.status == "none_exited"
    assert math.isnan(exits.value)
    assert math.isnan(exits.error)
    assert exits.interval() == (2.0 * 0.025 ** (1 / 100), math.inf)
    assert exits.restricted_mean == 2.0
    assert math.isnan(exits.survival(np.array([2.1]))[0][0])


def test_paths_that_blow_up_are_a_status():
    """Motion by x³ explodes before it meets the far side: no mean is given."""
    process = Ito(lambda x: x**3, torch.eye(1, dtype=torch.float64))
    far = HalfSpace((1.0,), math.inf)
    exits = exit_times(process, point(5.0), far, dt=0.1, t_max=5.0, replicas=6)
    assert exits.status == "diverged"
    assert exits.num_diverged == 6
    assert math.isnan(exits.value)
    assert math.isnan(exits.survival(np.array([0.1]))[0][0])


def test_seeds_and_chunks():
    args = {"dt": 0.05, "t_max": 3.0, "replicas": 50}
    process, region = Langevin(double_well, 0.5), HalfSpace((1.0,), 0.0)
    a, b, c, d = (
        exit_times(process, torch.tensor([-1.0]), region, **args, seed=seed, chunk=chunk)
        for seed, chunk in ((0, 20), (0, 20), (1, 20), (0, None))
    )
    np.testing.assert_array_equal(a.times, b.times)
    assert not np.array_equal(a.times, c.times)
    assert not np.array_equal(a.times, d.times)
    assert a.places.dtype == np.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dt": 0.0}, "dt must be positive"),
        ({"t_max": -1.0}, "t_max must be positive"),
        ({"t_max": math.inf}, "t_max must be positive and finite"),
        ({"x0": torch.tensor([1.5])}, "x0 must be inside the region"),
        ({"x0": torch.tensor([1.0])}, "x0 must be inside the region"),
        ({"region": Box((-math.inf,), (math.inf,))}, "must have a boundary"),
        ({"process": Ito(lambda x: x / 0, torch.eye(1))}, "drift at x0 must be finite"),
    ],
)
def test_refusals(change, message):
    args = {"process": Langevin(double_well, 1.0), "x0": torch.zeros(1)}
    args |= {"region": HalfSpace((1.0,), 1.0), "dt": 0.1, "t_max": 1.0} | change
    with pytest.raises(ValueError, match=message):
        exit_times(args.pop("process"), args.pop("x0"), args.pop("region"), **args)
    if not change.keys() & {"x0"}:
        return
    with pytest.raises(ValueError, match="confidence"):
        exponential(np.random.default_rng(0), 5, 1.0).interval(1.5)
