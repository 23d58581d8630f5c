"""Steady states of linear SGD against closed forms, SciPy and simulation."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.fokker_planck.linear.sgd import LinearSGD

F64 = torch.float64


def matrix(rows):
    return torch.tensor(rows, dtype=F64)


def drawn(seed, p, *, symmetric=True, rank=None):
    """Return a drift whose eigenvalues have real parts of at least .2, and a noise covariance."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((p, p))
    if symmetric:
        drift = a @ a.T / p + 0.2 * np.eye(p)
    else:
        drift = a + (0.2 - np.linalg.eigvals(a).real.min()) * np.eye(p)
    g = rng.standard_normal((p, rank or p))
    return torch.from_numpy(drift), torch.from_numpy(g @ g.T)


def test_the_diffusion_in_the_eigenbasis():
    """S_ij = eta Sigma_ij / (B (l_i + l_j)), by hand."""
    sgd = LinearSGD(
        torch.diag(matrix([1.0, 3.0])), matrix([[2.0, 1.0], [1.0, 4.0]]), lr=0.1, batch_size=2
    )
    want = 0.05 * matrix([[2 / 2, 1 / 4], [1 / 4, 4 / 6]])
    torch.testing.assert_close(sgd.stationary_cov("sde"), want, rtol=1e-14, atol=0)


def test_the_recursion_in_the_eigenbasis_and_its_ratio_to_the_diffusion():
    """S_ij = eta Sigma_ij / (l_i + l_j - eta l_i l_j); the ratio at eta = .1 exceeds 10 %."""
    rates, eta = matrix([1.0, 3.0]), 0.1
    sgd = LinearSGD(torch.diag(rates), matrix([[2.0, 1.0], [1.0, 4.0]]), lr=eta)
    sums, products = rates[:, None] + rates, rates[:, None] * rates
    want = eta * sgd.noise_cov / (sums - eta * products)
    torch.testing.assert_close(sgd.stationary_cov("sgd"), want, rtol=1e-14, atol=0)
    ratio = sgd.stationary_cov("sgd") / sgd.stationary_cov("sde")
    torch.testing.assert_close(ratio, 1 / (1 - eta * products / sums), rtol=1e-13, atol=0)
    assert float(ratio.max()) > 1.1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    p=st.integers(1, 8),
    symmetric=st.booleans(),
    share=st.floats(0.01, 0.9),
)
def test_both_kinds_agree_with_scipy(seed, p, symmetric, share):
    """SciPy's Lyapunov and Stein solvers, for any drift and noise, at any stable lr."""
    drift, noise = drawn(seed, p, symmetric=symmetric)
    rates = torch.linalg.eigvals(drift)
    # |1 - eta l| < 1 iff eta < 2 Re l / |l|^2.
    lr = share * float((2 * rates.real / rates.abs() ** 2).min())
    sgd = LinearSGD(drift, noise, lr=lr)
    step = np.eye(p) - lr * drift.numpy()
    want = scipy.linalg.solve_continuous_lyapunov(drift.numpy(), lr * noise.numpy())
    np.testing.assert_allclose(sgd.stationary_cov("sde"), want, rtol=0, atol=1e-9 * abs(want).max())
    want = scipy.linalg.solve_discrete_lyapunov(step, lr**2 * noise.numpy(), method="direct")
    found = sgd.stationary_cov("sgd")
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-8 * abs(want).max())
    assert sgd.spectral_radius < 1
    assert float(torch.linalg.eigvalsh(found)[0]) > -1e-12 * float(found.abs().max())


def test_the_recursion_tends_to_the_diffusion():
    """Their relative distance is of order 1 in eta, with a drift that is not symmetric."""
    drift, noise = drawn(3, 4, symmetric=False)
    rates = [2.0**-k for k in range(6, 12)]
    gaps = []
    for lr in rates:
        sgd = LinearSGD(drift, noise, lr=lr)
        both = [sgd.stationary_cov(kind) / lr for kind in ("sgd", "sde")]
        gaps.append(float(torch.linalg.matrix_norm(both[0] - both[1])))
    slope = np.polyfit(np.log(rates), np.log(gaps), 1)[0]
    assert slope == pytest.approx(1, abs=0.03)
    # Nothing cancels: at eta = 1e-12 the two agree to 1e-11.
    tiny = LinearSGD(drift, noise, lr=1e-12)
    torch.testing.assert_close(
        tiny.stationary_cov("sgd"), tiny.stationary_cov("sde"), rtol=1e-10, atol=0
    )


def test_the_recursion_is_simulated():
    """40,000 replicas of the recursion itself; each entry within 5 standard errors."""
    sgd = LinearSGD(
        matrix([[1.0, 0.6], [-0.9, 0.8]]), matrix([[1.0, 0.5], [0.5, 0.7]]), lr=0.3, batch_size=2
    )
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(sgd.noise_cov / 2)
    theta = torch.zeros(40_000, 2, dtype=F64)
    for _ in range(100):  # the slowest mode is down to 1e-10
        noise = torch.randn(theta.shape, generator=generator, dtype=F64) @ root.T
        theta = theta - sgd.lr * (theta @ sgd.hessian.T + noise)
    products = theta[:, :, None] * theta[:, None]
    error = products.std(0) / math.sqrt(len(theta))
    assert bool(((products.mean(0) - sgd.stationary_cov("sgd")).abs() < 5 * error).all())
    # The diffusion's covariance is another one, and this test sees it.
    assert bool(((products.mean(0) - sgd.stationary_cov("sde")).abs() > 10 * error).any())


