"""Decay of the relative entropy with a constant, for noise of any rank."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.fokker_planck.linear.heavy_ball import LinearHeavyBall
from heatgrad.fokker_planck.linear.sgd import LinearSGD

F64 = torch.float64


def matrix(rows):
    return torch.tensor(rows, dtype=F64)


def kinetic(friction, stiffness=1.0):
    drift = matrix([[0.0, -1.0], [stiffness, friction]])
    return LinearSGD(drift, torch.diag(matrix([0.0, 2 * friction])), lr=1.0)


def drawn(seed, p, rank):
    rng = np.random.default_rng(seed)
    a, g = rng.standard_normal((p, p)), rng.standard_normal((p, rank))
    drift = a + (0.3 - np.linalg.eigvals(a).real.min()) * np.eye(p)
    return LinearSGD(torch.from_numpy(drift), torch.from_numpy(g @ g.T), lr=0.1)


def start(seed, sgd):
    rng = np.random.default_rng(seed)
    p = sgd.dim
    c = rng.standard_normal((p, p))
    root = torch.linalg.cholesky(sgd.stationary_cov())
    cov0 = root @ torch.from_numpy(c @ c.T / p + 0.01 * np.eye(p)) @ root.T
    return root @ torch.from_numpy(rng.standard_normal(p)), cov0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), p=st.integers(1, 5), rank=st.integers(1, 5))
def test_the_bounds_hold_for_every_start(seed, p, rank):
    """KL(t) <= contraction KL(0) <= C e^{-2 mu t} KL(0), normal starts of random mean and width."""
    sgd = drawn(seed, p, min(rank, p))
    if not sgd.hypoelliptic(1e-8)[0]:
        return
    bound = sgd.entropy_bound()
    mean0, cov0 = start(seed, sgd)
    first = sgd.kl(0.0, mean0, cov0)
    for t in (0.01, 0.3, 1.0, 3.0, 10.0):
        share = sgd.kl(t, mean0, cov0) / first
        worst = sgd.contraction(t)
        assert share <= worst * (1 + 1e-6)
        assert worst <= 1 + 1e-9
        if bound.constant is not None:
            assert worst <= bound.constant * math.exp(-2 * bound.rate * t) * (1 + 1e-6)
            assert bound.rate == pytest.approx(sgd.relaxation_rate, rel=2e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), p=st.integers(1, 5), rank=st.integers(1, 5))
def test_the_weight_satisfies_its_inequality(seed, p, rank):
    """Q P + P Q' >= 2 mu P with Q = S H' S^-1, P > 0, as the reference writes it."""
    sgd = drawn(seed, p, min(rank, p))
    if not sgd.hypoelliptic(1e-6)[0]:
        return
    bound = sgd.entropy_bound()
    if bound.weight is None:
        return
    weight = bound.weight.numpy()
    s = sgd.stationary_cov().numpy()
    q = s @ sgd.hessian.numpy().T @ np.linalg.inv(s)
    gap = q @ weight + weight @ q.T - 2 * bound.rate * weight
    root = np.linalg.inv(np.linalg.cholesky(weight))
    assert np.linalg.eigvalsh(root @ gap @ root.T).min() > -1e-5 * np.linalg.norm(q, 2)


@pytest.mark.parametrize("friction", [0.3, 1.9, 3.0])
def test_the_weighted_fisher_functional_decays_at_twice_the_rate(friction):
    """At every time, although the plain one stands still at times where the noise is degenerate."""
    ball = kinetic(friction)
    bound = ball.entropy_bound()
    mean0, cov0 = matrix([1.0, 0.0]), torch.diag(matrix([0.4, 1.5]))
    times = np.linspace(0, 6 / bound.rate, 60)
    found = [ball.fisher(t, mean0, cov0, bound.weight) for t in times]
    plain = [ball.fisher(t, mean0, cov0) for t in times]
    slopes = -np.diff(np.log(found)) / np.diff(times)
    assert slopes.min() > 2 * bound.rate * (1 - 1e-9)
    assert (-np.diff(np.log(plain)) / np.diff(times)).min() < bound.rate


def test_a_shifted_steady_state_attains_the_contraction():
    """KL of a shift is |S^{-1/2} m|^2 / 2, so the worst shift loses exactly |e^{-Kt}|^2 of it."""
    ball = kinetic(0.7)  # S = I, K = H
    for t in (0.2, 1.0, 4.0):
        forget = torch.linalg.matrix_exp(-t * ball.hessian)
        worst = torch.linalg.svd(forget)[2][0]
        share = ball.kl(t, worst, torch.eye(2)) / ball.kl(0.0, worst, torch.eye(2))
        assert share == pytest.approx(ball.contraction(t), rel=1e-10)


def test_the_bounds_hold_for_a_start_that_is_not_normal():
    """Two far points blurred, under noise on the velocity alone; entropies by the midpoint rule."""
    ball = kinetic(0.6)  # S = I
    axis = torch.linspace(-9, 9, 361, dtype=F64)
    x = torch.cartesian_prod(axis, axis)
    limit = -(x**2).sum(1) / 2 - math.log(2 * math.pi)

    def entropy(t):
        cov = ball.cov(t, torch.diag(matrix([0.1, 0.3])))
        parts = [
            torch.distributions.MultivariateNormal(ball.mean(t, matrix(center)), cov).log_prob(x)
            for center in ([2.0, 1.0], [-2.0, 0.0])
        ]
        log = torch.logsumexp(torch.stack(parts), 0) - math.log(2)
        return float((log.exp() * (log - limit)).sum()) * float(axis[1] - axis[0]) ** 2

    first, bound = entropy(0.0), ball.entropy_bound()
    for t in (0.2, 1.0, 3.0, 6.0):
        assert entropy(t) <= ball.contraction(t) * first * (1 + 1e-9)
        assert ball.contraction(t) <= bound.at(t) * (1 + 1e-9)


@pytest.mark.parametrize("friction", [0.2, 1.0, 1.8])
def test_the_best_constant_of_an_oscillator(friction):
    """Below critical damping C = (1 + gamma/2w) / (1 - gamma/2w), w^2 = k = 1, and it is attained.

    By hand: the dual eigenvectors have the overlap gamma / 2, and the supremum over time of
    e^{2 mu t} |e^{-Kt}|^2 is that quotient.
    """
    ball = kinetic(friction)
    bound = ball.entropy_bound()
    want = (1 + friction / 2) / (1 - friction / 2)
    assert bound.status == "ok"
    assert bound.constant == pytest.approx(want, rel=1e-9)
    reached = max(
        ball.contraction(t) * math.exp(2 * bound.rate * t) for t in np.linspace(0, 40, 4001)
    )
    assert reached == pytest.approx(want, rel=1e-3)
    assert bound.at(0.0) == 1
    assert bound.at(50 / friction) == pytest.approx(want * math.exp(-50))


def test_reversible_noise_needs_no_constant():
    """Bakry and Emery: C = 1 at the rate lambda_min, repeated eigenvalues included."""
    hessian = torch.diag(matrix([0.5, 0.5, 2.0]))
    for noise in (torch.eye(3), torch.diag(matrix([1.0, 3.0, 0.2]))):
        bound = LinearSGD(hessian, noise, lr=0.1).entropy_bound()
        assert bound.constant == pytest.approx(1, abs=1e-9)
        assert bound.rate == pytest.approx(0.5)


def test_a_defective_drift_is_reported():
    """Heavy ball at gamma^2 = 4 lambda: (1 + t^2) e^{-2 mu t}, no constant at the rate itself."""
    ball = kinetic(2.0)
    bound = ball.entropy_bound()
    assert bound.status == "defective"
    assert bound.constant is None
    assert bound.weight is None
    assert bound.at(100.0) == 1
    assert "lower rate" in bound.reason
    growth = [ball.contraction(t) * math.exp(2 * t) / t**2 for t in (10.0, 20.0, 40.0)]
    assert growth[2] == pytest.approx(growth[1], rel=0.05)
    # The remedy: below the rate there is one, and it holds.
    lower = ball.entropy_bound(rate=0.9)
    assert lower.status == "ok"
    assert lower.rate == 0.9
    for t in np.linspace(0, 30, 61):
        assert ball.contraction(t) <= lower.constant * math.exp(-1.8 * t) * (1 + 1e-9)


def test_a_fast_defective_part_does_no_harm():
    """Only the slowest eigenvalue must have its eigenvectors."""
    drift = torch.block_diag(matrix([[0.5]]), matrix([[0.0, -1.0], [1.0, 2.0]]))
    sgd = LinearSGD(drift, torch.diag(matrix([1.0, 0.0, 4.0])), lr=1.0)
    bound = sgd.entropy_bound()
    assert bound.status == "ok"
    assert bound.rate == pytest.approx(0.5, rel=2e-6)
    assert 1 < bound.constant < 1e3
    for t in np.linspace(0, 20, 41):
        assert sgd.contraction(t) <= bound.at(t) * (1 + 1e-6)


def test_equal_oscillators_are_as_good_as_one():
    """Repeated complex eigenvalues that do have eigenvectors, hidden by a rotation."""
    basis = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())
    hessian = basis[0] @ torch.diag(matrix([4.0, 4.0, 4.0])) @ basis[0].T
    ball = LinearHeavyBall((hessian + hessian.T) / 2, torch.eye(3), lr=0.01, momentum=0.9)
    single = LinearHeavyBall(matrix([[4.0]]), torch.eye(1), lr=0.01, momentum=0.9)
    bound, want = ball.kinetic.entropy_bound(), single.kinetic.entropy_bound()
    assert bound.status == "ok"
    assert bound.constant == pytest.approx(want.constant, rel=1e-4)
    assert bound.rate == pytest.approx(0.5, rel=2e-6)
