"""The integrators against exact solutions, orders of accuracy and each other."""

import numpy as np
import pytest
import torch

from heatgrad.flow import gradient_flow, polynomial_fit, random_start
from heatgrad.flow.inner import DenseInner, minres
from heatgrad.flow.problem import AutogradProblem
from heatgrad.flow.rodas import ALPHA, COUPLING, GAMMA, RodasStepper


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def tableau():
    """Return alpha, Gamma and b of the method, from the transformed coefficients it is coded in."""
    a, c = (np.array([[*r, *[0.0] * (6 - len(r))] for r in rows]) for rows in (ALPHA, COUPLING))
    m = np.array([*ALPHA[-1], 1.0])
    gammas = np.linalg.inv(np.eye(6) / GAMMA - c)
    return a @ gammas, gammas, m @ gammas


def test_order_conditions():
    """The eight conditions of order 4 (Hairer and Wanner, IV.7, Table 7.1), to printed digits."""
    alphas, gammas, b = tableau()
    betas = alphas + gammas
    alpha, beta = alphas.sum(1), betas.sum(1)
    conditions = [
        (b.sum(), 1),
        (b @ beta, 1 / 2),
        (b @ alpha**2, 1 / 3),
        (b @ betas @ beta, 1 / 6),
        (b @ alpha**3, 1 / 4),
        (b @ (alpha * (alphas @ beta)), 1 / 8),
        (b @ betas @ alpha**2, 1 / 12),
        (b @ betas @ betas @ beta, 1 / 24),
    ]
    for left, right in conditions:
        assert left == pytest.approx(right, abs=1e-12)


def test_stiffly_accurate():
    """The weights are the last stage's, which is at the end of the step: so R(infinity) = 0."""
    alphas, gammas, b = tableau()
    np.testing.assert_allclose(b, (alphas + gammas)[-1], atol=1e-12)
    assert alphas[-1].sum() == pytest.approx(1, abs=1e-12)
    # Its stability function, R(z) = 1 + z b' (I - z B)^-1 1, far out and on the imaginary axis.
    betas, one = alphas + gammas, np.ones(6)

    def stability(z):
        return 1 + z * b @ np.linalg.solve(np.eye(6) - z * betas, one)

    assert abs(stability(-1e8)) < 1e-7
    assert max(abs(stability(1j * y)) for y in np.logspace(-2, 6, 200)) <= 1 + 1e-9


def loss_of_three(theta):
    x, y, z = theta
    return torch.cosh(x) + x * y + y**2 + torch.sin(z * x) + z**4 / 4


def fixed_steps(loss, start, t_end, steps):
    """Return where `steps` equal steps of the method end."""
    problem = AutogradProblem(loss, len(start))
    stepper = RodasStepper(
        problem, start, inner=DenseInner(problem), t_end=t_end, rtol=1e-6, atol=1e-9
    )
    for _ in range(steps):
        stepper._inner.at(stepper._theta)
        stepper._theta, _ = stepper._end(stepper._stages(t_end / steps))
    return stepper._theta


def test_order_of_accuracy():
    """On a coupled nonlinear flow the error falls like the fourth power of the step."""
    start = vector(1.0, -0.7, 0.4)
    exact = fixed_steps(loss_of_three, start, 1.0, 400)
    counts = np.array([5, 10, 20, 40])
    errors = [float((fixed_steps(loss_of_three, start, 1.0, n) - exact).norm()) for n in counts]
    order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert order == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("method", ["lsoda", "rosenbrock"])
def test_cubic_decay(method):
    """With y' = -y^3, y = (1 + 2 t)^(-1/2); errors fall with the tolerance, to t = 1e6."""
    errors = []
    for rtol in (1e-5, 1e-8):
        flow = gradient_flow(
            lambda y: y[0] ** 4 / 4, vector(1.0), t_end=1e6, method=method, rtol=rtol, atol=1e-12
        )
        errors.append(np.abs(flow.norm * np.sqrt(1 + 2 * flow.t) - 1).max())
        assert flow.length[-1] == pytest.approx(1 - flow.norm[-1], rel=1e-4)
        np.testing.assert_allclose(flow.speed, (1 + 2 * flow.t) ** -1.5, rtol=50 * rtol**0.75)
    assert errors[0] < 1e-3
    assert errors[1] < 1e-6
    assert errors[1] < errors[0] / 50