@pytest.mark.parametrize(("l1", "l2", "g1", "g2"), [(1, 2, 1, 3), (0.1, 5, -2, 0.3)])
def test_the_determinant_for_noise_of_rank_one(l1, l2, g1, g2):
    """The closed form det S = eta^2 g1^2 g2^2 (1 / (4 l1 l2) - 1 / (l1 + l2)^2)."""
    g = matrix([float(g1), float(g2)])
    sgd = LinearSGD(torch.diag(matrix([float(l1), float(l2)])), torch.outer(g, g), lr=0.2)
    want = 0.04 * (g1 * g2) ** 2 * (1 / (4 * l1 * l2) - 1 / (l1 + l2) ** 2)
    assert float(torch.linalg.det(sgd.stationary_cov())) == pytest.approx(want, rel=1e-12)
    reached, smallest = sgd.hypoelliptic()
    assert reached
    assert smallest == pytest.approx(float(torch.linalg.eigvalsh(sgd.stationary_cov())[0]))


@pytest.mark.parametrize(("rates", "g"), [((2, 2), (1, 3)), ((1, 2), (0, 1)), ((1, 2), (0, 0))])
def test_noise_that_does_not_reach(rates, g):
    """Equal eigenvalues, a zero component, no noise at all: S is singular."""
    g = matrix([float(v) for v in g])
    hessian = torch.diag(matrix([float(v) for v in rates]))
    sgd = LinearSGD(hessian, torch.outer(g, g), lr=0.2)
    reached, smallest = sgd.hypoelliptic()
    assert not reached
    assert smallest == pytest.approx(0, abs=1e-16)
    assert not sgd.is_reversible
    assert sgd.scaled_potential(torch.ones(1, 2)) is None
    for call in (
        lambda: sgd.kl(1.0, torch.zeros(2)),
        lambda: sgd.contraction(1.0),
        sgd.entropy_bound,
        lambda: sgd.fisher(1.0, torch.zeros(2), torch.eye(2)),
    ):
        with pytest.raises(ValueError, match="noise that reaches every direction"):
            call()


def test_the_lyapunov_solution_decides_where_the_krylov_rank_fails():
    """A chain of 40 oscillators with noise at one end: the pitfall of the Kalman matrix.

    Its Kalman matrix is triangular with ones on the diagonal up to sign, so of full rank; in
    floating point the rank is lost, while S keeps an eigenvalue far above rounding.
    """
    p = 40
    drift = 0.01 * np.eye(p) + np.diag(np.ones(p - 1), 1) - np.diag(np.ones(p - 1), -1)
    g = np.eye(p)[0]
    columns = [g]
    for _ in range(p - 1):
        columns.append(drift @ columns[-1])
    assert np.abs(np.diag(np.array(columns))).min() == 1
    assert np.linalg.matrix_rank(np.array(columns)) < p
    sgd = LinearSGD(torch.from_numpy(drift), torch.from_numpy(np.outer(g, g)), lr=0.1)
    reached, smallest = sgd.hypoelliptic()
    assert reached
    assert smallest > 1e-4 * float(sgd.stationary_cov().abs().max())


@pytest.mark.parametrize("smallest", [0.0, -0.5, 1e-17])
def test_flat_and_unstable_directions_are_refused(smallest):
    with pytest.raises(ValueError, match=r"positive real parts, got a smallest of .*no steady"):
        LinearSGD(torch.diag(matrix([smallest, 1.0])), torch.eye(2), lr=0.1)
    # The remedy: the complement.
    assert float(LinearSGD(torch.eye(1), torch.eye(1), lr=0.1).stationary_cov()) > 0


def test_the_hessian_of_too_few_samples_is_refused():
    """X'X / N of 5 samples in 8 dimensions is flat to rounding only; never regularised."""
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    with pytest.raises(ValueError, match="no steady state exists; restrict H"):
        LinearSGD(x.T @ x / 5, torch.eye(8), lr=0.1)
    turning = matrix([[0.0, 1.0], [-1.0, 0.0]])  # eigenvalues ± i
    with pytest.raises(ValueError, match="no steady state exists"):
        LinearSGD(turning, torch.eye(2), lr=0.1)


