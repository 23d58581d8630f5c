"""Loss, temperature, currents and quasi-potential of linear SGD's steady state."""

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


def drawn(seed, p, rank=None):
    rng = np.random.default_rng(seed)
    a, g = rng.standard_normal((p, p)), rng.standard_normal((p, rank or p))
    return torch.from_numpy(a @ a.T / p + 0.2 * np.eye(p)), torch.from_numpy(g @ g.T)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), p=st.integers(1, 7), rank=st.integers(1, 7))
def test_the_mean_loss_is_the_trace_of_the_noise(seed, p, rank):
    """It is eta tr Sigma_B / 4 for Sigma of any rank; the mean temperature is 2 / p of it."""
    hessian, noise = drawn(seed, p, rank)
    sgd = LinearSGD(hessian, noise, lr=0.02, batch_size=3)
    want = 0.02 * float(noise.trace()) / (4 * 3)
    assert sgd.mean_loss() == pytest.approx(want, rel=1e-12)
    assert sgd.effective_temperature() == pytest.approx(2 * want / p, rel=1e-12)


def test_the_mean_loss_of_the_recursion():
    """By hand in one dimension: eta s^2 / (2 (2 - eta l))."""
    sgd = LinearSGD(matrix([[3.0]]), matrix([[5.0]]), lr=0.2)
    assert sgd.mean_loss("sgd") == pytest.approx(0.2 * 5 / (2 * (2 - 0.6)), rel=1e-14)
    assert sgd.mean_loss("sde") == pytest.approx(0.2 * 5 / 4, rel=1e-14)


def test_only_a_symmetric_drift_has_a_loss():
    sgd = LinearSGD(matrix([[1.0, 1.0], [0.0, 1.0]]), torch.eye(2), lr=0.1)
    with pytest.raises(ValueError, match="mean_loss needs a symmetric hessian"):
        sgd.mean_loss()


def test_the_gibbs_density():
    """Sigma_B = (2 T / eta) I gives e^{-L/T}: S = T / H, V = L / T, and V_quasi = 2 L / s^2."""
    hessian, _ = drawn(0, 3)
    sgd = LinearSGD(hessian, 4.0 * torch.eye(3), lr=0.1, batch_size=2)
    temperature = 0.1 * 4 / 2 / 2
    assert sgd.effective_temperature() == pytest.approx(temperature)
    torch.testing.assert_close(
        sgd.stationary_cov(), temperature * torch.linalg.inv(hessian), rtol=1e-12, atol=1e-14
    )
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    loss = (points @ hessian * points).sum(1) / 2
    torch.testing.assert_close(sgd.scaled_potential(points), loss / temperature)
    torch.testing.assert_close(sgd.quasipotential(points), 2 * loss / (4.0 / 2))
    assert sgd.is_reversible
    assert sgd.entropy_production == 0
    slope = torch.func.vmap(torch.func.grad(lambda x: sgd.scaled_potential(x[None])[0]))
    torch.testing.assert_close(sgd.drift(points), -slope(points) @ sgd.constant_diffusion())


def test_a_commuting_noise_is_reversible_and_another_is_not():
    """Reversible iff H Sigma = Sigma H."""
    hessian, other = drawn(1, 4)
    commuting = hessian @ hessian + 3 * hessian
    assert LinearSGD(hessian, commuting, lr=0.1).is_reversible
    mixed = LinearSGD(hessian, other, lr=0.1)
    assert not mixed.is_reversible
    assert mixed.entropy_production > 0
    torch.testing.assert_close(mixed.irreversibility, -mixed.irreversibility.T)
    flow = hessian @ mixed.stationary_cov()
    torch.testing.assert_close(flow - mixed.irreversibility, mixed.constant_diffusion())


def test_the_entropy_production_of_a_rotation():
    """Drift k x + w J x in isotropic noise D = T I: the current turns at w, producing 2 w^2 / k.

    S = (T / k) I, and the mean of |w J x|^2 / T is w^2 2 (T / k) / T.
    """
    k, w = 0.7, 1.3
    sgd = LinearSGD(matrix([[k, -w], [w, k]]), 5 * torch.eye(2), lr=0.1)
    assert sgd.entropy_production == pytest.approx(2 * w**2 / k, rel=1e-12)
    assert not sgd.is_reversible


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), p=st.integers(2, 6))
def test_the_entropy_production_as_the_reference_writes_it(seed, p):
    """tr((H - D S^-1)' D^-1 (H - D S^-1) S), computed with NumPy's inverses."""
    hessian, noise = drawn(seed, p)
    noise = noise + 0.1 * torch.eye(p, dtype=F64)
    sgd = LinearSGD(hessian, noise, lr=0.1)
    h, d = hessian.numpy(), 0.05 * noise.numpy()
    s = scipy.linalg.solve_continuous_lyapunov(h, 2 * d)
    gap = h - d @ np.linalg.inv(s)
    want = np.trace(gap.T @ np.linalg.inv(d) @ gap @ s)
    assert sgd.entropy_production == pytest.approx(want, rel=1e-6, abs=1e-9)


