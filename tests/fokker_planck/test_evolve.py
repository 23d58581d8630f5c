"""Evolution against the Ornstein-Uhlenbeck law, the matrix exponential and entropy's laws."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm, solve_continuous_lyapunov

from heatgrad.fokker_planck.grid.equation import FokkerPlanck
from heatgrad.fokker_planck.grid.laws import Gaussian
from heatgrad.fokker_planck.grid.richardson import richardson
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin


def slope(sizes, errors):
    return -np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def harmonic(n=120, half_width=7.0, temperature=1.0):
    process = Langevin(lambda x: (x**2).sum() / 2, temperature)
    return FokkerPlanck(process, -half_width, half_width, n)


def dense(chain, start, t):
    """e^(tQ') p by a dense exponential."""
    return expm(t * chain.generator.rates.T.toarray()) @ chain.law(start).ravel()


@pytest.mark.parametrize(("method", "order"), [("implicit-euler", 1), ("tr-bdf2", 2)])
def test_order_in_time(method, order):
    """Against the matrix exponential of the same chain."""
    chain = harmonic(60)
    exact = dense(chain, Gaussian((1.5,), ((0.5,),)), 1.0)
    counts = (20, 40, 80)
    errors = [
        np.abs(
            chain.evolve(Gaussian((1.5,), ((0.5,),)), 1.0, method=method, steps=k).masses[0] - exact
        ).sum()
        for k in counts
    ]
    assert slope(counts, errors) == pytest.approx(order, abs=0.12)


def test_exponential():
    """expm_multiply against the dense exponential, one time after the other."""
    chain = harmonic(40)
    run = chain.evolve((2.0,), [0.0, 0.1, 0.5], method="expm")
    np.testing.assert_array_equal(run.masses[0], chain.law((2.0,)))
    np.testing.assert_allclose(run.masses[2], dense(chain, (2.0,), 0.5), atol=1e-13)
    assert run.mass_defect < 1e-12


def test_ornstein_uhlenbeck():
    """Mean e^-Ht m0 and covariance S + e^-Ht (P0 - S) e^-H't, full D and a spiral drift."""
    hessian = np.array([[1.0, 0.8], [-0.8, 1.5]])
    diffusion = np.array([[0.5, 0.15], [0.15, 0.4]])
    h = torch.from_numpy(hessian)
    steady = solve_continuous_lyapunov(hessian, 2 * diffusion)
    start, cov = np.array([1.0, -0.5]), 0.2 * np.eye(2)
    t = 0.7
    flow = expm(-hessian * t)
    spread = steady + flow @ (cov - steady) @ flow.T
    errors = []
    for n in (40, 80):
        chain = FokkerPlanck(
            Ito(lambda x: -h @ x, torch.from_numpy(diffusion)), (-5, -5), (5, 5), n
        )
        run = chain.evolve(Gaussian(start, cov), t, method="tr-bdf2", steps=60)
        m, x = run.masses[0].ravel(), chain.grid.centers()
        away = x - m @ x
        errors.append(
            np.abs(m @ x - flow @ start).max() + np.abs((away.T * m) @ away - spread).max()
        )
    assert errors[1] < 6e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_mass_leaves_through_an_absorbing_side():
    """Brownian motion on (0, 1) from the middle: survival's series 4/pi sum (-1)^k/(2k+1) e^.."""
    chain = FokkerPlanck(Ito(lambda x: 0 * x, torch.eye(1)), 0.0, 1.0, 81, boundary="absorb")
    times = np.array([0.05, 0.1, 0.3])
    k = np.arange(40)
    survival = [
        float(
            4
            / math.pi
            * np.sum((-1.0) ** k / (2 * k + 1) * np.exp(-(((2 * k + 1) * np.pi) ** 2) * t))
        )
        for t in times
    ]
    for method in ("implicit-euler", "tr-bdf2", "expm"):
        run = chain.evolve((0.5,), times, method=method, steps=200)
        np.testing.assert_allclose(1 - run.lost, survival, atol=2e-3)
        assert run.mass_defect < 1e-12
        np.testing.assert_allclose(run.masses.sum(axis=1) + run.lost, 1, atol=1e-12)


def test_long_steps_stay_positive():
    """Implicit Euler is positive for a step of 1e8; TR-BDF2 undershoots and says so."""
    chain = harmonic(60)
    long = chain.evolve((3.0,), 1e8, steps=1)
    assert long.least >= 0
    assert long.mass_defect <= 1e-13
    np.testing.assert_allclose(long.masses[0], chain.stationary().masses, atol=1e-8)
    sharp = chain.evolve((3.0,), 2.0, method="tr-bdf2", steps=2)
    assert sharp.least < -1e-6
    assert sharp.status == "negative"
    assert chain.evolve((0.0,), 1.0).status == "positive"


def test_cut_is_reported():
    """A law that runs into a reflecting side says so."""
    assert harmonic(40, half_width=2.0).evolve((0.0,), 3.0).status == "cut"


def test_entropy_of_gaussians():
    """KL(N(m, v) | N(0, T)) = (v/T + m^2/T - 1 - log(v/T)) / 2."""
    chain = harmonic(200)
    masses = chain.law(Gaussian((0.7,), ((0.5,),)))
    exact = (0.5 + 0.49 - 1 - math.log(0.5)) / 2
    assert chain.entropy(masses) == pytest.approx(exact, abs=1e-6)
    assert chain.entropy(chain.stationary().masses) == pytest.approx(0, abs=1e-14)
    # Fisher: E (-(x - m)/v + x)^2 = (1 - 1/v)^2 v + m^2
    assert chain.fisher(masses) == pytest.approx(0.5 + 0.49, rel=2e-3)


def test_entropy_falls_by_fisher():
    """D KL / dt = -T I, up to the spacing; exactly for the chain's own dissipation."""
    chain = harmonic(160, half_width=5.0, temperature=0.5)
    dt = 1e-3
    run = chain.evolve(Gaussian((0.6,), ((0.3,),)), [0.2, 0.2 + dt], method="tr-bdf2", steps=40)
    before, after = run.masses
    fall = (chain.entropy(before) - chain.entropy(after)) / dt
    middle = (before + after) / 2
    assert chain.dissipation(middle) == pytest.approx(fall, rel=1e-5)
    assert 0.5 * chain.fisher(middle) == pytest.approx(fall, rel=5e-3)


def test_bakry_emery():
    """Hess U >= kappa: KL(t) <= e^(-2 kappa t) KL(0); the late slope is -2 gap."""
    process = Langevin(lambda x: (x**2).sum() / 2 + (x**4).sum() / 4, 0.7)
    chain = FokkerPlanck(process, -3.5, 3.5, 120)
    times = np.array([0.1, 0.5, 1.0, 2.0, 2.5])
    run = chain.evolve((1.5,), times, method="implicit-euler", steps=60)
    start = chain.evolve((1.5,), 0.05, steps=60).masses[0]
    entropy = np.array([chain.entropy(np.maximum(p, 0)) for p in run.masses])
    assert (entropy <= np.exp(-2 * (times - 0.05)) * chain.entropy(start) * (1 + 1e-3)).all()
    late = math.log(entropy[3] / entropy[4]) / 0.5
    gap = float(chain.spectrum(2).values[1])
    assert late == pytest.approx(2 * gap, rel=0.03)


def test_fisher_in_a_metric():
    """Kinetic: with D alone as the metric it vanishes on laws that move positions only."""
    ball = Kinetic(lambda q: (q**2).sum() / 2, temperature=1.0, friction=1.0)
    chain = FokkerPlanck(ball, (-6.0, -6.0), (6.0, 6.0), 48)
    steady = chain.stationary().masses
    x = chain.grid.centers()[:, 0].reshape(chain.grid.shape)
    tilted = steady * (1 + 0.1 * np.tanh(x))
    tilted /= tilted.sum()
    noise_only = chain.fisher(tilted, metric=np.diag([0.0, 1.0]))
    assert noise_only == pytest.approx(0, abs=1e-12)
    assert chain.fisher(tilted, metric=np.array([[1.0, 0.3], [0.3, 1.0]])) > 1e-4
    with pytest.raises(ValueError, match="metric"):
        chain.fisher(tilted, metric=np.eye(3))


def test_entropy_of_laws_apart():
    """Mass where the stationary law has none is infinitely far."""
    chain = harmonic(60)
    assert chain.fisher(chain.law((0.0,))) == math.inf
    assert chain.dissipation(chain.law((0.0,))) == math.inf
    assert math.isfinite(chain.entropy(chain.law((0.0,))))


def test_current():
    """A rotation with the Gibbs law has the current b rho, at order 2."""
    process = Ito(lambda x: -x + torch.stack([-x[1], x[0]]), torch.eye(2))
    errors = []
    for n in (30, 60):
        chain = FokkerPlanck(process, (-6.0, -6.0), (6.0, 6.0), n)
        masses = chain.stationary().masses
        x = chain.grid.centers().reshape(n, n, 2)
        spin = np.stack([-x[..., 1], x[..., 0]], axis=-1)
        density = np.exp(-(x**2).sum(axis=-1) / 2) / (2 * math.pi)
        errors.append(np.abs(chain.current(masses) - spin * density[..., None]).max())
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] > 3
    balanced = harmonic(40)
    assert np.abs(balanced.current(balanced.stationary().masses)).max() < 1e-15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": [1.0, 0.5]}, "times must ascend"),
        ({"times": -1.0}, "times must ascend"),
        ({"times": math.nan}, "times must ascend"),
        ({"times": 1.0, "steps": 0}, "steps must be"),
        ({"times": 1.0, "method": "euler"}, "method must be"),
        ({"times": 1e9, "method": "expm"}, "'expm' takes about"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        harmonic(20).evolve((0.0,), options.pop("times"), **options)


def test_richardson():
    """V = 1 + 3 h^2 is extrapolated exactly; what does not shrink is refused."""
    found = richardson((10, 20, 40), [1 + 3 / n**2 for n in (10, 20, 40)])
    assert found.value == pytest.approx(1, abs=1e-14)
    assert found.order == pytest.approx(2, abs=1e-9)
    assert found.error == pytest.approx(-3 / 1600)
    assert richardson((10, 30), [1.1, 1.1 - 0.2 / 3], order=1).value == pytest.approx(1.0)
    with pytest.raises(ValueError, match="differences that shrink"):
        richardson((10, 20, 40), (1.0, 2.0, 4.0))
    with pytest.raises(ValueError, match="one ratio"):
        richardson((10, 20, 30), (1.0, 1.1, 1.15))
    with pytest.raises(ValueError, match="sizes must grow"):
        richardson((20, 10), (1.0, 2.0), order=2)
