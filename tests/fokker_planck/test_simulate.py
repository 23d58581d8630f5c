"""Ensembles of a diffusion: exact laws, the order of the error, what noise cannot reach."""

import math

import numpy as np
import pytest
import torch

from heatgrad.core.random import stream_generator
from heatgrad.fokker_planck.ensembles.simulate import simulate
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.sgd import SGDDiffusion


def bowl(x):
    return (x**2).sum() / 2


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_weak_order_one_on_ornstein_uhlenbeck():
    """At time 1 from 2 the law is N(2/e, T (1 - e^-2)); errors halve with the step."""
    steps, means, variances = (0.2, 0.1, 0.05), [], []
    for dt in steps:
        end = simulate(Langevin(bowl, 1.0), point(2.0), dt=dt, times=1.0, replicas=400_000)
        means.append(abs(float(end.mean()) - 2 / math.e))
        variances.append(abs(float(end.covariance()) - (1 - math.exp(-2))))
    for errors in (means, variances):
        slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
        assert slope == pytest.approx(1, abs=0.25)  # five standard errors of the smallest error


def test_the_law_of_the_scheme_itself():
    """The recursion of mean and variance of Euler-Maruyama on Ornstein-Uhlenbeck, by hand."""
    dt, count, replicas = 0.25, 8, 200_000
    end = simulate(Langevin(bowl, 0.7), point(1.0), dt=dt, times=dt * count, replicas=replicas)
    mean, variance = 1.0, 0.0
    for _ in range(count):
        mean, variance = (1 - dt) * mean, (1 - dt) ** 2 * variance + 2 * 0.7 * dt
    assert float(end.mean()) == pytest.approx(mean, abs=5 * math.sqrt(variance / replicas))
    assert float(end.covariance()) == pytest.approx(variance, rel=5 * math.sqrt(2 / replicas))


def test_noise_is_that_of_ito_and_of_the_convention():
    """Geometric Brownian motion, noise s X dW, so D = s² X² / 2: mean e^{at}, as Itô has it.

    Stratonovich would have e^{(a + s²/2) t}; D = s² X² would double the log's variance.
    """
    a, s, dt = 0.2, 0.5, 0.005
    process = Ito(lambda x: a * x, lambda x: (s * x).square().reshape(1, 1) / 2)
    x = simulate(process, point(1.0), dt=dt, times=1.0, replicas=40_000).paths[-1, :, 0]
    spread = math.sqrt(math.exp(2 * a) * math.expm1(s**2) / len(x))
    assert float(x.mean()) == pytest.approx(math.exp(a), abs=5 * spread)
    assert float(x.log().var()) == pytest.approx(s**2, rel=5 * math.sqrt(2 / len(x)) + dt)


def test_full_matrices_correlate():
    """Free motion: the covariance after time t is 2 D t."""
    D = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    end = simulate(Ito(lambda x: 0 * x, D), point(0, 0), dt=0.5, times=1.0, replicas=100_000)
    torch.testing.assert_close(end.covariance()[0], 2 * D, atol=5 * 2 * 0.01, rtol=0)
    varying = Ito(lambda x: 0 * x, lambda x: D + 0 * x.sum())
    end = simulate(varying, point(0, 0), dt=0.5, times=1.0, replicas=100_000)
    torch.testing.assert_close(end.covariance()[0], 2 * D, atol=5 * 2 * 0.01, rtol=0)


def test_a_direction_without_noise_stays_exact():
    """Rank-one D: the other coordinate is Euler's method for y' = -y, to rounding."""
    process = Ito(lambda x: -x, torch.diag(point(1.0, 0.0)))
    end = simulate(process, point(0.0, 1.0), dt=0.1, times=1.0, replicas=100)
    torch.testing.assert_close(
        end.paths[-1, :, 1], torch.full((100,), 0.9**10, dtype=torch.float64), rtol=1e-14, atol=0
    )
    assert float(end.paths[-1, :, 0].std()) > 0.5


