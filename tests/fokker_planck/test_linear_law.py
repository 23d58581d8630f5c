"""The law of a linear diffusion at every time, and its relative entropy."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.fokker_planck.linear.sgd import LinearSGD

F64 = torch.float64


def matrix(rows):
    return torch.tensor(rows, dtype=F64)


def drawn(seed, p):
    """Return linear SGD with a drift that is not symmetric, and a start."""
    rng = np.random.default_rng(seed)
    a, g, c = (rng.standard_normal((p, p)) for _ in range(3))
    drift = a + (0.2 - np.linalg.eigvals(a).real.min()) * np.eye(p)
    sgd = LinearSGD(torch.from_numpy(drift), torch.from_numpy(g @ g.T), lr=0.1)
    return sgd, torch.from_numpy(rng.standard_normal(p)), torch.from_numpy(0.1 * c @ c.T)


def kinetic(friction, stiffness=1.0):
    """Return a kinetic oscillator: the noise acts on its velocity alone, S = T diag(1/k, 1)."""
    drift = matrix([[0.0, -1.0], [stiffness, friction]])
    return LinearSGD(drift, torch.diag(matrix([0.0, 2 * friction])), lr=1.0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), p=st.integers(1, 6), t=st.floats(0, 30))
def test_mean_and_covariance_at_any_time(seed, p, t):
    """P = S + e^{-Ht} (P0 - S) e^{-H't}, with SciPy's exponential and Lyapunov solver."""
    sgd, mean0, cov0 = drawn(seed, p)
    drift = sgd.hessian.numpy()
    forget = scipy.linalg.expm(-t * drift)
    s = scipy.linalg.solve_continuous_lyapunov(drift, 0.1 * sgd.noise_cov.numpy())
    want = s + forget @ (cov0.numpy() - s) @ forget.T
    scale = max(abs(s).max(), abs(want).max(), np.linalg.norm(forget) ** 2)
    np.testing.assert_allclose(sgd.cov(t, cov0), want, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(
        sgd.mean(t, mean0), forget @ mean0.numpy(), rtol=0, atol=1e-10 * np.linalg.norm(forget)
    )


def test_the_law_solves_its_equation():
    """dP/dt = -H P - P H' + 2 D, integrated by SciPy's DOP853 at tolerance 1e-12."""
    sgd, _, cov0 = drawn(4, 3)
    drift, noise = sgd.hessian.numpy(), 0.1 * sgd.noise_cov.numpy()

    def slope(_, flat):
        p = flat.reshape(3, 3)
        return (noise - drift @ p - p @ drift.T).ravel()

    found = scipy.integrate.solve_ivp(
        slope, (0, 2), cov0.numpy().ravel(), method="DOP853", rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(sgd.cov(2.0, cov0).ravel(), found.y[:, -1], rtol=1e-9)


def test_a_covariance_that_has_barely_spread_keeps_its_digits():
    """Noise on a velocity alone: Var q = 2 gamma T t^3 / 3 to leading order, at t = 1e-5 as well.

    Subtracting from the stationary covariance would leave nothing of it.
    """
    ball, t = kinetic(friction=0.5), 1e-5
    want = matrix([[t**3 / 3, t**2 / 2], [t**2 / 2, t]])
    # The next order is a relative t.
    torch.testing.assert_close(ball.cov(t), want, rtol=1e-4, atol=0)
    assert math.isfinite(ball.kl(t, torch.zeros(2)))
    assert ball.kl(t, torch.zeros(2)) == pytest.approx(
        # det S = 1, det P = t^4 / 12; the rest of KL is -1.
        math.log(12) / 2 - 2 * math.log(t) - 1,
        rel=1e-4,
    )


def test_the_limits_in_time():
    sgd, mean0, cov0 = drawn(5, 4)
    torch.testing.assert_close(sgd.mean(0.0, mean0), mean0)
    torch.testing.assert_close(sgd.cov(0.0, cov0), cov0)
    torch.testing.assert_close(sgd.cov(0.0), torch.zeros(4, 4, dtype=F64))
    for t in (1e3, 1e9):
        torch.testing.assert_close(sgd.cov(t, cov0), sgd.stationary_cov(), rtol=1e-8, atol=0)
        assert float(sgd.mean(t, mean0).abs().max()) < 1e-12
    torch.testing.assert_close(
        sgd.cov(3.0, sgd.stationary_cov()), sgd.stationary_cov(), rtol=1e-9, atol=1e-12
    )


def test_the_entropy_is_that_of_two_normal_laws():
    """Of torch.distributions, with the law at time t."""
    sgd, mean0, cov0 = drawn(6, 4)
    for t in (0.0, 0.1, 1.0):
        now = torch.distributions.MultivariateNormal(sgd.mean(t, mean0), sgd.cov(t, cov0))
        limit = torch.distributions.MultivariateNormal(
            torch.zeros(4, dtype=F64), sgd.stationary_cov()
        )
        want = float(torch.distributions.kl_divergence(now, limit))
        assert sgd.kl(t, mean0, cov0) == pytest.approx(want, rel=1e-8)


def test_the_entropy_of_a_point_and_of_the_steady_state():
    sgd, mean0, _ = drawn(6, 4)
    assert sgd.kl(0.0, mean0) == math.inf
    assert 0 < sgd.kl(1.0, mean0) < math.inf
    zero = torch.zeros(4, dtype=F64)
    assert sgd.kl(1.0, zero, sgd.stationary_cov()) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("friction", [0.3, 1.0, 5.0])
def test_the_late_slope_of_the_entropy_is_twice_the_gap(friction):
    """Gap min Re spec H whatever the noise: of an oscillator Re(g/2 - sqrt(g^2/4 - 1)).

    Measured over whole periods, far below the rounding of the entropies' difference.
    """
    ball = kinetic(friction)
    root = np.sqrt(complex(friction**2 / 4 - 1))
    gap = friction / 2 - root.real
    assert ball.relaxation_rate == pytest.approx(gap, rel=1e-12)
    start, apart = 20 / gap, 2 * math.pi / (root.imag or 1)
    mean0, cov0 = matrix([1.0, -0.5]), torch.diag(matrix([0.3, 2.0]))
    early, late = (ball.kl(t, mean0, cov0) for t in (start, start + apart))
    assert early < 1e-15
    assert math.log(early / late) / apart == pytest.approx(2 * gap, rel=1e-4)


def test_the_entropy_of_a_wide_start_decays_at_four_times_the_gap():
    """P - S ~ e^{-2 mu t} and KL ~ |P - S|^2 / 4, so the digits must hold to 1e-30."""
    sgd = LinearSGD(torch.eye(1), 2 * torch.eye(1), lr=1.0)  # S = 1
    for t in (5.0, 10.0, 16.0):
        want = (2 * math.exp(-2 * t)) ** 2 / 4
        assert sgd.kl(t, torch.zeros(1), 3 * torch.eye(1)) == pytest.approx(want, rel=1e-3)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), p=st.integers(1, 4), t=st.floats(0.05, 2))
def test_the_entropy_falls_by_the_fisher_information(seed, p, t):
    """dKL/dt = -int rho <grad log rho/pi, D grad log rho/pi>, by central differences."""
    sgd, mean0, cov0 = drawn(seed, p)
    cov0 = cov0 + 0.05 * torch.eye(p, dtype=F64)
    if not sgd.hypoelliptic(1e-6)[0]:
        return
    h = 1e-4 / float(torch.linalg.matrix_norm(sgd.hessian))
    slope = (sgd.kl(t + h, mean0, cov0) - sgd.kl(t - h, mean0, cov0)) / (2 * h)
    assert -slope == pytest.approx(sgd.fisher(t, mean0, cov0), rel=1e-3, abs=1e-6)


def test_the_fisher_information_of_a_round_gaussian():
    """By hand: T I with I = (1/P - 1/S)^2 P + m^2 / S^2 in one dimension."""
    sgd = LinearSGD(2 * torch.eye(1), 4 * torch.eye(1), lr=0.5)  # D = 1, S = 1/2
    found = sgd.fisher(0.0, matrix([3.0]), matrix([[0.2]]))
    assert found == pytest.approx((1 / 0.2 - 2) ** 2 * 0.2 + 9 * 4, rel=1e-12)
    assert sgd.fisher(0.0, matrix([3.0])) == math.inf
    assert sgd.fisher(0.0, matrix([3.0]), matrix([[0.2]]), matrix([[10.0]])) == pytest.approx(
        10 * found
    )
