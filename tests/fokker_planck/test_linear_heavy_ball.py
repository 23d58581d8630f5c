"""Heavy ball as a kinetic diffusion, and as the recursion."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.fokker_planck.linear.heavy_ball import LinearHeavyBall
from heatgrad.fokker_planck.linear.sgd import LinearSGD

F64 = torch.float64


def matrix(rows):
    return torch.tensor(rows, dtype=F64)


def drawn(seed, p):
    rng = np.random.default_rng(seed)
    a, g = rng.standard_normal((p, p)), rng.standard_normal((p, p))
    return torch.from_numpy(a @ a.T / p + 0.2 * np.eye(p)), torch.from_numpy(g @ g.T)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), p=st.integers(1, 5), momentum=st.floats(0, 0.99))
def test_the_kinetic_covariance_is_that_of_gibbs(seed, p, momentum):
    """Noise sigma^2 I gives diag(T H^-1, T I), T = eta sigma^2 / (2 B (1 - beta)), rank p of 2p."""
    hessian, _ = drawn(seed, p)
    ball = LinearHeavyBall(hessian, 3 * torch.eye(p), lr=0.01, momentum=momentum, batch_size=2)
    temperature = 0.01 * 3 / (2 * 2 * (1 - momentum))
    assert ball.temperature == pytest.approx(temperature)
    want = torch.block_diag(torch.linalg.inv(hessian), torch.eye(p)) * temperature
    scale = float(want.abs().max())
    torch.testing.assert_close(ball.stationary_cov("sde"), want, rtol=0, atol=1e-9 * scale)
    assert ball.kinetic.hypoelliptic()[0]


def test_friction_clock_and_gap():
    """By hand: gamma = (1 - beta) / sqrt(eta); the gap of an overdamped mode."""
    ball = LinearHeavyBall(matrix([[0.5]]), torch.eye(1), lr=0.04, momentum=0.6)
    assert ball.friction == pytest.approx(2)
    assert ball.time_step == pytest.approx(0.2)
    assert ball.kinetic.relaxation_rate == pytest.approx(1 - math.sqrt(0.5))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    p=st.integers(1, 4),
    momentum=st.floats(0, 0.98),
    share=st.floats(0.05, 0.9),
)
def test_the_recursion_agrees_with_scipy(seed, p, momentum, share):
    """SciPy's Stein solver on the recursion as torch.optim.SGD runs it, in (theta, v)."""
    hessian, noise = drawn(seed, p)
    lr = share * 2 * (1 + momentum) / float(torch.linalg.eigvalsh(hessian)[-1])
    ball = LinearHeavyBall(hessian, noise, lr=lr, momentum=momentum, batch_size=3)
    h, eye, zeros = hessian.numpy(), np.eye(p), np.zeros((p, p))
    kick = np.block([[eye, zeros], [zeros, eye]])  # (theta, v)
    step = np.block([[eye - lr * h, momentum * eye], [-lr * h, momentum * eye]])
    gain = np.vstack([eye, eye])
    want = scipy.linalg.solve_discrete_lyapunov(
        step, lr**2 / 3 * gain @ noise.numpy() @ gain.T, method="direct"
    )
    kick[p:, p:] /= math.sqrt(lr)  # v to p
    want = kick @ want @ kick
    found = ball.stationary_cov("sgd")
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-8 * abs(want).max())


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("lr", [0.3, 0.01])
def test_the_recursion_in_one_dimension(momentum, lr):
    """The closed forms of (F.26), derived by hand from the three moment equations."""
    rate, noise = 2.0, 5.0
    ball = LinearHeavyBall(matrix([[rate]]), matrix([[noise]]), lr=lr, momentum=momentum)
    found = ball.stationary_cov("sgd")
    temperature = lr * noise / (2 * (1 - momentum))
    shrink = 1 - lr * rate / (2 * (1 + momentum))
    assert float(found[0, 0]) == pytest.approx(temperature / rate / shrink, rel=1e-10)
    assert float(found[1, 1]) == pytest.approx(2 * temperature / (1 + momentum) / shrink, rel=1e-10)


