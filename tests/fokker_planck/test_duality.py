"""Vanishing noise against closed forms, and duality of chains and of the Ornstein-Uhlenbeck law."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm, solve_continuous_lyapunov

from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.sgd import SGDDiffusion
from heatgrad.fokker_planck.settling.duality import backward_generator, dual_pairing, weak_form
from heatgrad.fokker_planck.settling.vanishing import as_noise_vanishes

ETA = 0.1
NOISES = [0.1 / 4**k for k in range(6)]


def rank_one(g, curves):
    """Linear SGD with noise g g' + eps I."""
    hessian = torch.diag(torch.tensor(curves, dtype=torch.float64))
    g = torch.tensor(g, dtype=torch.float64)

    def make(extra):
        noise = torch.outer(g, g) + extra * torch.eye(2, dtype=torch.float64)
        return Ito(lambda x: -hessian.to(x) @ x, ETA / 2 * noise)

    return make, hessian.numpy()


def steady(process, hessian):
    return solve_continuous_lyapunov(hessian, 2 * process.constant_diffusion().numpy())


@pytest.mark.parametrize(("g", "curves"), [((1.0, 2.0), (1.0, 3.0)), ((0.5, -1.0), (0.2, 0.3))])
def test_the_determinant_of_the_law_of_linear_sgd(g, curves):
    """In closed form eta² g1² g2² [1 / (4 l1 l2) - 1 / (l1 + l2)²]: hypoelliptic, not zero."""
    make, hessian = rank_one(g, curves)
    found = as_noise_vanishes(
        make, NOISES, lambda p: np.linalg.det(steady(p, hessian)), with_zero=True
    )
    (g1, g2), (l1, l2) = g, curves
    exact = ETA**2 * g1**2 * g2**2 * (1 / (4 * l1 * l2) - 1 / (l1 + l2) ** 2)
    assert found.status == "converged"
    assert abs(found.limit - exact) <= max(found.error, 1e-12)
    assert found.limit == pytest.approx(exact, rel=1e-4)  # eps² is of this size
    assert found.at_zero == pytest.approx(exact, rel=1e-10)
    assert found.power == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("g", "curves"), [((1.0, 2.0), (2.0, 2.0)), ((1.0, 0.0), (1.0, 3.0))])
def test_without_the_kalman_condition_the_law_collapses(g, curves):
    """Equal curvatures, or noise along an axis: the determinant goes to zero with eps."""
    make, hessian = rank_one(g, curves)
    found = as_noise_vanishes(make, NOISES, lambda p: np.linalg.det(steady(p, hessian)))
    assert found.status == "converged"
    assert abs(found.limit) < 1e-5 * found.quantities[0]


def test_the_mean_square_of_noisy_sgd_from_data():
    """`SGDDiffusion` with `extra_noise`: trace of D is linear in it, and its limit that of SGD."""
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    y = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)

    def make(extra):
        return SGDDiffusion(
            lambda theta, x, y: (x @ theta - y) ** 2 / 2,
            (x, y),
            lr=0.1,
            batch_size=1,
            extra_noise=extra,
        )

    point = torch.zeros(1, 2, dtype=torch.float64)
    found = as_noise_vanishes(
        make, NOISES, lambda p: float(p.diffusion(point)[0].trace()), with_zero=True
    )
    assert found.limit == pytest.approx(found.at_zero, rel=1e-12)
    assert found.power == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.3])
@pytest.mark.parametrize("noises", [NOISES, [0.5, 0.3, 0.1, 0.07, 0.01]])
def test_powers_are_found(power, noises):
    """Of 3 - 2 eps^q: the law itself, on any grid of noises."""
    found = as_noise_vanishes(lambda e: e, noises, lambda e: 3 - 2 * e**power)
    assert (found.status, found.limit) == ("converged", pytest.approx(3, abs=1e-9))
    assert power > 2 or found.power == pytest.approx(power, rel=1e-4)


@pytest.mark.parametrize(
    "law",
    [
        lambda e: -math.log(e),
        lambda e: 1 / e,
        lambda e: math.exp(0.05 / e) if e > 1e-4 else math.exp(500),
        lambda e: math.sin(1 / e),
        lambda e: 1 / math.sqrt(e),
    ],
    ids=["log", "pole", "Arrhenius", "oscillation", "root"],
)
def test_what_has_no_limit_is_not_given_one(law):
    """An exit time e^(V / eps) grows without bound: never a silent number."""
    found = as_noise_vanishes(lambda e: e, NOISES, law)
    assert found.status == "not converged"
    assert not found.error <= 1e-2 * max(abs(found.quantities))


def test_a_slow_limit_is_not_believed():
    """1 / log(1 / eps) goes to zero, slower than any power: not converged at these noises."""
    found = as_noise_vanishes(lambda e: e, NOISES, lambda e: 1 / math.log(1 / e))
    assert found.status == "not converged"


def test_the_limit_may_differ_from_the_degenerate_process():
    """A double well: for eps > 0 half of the mass is right; without noise it stays where it was."""
    found = as_noise_vanishes(lambda e: e, NOISES, lambda e: 0.5 if e else 1.0, with_zero=True)
    assert (found.status, found.limit, found.at_zero) == ("converged", 0.5, 1.0)


