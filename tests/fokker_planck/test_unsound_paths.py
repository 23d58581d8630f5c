"""Paths where the equation is none: a D that is no diffusion, a loss that is not finite."""

import math

import pytest
import torch
from scipy.stats import norm

from heatgrad.fokker_planck.ensembles.exits import exit_times
from heatgrad.fokker_planck.ensembles.sgd import sgd_exit_times, simulate_sgd
from heatgrad.fokker_planck.ensembles.simulate import simulate
from heatgrad.fokker_planck.escape.kramers import eyring_kramers
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.region import HalfSpace
from heatgrad.fokker_planck.processes.root import matrix_root
from heatgrad.fokker_planck.processes.sgd import SGDDiffusion
from heatgrad.fokker_planck.settling.basins import basins

GAMMA = Langevin(lambda x: (x - 2 * torch.log(x)).sum(), 1.0)  # x² e^-x, of mean 3, on x > 0
FAR = HalfSpace((1.0,), 8.0)


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def still(rows):
    """Motion to the right, with a D of some rows of numbers or of functions of the place."""
    return Ito(
        lambda x: torch.stack([1 + 0 * x[0], 0 * x[1]]),
        lambda x: torch.stack(
            [torch.stack([0 * x[0] + (e(x[0]) if callable(e) else e) for e in row]) for row in rows]
        ),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("p", "rank"), [(1, 1), (2, 1), (3, 3), (40, 5)])
def test_roots(p, rank, dtype):
    """F F' = D, also of low rank, whose smallest eigenvalues are rounding of either sign."""
    gen = torch.Generator().manual_seed(0)
    factor = torch.randn(200, p, rank, generator=gen, dtype=torch.float64).to(dtype)
    D = factor @ factor.mT * torch.logspace(-9, 9, 200, dtype=dtype)[:, None, None]
    F = matrix_root(D)
    size = D.abs().amax((1, 2), keepdim=True)
    assert ((F @ F.mT - D) / size).abs().max() < 40 * p * torch.finfo(dtype).eps


@pytest.mark.parametrize("p", [2, 3, 7])
def test_every_entry_is_looked_at(p):
    """One entry changed by 1e-6 of it is not symmetric; NaN or infinity in any is no number."""
    eye = torch.eye(p, dtype=torch.float64)
    for i in range(p):
        for j in range(p):
            for change in (1e-6, math.nan, math.inf):
                D = torch.stack([eye, eye])
                D[1, i, j] += change
                F = matrix_root(D)
                assert torch.isfinite(F[0]).all()
                is_sound = i == j and change == 1e-6
                assert bool(torch.isfinite(F[1]).all()) == is_sound


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 0.0], [0.0, -1.0]], "diffusion at x0 must be positive semidefinite, got .* of -1$"),
        ([[1.0, 0.9], [0.0, 1.0]], r"diffusion at x0 must be symmetric, got .* of 0.9; give \(D"),
        ([[1.0, 0.0], [0.9, 1.0]], "diffusion at x0 must be symmetric"),
        ([[math.inf, 0.0], [0.0, 1.0]], "diffusion at x0 must be finite"),
        ([[1.0, 0.0]], r"diffusion at x0 must be of shape \(2, 2\), got \(1, 2\)"),
    ],
)
def test_starts_where_there_is_no_diffusion(rows, message):
    """In an ensemble and in one of exits; from one place, and from many of which one is bad."""
    with pytest.raises(ValueError, match=message):
        simulate(still(rows), point(0, 0), dt=0.01, times=1.0, replicas=20)
    with pytest.raises(ValueError, match=message):
        exit_times(still(rows), point(0, 0), HalfSpace((1.0, 0.0), 2.0), dt=0.01, t_max=1.0)
    places = torch.stack([point(0, 0), point(1.5, 0)])
    with pytest.raises(ValueError, match=r"positive semidefinite, got an eigenvalue of -0\.5"):
        simulate(still([[0, 0], [0, lambda x: 1 - x]]), places, dt=0.01, times=1.0)


@pytest.mark.parametrize(
    ("rows", "lost"),
    [
        ([[0, 0], [0, lambda x: 1 - x]], 1.0),  # x = t
        ([[0, 0], [0, lambda x: 1 - 4 * x * (1 - x)]], math.inf),  # touches zero at 1/2
        ([[0, 0], [lambda x: (x - 0.5).clamp(min=0), 1]], 0.5),
        ([[0, lambda x: (x - 0.5).clamp(min=0)], [0, 1]], 0.5),
        ([[0, 0], [0, lambda x: 1 / (x < 0.7).to(x)]], 0.7),
    ],
)
def test_paths_that_come_to_no_diffusion(rows, lost):
    """All move to the right with speed 1, so that the time at which D fails is known."""
    dt, seen = 0.125, (0.25, 0.5, 1.0, 2.0)
    for t in seen:
        end = simulate(still(rows), point(0, 0), dt=dt, times=t, replicas=30)
        assert end.num_diverged == (0 if t <= lost else 30)
    left = exit_times(still(rows), point(0, 0), HalfSpace((1.0, 0.0), 9.0), dt=dt, t_max=2.0)
    if lost < 2:
        assert left.status == "diverged"
        assert left.num_diverged == 1000
        assert math.isnan(left.value)
    else:
        assert left.status == "none_exited"


def test_a_blow_up_in_noise_of_the_place_is_a_status():
    """Motion by x³ from 10, beyond all numbers at once, where D is none of them either."""
    process = Ito(lambda x: x**3, lambda x: torch.diag(1 + x**2))
    end = simulate(process, point(10.0, 9.0), dt=0.1, times=5.0, replicas=7)
    assert end.num_diverged == 7