def test_no_momentum_is_plain_sgd():
    hessian, noise = drawn(3, 3)
    ball = LinearHeavyBall(hessian, noise, lr=0.1, momentum=0.0, batch_size=2)
    plain = LinearSGD(hessian, noise, lr=0.1, batch_size=2)
    torch.testing.assert_close(
        ball.stationary_cov("sgd")[:3, :3], plain.stationary_cov("sgd"), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("friction", [0.5, 2.0])
def test_the_recursion_tends_to_the_kinetic_diffusion(friction):
    """At fixed friction, beta = 1 - gamma sqrt(eta): relative distance of order sqrt(eta)."""
    hessian, noise = drawn(5, 3)
    steps, gaps = [2.0**-k for k in range(4, 10)], []
    for h in steps:
        ball = LinearHeavyBall(hessian, noise, lr=h**2, momentum=1 - friction * h)
        want, found = (ball.stationary_cov(kind) for kind in ("sde", "sgd"))
        gaps.append(float((found - want).norm() / want.norm()))
    assert np.polyfit(np.log(steps), np.log(gaps), 1)[0] == pytest.approx(1, abs=0.1)
    assert gaps[-1] < 0.01


def test_at_fixed_momentum_only_the_position_has_the_kinetic_limit():
    """As eta -> 0 Var p is 2 / (1 + beta) times the temperature: 1.33 at beta = .5."""
    ball = LinearHeavyBall(matrix([[2.0]]), torch.eye(1), lr=1e-8, momentum=0.5)
    ratio = (ball.stationary_cov("sgd") / ball.stationary_cov("sde")).diagonal()
    torch.testing.assert_close(ratio, matrix([1.0, 4 / 3]), rtol=1e-6, atol=0)


def test_torch_optim_is_simulated():
    """20,000 replicas as one parameter of torch.optim.SGD with momentum, 5 standard errors."""
    lr, momentum = 0.2, 0.7
    hessian, noise = matrix([[1.0, 0.3], [0.3, 2.0]]), matrix([[1.0, 0.6], [0.6, 0.5]])
    ball = LinearHeavyBall(hessian, noise, lr=lr, momentum=momentum, batch_size=4)
    theta = torch.zeros(20_000, 2, dtype=F64, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=lr, momentum=momentum)
    generator = torch.Generator().manual_seed(1)
    root = torch.linalg.cholesky(noise / 4)
    for _ in range(150):
        xi = torch.randn(theta.shape, generator=generator, dtype=F64) @ root.T
        theta.grad = theta.detach() @ hessian + xi
        optimizer.step()
    # torch adds lr * buffer with a minus sign, so v = -lr * buffer.
    v = -lr * optimizer.state[theta]["momentum_buffer"]
    z = torch.cat([theta.detach(), v / math.sqrt(lr)], 1)
    products = z[:, :, None] * z[:, None]
    error = products.std(0) / math.sqrt(len(z))
    gap = (products.mean(0) - ball.stationary_cov("sgd")).abs()
    assert bool((gap < 5 * error).all())
    assert bool(((products.mean(0) - ball.stationary_cov("sde")).abs() > 5 * error).any())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"momentum": -0.1}, "momentum must be"),
        ({"momentum": math.nan}, "momentum must be"),
        ({"hessian": matrix([[1.0, 2.0], [0.0, 1.0]])}, "hessian must be symmetric"),
        ({"hessian": torch.diag(matrix([1.0, 0.0]))}, "no steady state exists; restrict H"),
        ({"noise_cov": -torch.eye(2)}, "noise_cov must be positive semidefinite"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"batch_size": 0}, "batch_size must be an integer"),
    ],
)
def test_bad_arguments_give_one_clear_line(changes, message):
    given = {"hessian": torch.eye(2), "noise_cov": torch.eye(2), "lr": 0.1, "momentum": 0.5}
    given |= changes
    with pytest.raises(ValueError, match=message):
        LinearHeavyBall(given.pop("hessian"), given.pop("noise_cov"), **given)


def test_a_step_that_diverges_is_refused():
    ball = LinearHeavyBall(torch.eye(1), torch.eye(1), lr=3.0, momentum=0.5)
    assert bool(torch.isfinite(ball.stationary_cov("sde")).all())
    with pytest.raises(ValueError, match=r"below 2 \(1 \+ momentum\) = 3, got 3: heavy ball div"):
        ball.stationary_cov("sgd")
    with pytest.raises(ValueError, match="kind must be"):
        ball.stationary_cov("x")