def test_sgd_where_all_samples_agree_does_not_move():
    """An interpolating minimum is absorbing: no gradient, no noise."""
    x, y = point(1.0, 2.0, 3.0).unsqueeze(1), point(2.0, 4.0, 6.0)
    sgd = SGDDiffusion(lambda t, x, y: (x @ t - y) ** 2, (x, y), lr=0.1, batch_size=1)
    end = simulate(sgd, point(2.0), dt=0.1, times=5.0, replicas=10)
    assert torch.equal(end.paths[-1], torch.full((10, 1), 2.0, dtype=torch.float64))


def test_kinetic_noise_reaches_velocities_first():
    """After one step positions have moved by the drift alone; in the long run both obey Gibbs."""
    ball = Kinetic(bowl, temperature=0.5, friction=2.0)
    both = simulate(ball, point(1.0, 0.0), dt=0.02, times=(0.02, 12.0), replicas=20_000)
    assert torch.equal(both.paths[0, :, 0], torch.ones(20_000, dtype=torch.float64))
    torch.testing.assert_close(
        both.covariance()[1], 0.5 * torch.eye(2, dtype=torch.float64), atol=0.04, rtol=0
    )


def test_times_are_met_and_chunks_are_only_a_stream():
    """Unequal times; same chunk, same numbers; single precision stays single."""
    args = {"dt": 0.3, "times": (0.0, 0.5, 1.7), "replicas": 10}
    process = Langevin(bowl, 1.0)
    a = simulate(process, torch.ones(2), **args, chunk=4)
    b = simulate(process, torch.ones(2), **args, chunk=4, seed=stream_generator(0, "noise"))
    assert a.paths.shape == (3, 10, 2)
    assert a.paths.dtype == torch.float32
    assert a.times == (0.0, 0.5, 1.7)
    assert torch.equal(a.paths, b.paths)
    assert torch.equal(a.paths[0], torch.ones(10, 2))
    own = simulate(process, torch.arange(6.0).reshape(3, 2), dt=0.1, times=0.0)
    assert own.paths.shape == (1, 3, 2)


def test_progress_ends_at_the_end():
    seen = []
    simulate(
        Langevin(bowl, 1.0),
        torch.ones(1),
        dt=0.01,
        times=2.5,
        replicas=4,
        chunk=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(100, 500), (200, 500), (350, 500), (450, 500), (500, 500)]


def test_a_blow_up_is_a_status():
    """Motion by x³ from 10 is beyond all numbers at once."""
    end = simulate(Ito(lambda x: x**3, torch.eye(1)), point(10.0), dt=0.1, times=5.0, replicas=7)
    assert end.status == "diverged"
    assert end.num_diverged == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dt": 0.0}, "dt must be positive"),
        ({"dt": math.nan}, "dt must be positive"),
        ({"times": (1.0, 0.5)}, "times must be increasing"),
        ({"times": -1.0}, "times must be increasing"),
        ({"times": ()}, "times must be increasing"),
        ({"replicas": 0}, "replicas must be an integer of at least 1"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"x0": torch.tensor([math.nan])}, "x0 must be finite"),
        ({"x0": torch.tensor([1])}, "floating-point"),
        ({"x0": torch.ones(3)}, "x0 must have 1 coordinates"),
        ({"x0": torch.ones(3, 1), "replicas": 2}, "3 points for 2 replicas"),
        ({"process": Ito(lambda x: x / 0, torch.eye(1))}, "drift at x0 must be finite"),
    ],
)
def test_refusals(change, message):
    args = {"process": Ito(lambda x: -x, torch.eye(1)), "x0": torch.ones(1), "dt": 0.1}
    args |= {"times": 1.0} | change
    with pytest.raises(ValueError, match=message):
        simulate(args.pop("process"), args.pop("x0"), **args)