@pytest.mark.parametrize("method", ["lsoda", "rosenbrock"])
def test_stiff_quadratic(method):
    """A linear flow has the solution of each eigenvalue, over eight decades of them."""
    rates = vector(1e6, 1.0, 1e-2)
    flow = gradient_flow(
        lambda x: (rates * x**2).sum() / 2,
        vector(1.0, 1.0, 1.0),
        t_end=100.0,
        method=method,
        keep_theta=True,
    )
    exact = np.exp(-flow.t[:, None] * rates.numpy())
    np.testing.assert_allclose(flow.theta, exact, atol=3e-5)
    assert np.abs(flow.energy_defect).max() < 1e-4
    assert flow.stats["steps"] < 1000


@pytest.mark.parametrize("seed", [0, 1])
def test_the_methods_agree_on_a_network(seed):
    """A 1-2-1 softplus net to t = 1e6: two unrelated methods, norm and loss to 1e-4."""
    fit = polynomial_fit(activation="softplus", hidden=(2,))
    start = random_start(fit, seed=seed)
    one, two = (
        gradient_flow(fit, start, t_end=1e6, method=method) for method in ("lsoda", "rosenbrock")
    )
    np.testing.assert_allclose(one.norm, two.norm, rtol=1e-4)
    np.testing.assert_allclose(one.loss, two.loss, rtol=2e-3)
    np.testing.assert_allclose(one.speed, two.speed, rtol=2e-2)
    for flow in (one, two):
        assert np.abs(flow.energy_defect).max() < 1e-5


def test_products_give_the_same_flow():
    """The Krylov solves against the dense ones, on a net of 31 parameters to t = 1e3."""
    fit = polynomial_fit(activation="tanh", hidden=(10,))
    start = random_start(fit, seed=0)
    dense, krylov = (
        gradient_flow(fit, start, t_end=1e3, method="rosenbrock", dense_to=dense_to)
        for dense_to in (2000, 0)
    )
    assert krylov.stats["method"] == "rosenbrock, Krylov"
    assert krylov.stats["products"] > 0
    assert "hessians" not in krylov.stats
    np.testing.assert_allclose(krylov.norm, dense.norm, rtol=1e-5)
    np.testing.assert_allclose(krylov.loss, dense.loss, rtol=1e-3)
    # Inexact solves must not cost steps: each is held to a thousandth of the tolerance.
    assert krylov.stats["steps"] <= 1.2 * dense.stats["steps"]


def test_minres_on_an_indefinite_matrix():
    """Against a dense solve; None, not a wrong answer, where the products are not enough."""
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(30, 30, generator=generator, dtype=torch.float64))
    matrix = q @ torch.diag(torch.linspace(-3, 5, 30, dtype=torch.float64)) @ q.T
    right = torch.randn(30, generator=generator, dtype=torch.float64)
    found = minres(matrix.mv, right, tolerance=1e-9, most=200)
    assert torch.allclose(found, torch.linalg.solve(matrix, right), atol=1e-7)
    assert minres(matrix.mv, right, tolerance=1e-9, most=5) is None
    assert not minres(matrix.mv, 0 * right, tolerance=1e-9, most=5).any()


def test_the_gradient_is_polluted_and_the_speed_is_not():
    """Late in a stiff flow |grad L| exceeds the true speed by far; the path's speed obeys energy.

    The truth is the identity dL/dt = -speed^2, by differences of the loss.
    """
    fit = polynomial_fit(activation="softplus", hidden=(2,))
    start = torch.randn(7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    flow = gradient_flow(fit, start, t_end=1e10, keep_theta=True)
    late = flow.t > 1e6
    gradients = np.array(
        [float(fit.value_and_gradient(torch.from_numpy(x))[1].norm()) for x in flow.theta[late]]
    )
    t, loss = flow.t[late], flow.loss[late]
    fall = -np.gradient(np.log(loss), np.log(t)) * loss / t
    assert np.quantile(gradients / np.sqrt(fall), 0.9) > 1.5
    inside = slice(2, -2)
    np.testing.assert_allclose(flow.speed[late][inside], np.sqrt(fall)[inside], rtol=0.02)


def test_defect_shows_a_careless_integration():
    """With loose tolerances the energy identity is missed by more, and says so."""
    fit = polynomial_fit(activation="tanh", hidden=(2,))
    start = random_start(fit, seed=0, gain=2)
    loose, tight = (
        np.abs(gradient_flow(fit, start, t_end=1e4, rtol=rtol).energy_defect).max()
        for rtol in (1e-2, 1e-7)
    )
    assert tight < 1e-6 < loose