def test_the_entropy_production_of_singular_noise():
    """Infinite if the current leaves D's range; zero where noise and eigenvectors agree."""
    hessian = torch.diag(matrix([1.0, 2.0]))
    g = matrix([1.0, 1.0])
    assert LinearSGD(hessian, torch.outer(g, g), lr=0.1).entropy_production == math.inf
    assert LinearSGD(hessian, torch.diag(matrix([1.0, 0.0])), lr=0.1).entropy_production == 0
    # A rotation in a plane, and a third direction without noise: as in the plane.
    turning = torch.block_diag(matrix([[1.0, -2.0], [2.0, 1.0]]), matrix([[3.0]]))
    plane = LinearSGD(turning, torch.diag(matrix([1.0, 1.0, 0.0])), lr=0.1)
    assert plane.entropy_production == pytest.approx(8, rel=1e-12)


def test_the_temperature_of_a_direction():
    """T_v = eta v' Sigma_B v / (2 |v|^2)."""
    sgd = LinearSGD(torch.eye(2), matrix([[4.0, 0.0], [0.0, 1.0]]), lr=0.1, batch_size=2)
    assert sgd.effective_temperature(matrix([3.0, 0.0])) == pytest.approx(0.1 * 4 / 4)
    assert sgd.effective_temperature(matrix([1.0, 1.0])) == pytest.approx(0.1 * 2.5 / 4)


def test_the_quasipotential_is_infinite_where_noise_never_leads():
    sgd = LinearSGD(torch.diag(matrix([1.0, 2.0])), torch.diag(matrix([2.0, 0.0])), lr=0.1)
    found = sgd.quasipotential(matrix([[1.0, 0.0], [1.0, 1e-3], [0.0, 0.0]]))
    torch.testing.assert_close(found, matrix([0.5, math.inf, 0.0]))


def test_the_quasipotential_does_not_depend_on_the_step():
    """It is of the noise alone: the action of the cheapest path from the minimum to x.

    The path of least control energy over a long time, by the reachability Gramian that NumPy sums
    up step by step, has int |u|^2 / 2 = V where x' = -H x + Sigma_B^{1/2} u.
    """
    hessian, noise = drawn(7, 3)
    first = LinearSGD(hessian, noise, lr=0.1)
    x = matrix([[1.0, -0.5, 0.3]])
    value = float(first.quasipotential(x))
    assert float(LinearSGD(hessian, noise, lr=1e-3).quasipotential(x)) == pytest.approx(value)
    dt, steps = 0.01, 8000
    forget, total = scipy.linalg.expm(-dt * hessian.numpy()), np.zeros((3, 3))
    state = scipy.linalg.expm(-dt / 2 * hessian.numpy())
    for _ in range(steps):
        total += dt * state @ noise.numpy() @ state.T
        state = forget @ state
    action = float(x.numpy()[0] @ np.linalg.solve(total, x.numpy()[0])) / 2
    assert value == pytest.approx(action, rel=1e-3)  # the midpoint rule's dt^2


def test_the_drift_bound_holds_and_is_equal_for_a_round_well():
    """The exact second moment, from mean and covariance, never exceeds it; equal for H = m I."""
    hessian, noise = drawn(2, 3)
    start = matrix([1.0, -2.0, 0.5])
    for h, tight in ((hessian, False), (0.7 * torch.eye(3, dtype=F64), True)):
        sgd = LinearSGD(h, noise, lr=0.05, batch_size=2)
        for t in (0.0, 0.1, 1.0, 10.0):
            exact = float((sgd.mean(t, start) ** 2).sum() + sgd.cov(t).trace())
            bound = sgd.drift_bound(t, float(start.norm()))
            assert exact <= bound * (1 + 1e-12)
            if tight:
                assert exact == pytest.approx(bound, rel=1e-12)


def test_the_crossover_is_where_drift_and_diffusion_are_equal():
    sgd = LinearSGD(matrix([[0.5]]), matrix([[2.0]]), lr=0.1)
    t = sgd.crossover_time(3.0)
    drift = 9 * math.exp(-t)
    assert drift == pytest.approx(0.1 * 2 * (1 - math.exp(-t)), rel=1e-12)
    assert sgd.drift_bound(t, 3.0) == pytest.approx(2 * drift, rel=1e-12)
    assert sgd.crossover_time(0.0) == 0
    assert LinearSGD(matrix([[0.5]]), matrix([[0.0]]), lr=0.1).crossover_time(3.0) == math.inf
    skewed = LinearSGD(matrix([[1.0, 9.0], [0.0, 1.0]]), torch.eye(2), lr=0.1)
    with pytest.raises(ValueError, match="needs H \\+ H' positive definite"):
        skewed.drift_bound(1.0, 1.0)