def test_a_step_across_a_singularity():
    """One step from 1/2 lands on N(1.1, 0.4): those below zero have no logarithm."""
    replicas = 20_000
    chance = norm.cdf(-1.1 / math.sqrt(0.4))
    spread = math.sqrt(chance * (1 - chance) / replicas)
    end = simulate(GAMMA, point(0.5), dt=0.2, times=0.2, replicas=replicas)
    assert end.num_diverged / replicas == pytest.approx(chance, abs=5 * spread)
    assert bool((end.paths[-1][torch.isfinite(end.paths[-1])] > 0).all())
    # With inertia it is the velocity that there is no force for.
    drift = Kinetic(GAMMA.potential, 1.0, 1.0).drift(point(-1.0, 0.5).unsqueeze(0))
    assert torch.isnan(drift).tolist() == [[False, True]]


def test_a_gamma_law():
    """In coarse steps paths jump across zero, which is said; far from it the mean is exact."""
    coarse = simulate(GAMMA, point(1.0), dt=0.2, times=20.0, replicas=2000)
    assert coarse.status == "diverged"
    assert math.isnan(float(coarse.mean()))
    away = Langevin(lambda x: (x - 6 * torch.log(x)).sum(), 1.0)  # x^6 e^-x, of mean 7
    fine = simulate(away, point(7.0), dt=0.02, times=8.0, replicas=2000)
    assert fine.status == "complete"
    assert float(fine.mean()) == pytest.approx(7, abs=5 * math.sqrt(7 / 2000))
    left = exit_times(GAMMA, point(1.0), FAR, dt=0.2, t_max=200.0, replicas=500)
    assert left.status == "diverged"
    assert math.isnan(left.value)
    with pytest.raises(ValueError, match="drift at x0 must be finite, and the potential"):
        simulate(GAMMA, point(-1.0), dt=0.2, times=1.0)


def test_walls_without_a_slope():
    """A loss that is infinite beyond a place, with a gradient of zero there."""
    wall = Langevin(lambda x: torch.where(x < 1, 0 * x, torch.inf).sum(), 0.5)
    end = simulate(wall, point(0.0), dt=0.25, times=(0.25, 0.5), replicas=20_000)
    chance = norm.sf(1 / math.sqrt(0.25))  # beyond 1 after one step of variance 2 T dt
    spread = math.sqrt(chance / 20_000)
    lost = torch.isnan(end.paths[1]).double().mean()
    beyond = (end.paths[0] > 1).double().mean()
    assert float(beyond) == pytest.approx(chance, abs=5 * spread)
    assert float(lost) > float(beyond)


def steep(theta, x):
    return (theta - 2 * torch.log(theta)).sum() + x * theta.sum()


def test_runs_of_sgd_across_a_singularity():
    """From 1/2 a step of 0.2 leads to 1.1 - 0.2 x; of the samples ±10 one lands below zero."""
    kicks, replicas = (point(10.0, -10.0),), 4000
    given = {"lr": 0.2, "batch_size": 1}
    end = simulate_sgd(steep, kicks, point(0.5), steps=1, replicas=replicas, **given)
    half = 5 * math.sqrt(0.25 / replicas)
    assert end.num_diverged / replicas == pytest.approx(0.5, abs=half)
    later = simulate_sgd(
        steep, kicks, point(0.5, 0.5), steps=2, replicas=replicas, record=(1, 2), **given
    )
    gone = (later.paths[0] < 0).any(1)
    assert bool(torch.isnan(later.paths[1][gone]).all())
    left = sgd_exit_times(
        steep, kicks, point(0.5), HalfSpace((-1.0,), 9.0), steps=2, replicas=replicas, **given
    )
    assert left.status == "diverged"
    assert left.num_diverged / replicas > 0.5 - half


def test_sgd_refuses_a_start_without_a_loss():
    """The gradient of log(θ - 100) is finite at 0; the loss is not."""

    def loss(theta, x):
        return torch.log(theta.sum() - 100)

    given = {"lr": 0.1, "batch_size": 1, "steps": 5}
    data = (torch.ones(1, 2, dtype=torch.float64),)
    message = "the loss and its gradient at theta0 must be finite"
    with pytest.raises(ValueError, match=message):
        simulate_sgd(loss, data, point(0, 0), **given)
    with pytest.raises(ValueError, match=message):
        sgd_exit_times(loss, data, point(0, 0), HalfSpace((1.0, 0.0), 1.0), **given)


@pytest.mark.parametrize("order", [1, 2])
def test_sgd_diffusion_has_no_drift_without_a_loss(order):
    """At 2 the drift is a closed form's; at -2 the gradient would be one, too, but no loss is."""
    lr = 0.1
    process = SGDDiffusion(steep, (point(1.0, -1.0),), lr=lr, batch_size=1, order=order)
    drift = process.drift(point(2.0, -2.0).unsqueeze(1))
    slope, bend = 1 - 2 / 2.0, 2 / 2.0**2
    expected = -slope - (lr / 2 * bend * slope if order == 2 else 0)
    assert float(drift[0]) == pytest.approx(expected, abs=1e-14)
    assert math.isnan(float(drift[1]))


def test_laws_and_basins_need_a_scalar_potential():
    """A potential of several values is refused by its name, in one line."""
    several = lambda x: (x**2 - 1) ** 2 / 4  # noqa: E731
    well, top = torch.tensor([-1.0]).double(), torch.tensor([0.0]).double()
    with pytest.raises(ValueError, match="potential must return a scalar"):
        eyring_kramers(several, well, top, 0.05)
    with pytest.raises(ValueError, match="potential must return a scalar"):
        basins(several, well.unsqueeze(0))