def test_the_recursion_has_a_limit_of_stability():
    """At eta lambda = 2."""
    sgd = LinearSGD(torch.diag(matrix([1.0, 4.0])), torch.eye(2), lr=0.5)
    assert sgd.spectral_radius == pytest.approx(1)
    assert bool(torch.isfinite(sgd.stationary_cov("sde")).all())
    with pytest.raises(ValueError, match=r"spectral radius of I - lr H below 1, got 1 at lr = 0.5"):
        sgd.stationary_cov("sgd")
    with pytest.raises(ValueError, match="SGD diverges"):
        sgd.mean_loss("sgd")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hessian": torch.ones(2, 3)}, r"hessian must be a square matrix, got shape \(2, 3\)"),
        ({"hessian": torch.zeros(0, 0)}, "hessian must be a square matrix"),
        ({"hessian": torch.full((2, 2), math.nan)}, "hessian must be finite"),
        ({"hessian": torch.eye(2) * 1j}, "hessian must be real"),
        ({"noise_cov": torch.eye(3)}, r"noise_cov must have shape \(2, 2\), got \(3, 3\)"),
        ({"noise_cov": matrix([[1.0, 2.0], [0.0, 1.0]])}, "noise_cov must be symmetric"),
        ({"noise_cov": matrix([[1.0, 2.0], [2.0, 1.0]])}, "noise_cov must be positive semidefinit"),
        ({"noise_cov": torch.eye(2) * math.inf}, "noise_cov must be finite"),
        ({"lr": 0.0}, "lr must be positive and finite, got 0.0"),
        ({"lr": -1.0}, "lr must be positive"),
        ({"lr": math.nan}, "lr must be positive"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be an integer"),
    ],
)
def test_bad_arguments_give_one_clear_line(changes, message):
    given = {"hessian": torch.eye(2), "noise_cov": torch.eye(2), "lr": 0.1, **changes}
    with pytest.raises(ValueError, match=message) as caught:
        LinearSGD(given.pop("hessian"), given.pop("noise_cov"), **given)
    assert "\n" not in str(caught.value)


def test_bad_calls_are_refused():
    sgd = LinearSGD(torch.eye(2), torch.eye(2), lr=0.1)
    for call, message in (
        (lambda: sgd.stationary_cov("ode"), "kind must be 'sde' or 'sgd', got 'ode'"),
        (lambda: sgd.mean(-1.0, torch.zeros(2)), "t must be at least 0"),
        (lambda: sgd.mean(1.0, torch.zeros(3)), r"mean0 must have shape \(2,\), got \(3,\)"),
        (lambda: sgd.cov(1.0, -torch.eye(2)), "cov0 must be positive semidefinite"),
        (lambda: sgd.cov(math.inf), "t must be at least 0 and finite"),
        (lambda: sgd.kl(1.0, torch.zeros(2), torch.eye(3)), r"cov0 must have shape \(2, 2\)"),
        (lambda: sgd.hypoelliptic(tol=1.0), "tol must be at least 0 and below 1"),
        (lambda: sgd.quasipotential(torch.zeros(2)), r"x must have shape \(n, 2\)"),
        (lambda: sgd.effective_temperature(torch.zeros(2)), "direction must not be zero"),
        (lambda: sgd.entropy_bound(rate=2.0), "rate must be at most the relaxation rate 1"),
        (lambda: sgd.entropy_bound(rate=0.0), "rate must be positive"),
        (lambda: sgd.drift_bound(1.0, -1.0), "distance0 must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_arguments_are_left_alone_and_types_follow_the_points():
    hessian, noise = torch.eye(2), torch.eye(2)
    sgd = LinearSGD(hessian, noise, lr=0.5)
    hessian.mul_(7)
    noise.mul_(7)
    assert sgd.stationary_cov().dtype == F64
    sgd.stationary_cov().zero_()
    torch.testing.assert_close(sgd.stationary_cov(), 0.25 * torch.eye(2, dtype=F64))
    points = torch.ones(3, 2)
    assert sgd.drift(points).dtype == sgd.diffusion(points).dtype == torch.float32
    torch.testing.assert_close(sgd.drift(points), -points)
    torch.testing.assert_close(sgd.diffusion(points), 0.25 * torch.eye(2).expand(3, 2, 2))


def test_rounding_in_single_precision_is_forgiven():
    """A covariance estimated in float32 is symmetric and positive only to its own rounding."""
    noise = torch.tensor([[1.0, 1.0 + 1e-6], [1.0, 1.0]])
    found = LinearSGD(torch.eye(2), noise, lr=0.1).noise_cov
    torch.testing.assert_close(found, found.T, rtol=0, atol=0)
    with pytest.raises(ValueError, match="symmetric"):
        LinearSGD(torch.eye(2), noise.double(), lr=0.1)


def test_units_scale():
    """Weights in another unit: x -> c x takes Sigma to c^2 Sigma, S to c^2 S; time, H and 1/eta."""
    drift, noise = drawn(5, 3, symmetric=False)
    first = LinearSGD(drift, noise, lr=0.01)
    second = LinearSGD(drift * 10, 9 * noise * 100, lr=0.001)
    for kind in ("sde", "sgd"):
        torch.testing.assert_close(
            9 * first.stationary_cov(kind), second.stationary_cov(kind), rtol=1e-12, atol=0
        )
    assert second.relaxation_rate == pytest.approx(10 * first.relaxation_rate)
    batch = LinearSGD(drift, 4 * noise, lr=0.01, batch_size=4)
    torch.testing.assert_close(batch.stationary_cov(), first.stationary_cov(), rtol=1e-12, atol=0)