def test_statistical_errors_are_carried_along():
    """Of 1 + eps with noise of 0.01: 200 limits, nearly all within three of their errors."""
    generator = np.random.default_rng(0)
    hits, known = 0, 0
    for _ in range(200):
        found = as_noise_vanishes(
            lambda e: e,
            [0.8, 0.4, 0.2, 0.1],
            lambda e: (1 + e + 0.01 * generator.normal(), 0.01),
            tolerance=0.2,
        )
        if math.isfinite(found.limit):
            known += 1
            hits += abs(found.limit - 1) < 3 * found.error
    assert known > 150
    assert hits > 0.9 * known
    still = as_noise_vanishes(lambda e: e, NOISES, lambda e: (2 + 0.001 * generator.normal(), 0.01))
    assert (still.status, still.limit) == ("converged", pytest.approx(2, abs=0.01))


@pytest.mark.parametrize(
    ("values", "quantity", "message"),
    [
        ([0.1, 0.01, 0.001], float, "at least four"),
        ([0.1, 0.01, 0.001, 0.0], float, "positive and finite"),
        ([0.1, 0.2, 0.3, 0.4], float, "values must decrease"),
        (NOISES, lambda e: math.nan, "quantity must be finite"),
    ],
)
def test_values_are_checked(values, quantity, message):
    with pytest.raises(ValueError, match=message):
        as_noise_vanishes(lambda e: e, values, quantity)


def test_the_generator_of_degenerate_noise_by_hand():
    """Kinetic: A f = p d_q f - (q + gamma p) d_p f + gamma T d_pp f, here for f = q p²."""
    ball = Kinetic(lambda q: (q**2).sum() / 2, temperature=0.7, friction=1.5)
    x = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, p = x.T
    found = backward_generator(ball, lambda z: z[0] * z[1] ** 2)(x)
    by_hand = p * p**2 - (q + 1.5 * p) * 2 * q * p + 1.5 * 0.7 * 2 * q
    torch.testing.assert_close(found, by_hand)


def ou_paths(replicas, times, temperature, generator):
    """Exact paths of dX = -X dt + sqrt(2 T) dW from X = 2, and no Euler step."""
    x = torch.full((replicas, 1), 2.0, dtype=torch.float64)
    paths = [x]
    for gap in np.diff(times):
        spread = math.sqrt(temperature * (1 - math.exp(-2 * gap)))
        noise = torch.randn(replicas, 1, dtype=torch.float64, generator=generator)
        x = x * math.exp(-gap) + spread * noise
        paths.append(x)
    return torch.stack(paths)


def test_exact_paths_obey_the_weak_form_and_others_do_not():
    """Ornstein-Uhlenbeck paths drawn from their law; then the same against a wrong equation."""
    times = np.linspace(0, 1, 101)
    paths = ou_paths(4000, times, 0.5, torch.Generator().manual_seed(1))
    well = Langevin(lambda x: (x**2).sum() / 2, temperature=0.5)
    for f in (lambda x: x[0] ** 2, lambda x: torch.sin(x[0]), lambda x: x[0] ** 3):
        found = weak_form(well, f, times, paths)
        assert found.holds
        assert found.quadrature < found.error
    hot = weak_form(Langevin(well.potential, temperature=0.7), lambda x: x[0] ** 2, times, paths)
    assert not hot.holds
    assert hot.gap == pytest.approx(-0.4, abs=5 * hot.error)  # -2 (T' - T) t
    assert abs(hot.z) > 5


def test_duality_of_the_ornstein_uhlenbeck_law():
    """P_t x² = e^(-2t) x² + T (1 - e^(-2t)): its mean at the start is the mean of x² at the end."""
    paths = ou_paths(20_000, np.array([0.0, 0.7]), 0.5, torch.Generator().manual_seed(2))
    forward = paths[-1][:, 0] ** 2
    decay = math.exp(-1.4)
    backward = float((decay * paths[0][:, 0] ** 2 + 0.5 * (1 - decay)).mean())
    error = float(forward.std()) / math.sqrt(20_000)
    assert abs(float(forward.mean()) - backward) < 4 * error


def birth_death(n, seed):
    rates = np.random.default_rng(seed).uniform(0.5, 2, (2, n - 1))
    chain = np.diag(rates[0], 1) + np.diag(rates[1], -1)
    return chain - np.diag(chain.sum(1))


@pytest.mark.parametrize("t", [0.0, 0.3, 5.0])
def test_duality_of_a_chain(t):
    """Both sides against a dense exponential; also for a chain with an absorbing state."""
    from scipy.sparse import csr_array

    stream = np.random.default_rng(0)
    for chain in (birth_death(9, 1), birth_death(9, 2) * (np.arange(9) > 0)[:, None]):
        rho, f = stream.dirichlet(np.ones(9)), stream.normal(size=9)
        exact = rho @ expm(t * chain) @ f
        for kind in (chain, csr_array(chain)):
            found = dual_pairing(kind, rho, f, t)
            assert found.forward == pytest.approx(exact, abs=1e-12)
            assert found.gap < 1e-13


def test_shapes_and_conventions_are_checked():
    chain = birth_death(4, 0)
    chain[0] *= 3
    ones = np.ones(4)
    with pytest.raises(ValueError, match="transpose it if its columns do"):
        dual_pairing(chain.T, ones, ones, 1.0)
    with pytest.raises(ValueError, match="must be square of the size"):
        dual_pairing(chain, ones, np.ones(3), 1.0)
    with pytest.raises(ValueError, match="t must be at least 0"):
        dual_pairing(chain, ones, ones, -1.0)
    well = Langevin(lambda x: (x**2).sum(), temperature=1.0)
    with pytest.raises(ValueError, match="odd number"):
        weak_form(well, torch.sum, [0.0, 1.0], torch.zeros(2, 5, 1))
    with pytest.raises(ValueError, match=r"shape \(3, replicas, p\)"):
        weak_form(well, torch.sum, [0.0, 1.0, 2.0], torch.zeros(2, 5, 1))
