"""SGD on least squares with the noise it really has, against all its batches."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.fokker_planck.linear.least_squares import least_squares_cov
from heatgrad.fokker_planck.linear.sgd import LinearSGD

F64 = torch.float64


def drawn(seed, count, p):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, p)) * rng.uniform(0.5, 1.5, p)
    return torch.from_numpy(x), torch.from_numpy(rng.standard_normal(count))


def enumerated(x, y, lr, batch_size, replacement):
    """Return vec^-1 of (I - E[M (x) M])^-1 eta^2 vec E[g g'] over all batches, and the radius."""
    x, y = x.numpy(), y.numpy()
    p = x.shape[1]
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    if replacement:
        batches = list(itertools.product(range(len(x)), repeat=batch_size))
    else:
        batches = list(itertools.combinations(range(len(x)), batch_size))
    twice, noise = np.zeros((p * p, p * p)), np.zeros((p, p))
    for batch in batches:
        part = x[list(batch)]
        step = np.eye(p) - lr * part.T @ part / batch_size
        slope = part.T @ (part @ best - y[list(batch)]) / batch_size
        twice += np.kron(step, step) / len(batches)
        noise += np.outer(slope, slope) / len(batches)
    radius = np.abs(np.linalg.eigvals(twice)).max()
    cov = np.linalg.solve(np.eye(p * p) - twice, lr**2 * noise.ravel()).reshape(p, p)
    return cov, radius


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(4, 6),
    p=st.integers(1, 3),
    batch_size=st.integers(1, 3),
    replacement=st.booleans(),
    lr=st.floats(0.01, 0.8),
)
def test_the_moments_are_those_of_all_batches(seed, count, p, batch_size, replacement, lr):
    """Every batch is listed, with and without replacement; stable and unstable alike."""
    x, y = drawn(seed, count, p)
    want, radius = enumerated(x, y, lr, batch_size, replacement)
    found = least_squares_cov(x, y, lr=lr, batch_size=batch_size, replacement=replacement)
    assert found.spectral_radius == pytest.approx(radius, rel=1e-9)
    assert found.status == ("stable" if radius < 1 else "unstable")
    if radius < 1 - 1e-6:
        scale = 1e-8 * abs(want).max() / (1 - radius)
        np.testing.assert_allclose(found.value, want, rtol=0, atol=scale)
    elif radius > 1:
        assert found.value is None


def test_one_dimension_by_hand():
    """S = eta s sigma^2 / (2 h - eta (h^2 + s (m4 - h^2))), the fourth moment m4 of the inputs."""
    x, y = torch.tensor([[1.0], [2.0], [1.0]]), torch.tensor([1.0, 1.0, -1.0])
    h, m4 = 2.0, 6.0
    best = 2 / 6
    noise = sum((a * (a * best - b)) ** 2 for a, b in ((1, 1), (2, 1), (1, -1))) / 3
    for batch_size, replacement, s in ((1, True, 1.0), (2, True, 0.5), (2, False, 0.25)):
        found = least_squares_cov(x, y, lr=0.1, batch_size=batch_size, replacement=replacement)
        want = 0.1 * s * noise / (2 * h - 0.1 * (h**2 + s * (m4 - h**2)))
        assert float(found.value) == pytest.approx(want, rel=1e-12)
        assert float(found.minimizer) == pytest.approx(best)
        assert float(found.noise_cov) == pytest.approx(noise)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_true_minibatch_sgd_is_simulated(batch_size, replacement):
    """50,000 replicas of SGD on 6 samples; each entry within 5 standard errors, batch 1 too.

    At batch 1 the formula without the weights' share in the noise is off by many of them.
    """
    x, y = drawn(1, 6, 2)
    lr, replicas = 0.25, 50_000
    generator = torch.Generator().manual_seed(2)
    found = least_squares_cov(x, y, lr=lr, batch_size=batch_size, replacement=replacement)
    assert found.spectral_radius < 0.94
    theta = found.minimizer.expand(replicas, 2).clone()
    for _ in range(200):
        if replacement:
            chosen = torch.randint(6, (replicas, batch_size), generator=generator)
        else:
            chosen = torch.rand(replicas, 6, generator=generator).argsort(1)[:, :batch_size]
        part = x[chosen]
        residual = torch.einsum("nbp,np->nb", part, theta) - y[chosen]
        theta = theta - lr * torch.einsum("nbp,nb->np", part, residual) / batch_size
    away = theta - found.minimizer
    products = away[:, :, None] * away[:, None]
    error = products.std(0) / math.sqrt(replicas)
    assert bool(((products.mean(0) - found.value).abs() < 5 * error).all())
    if batch_size == 1:
        plain = LinearSGD(found.hessian, found.noise_cov, lr=lr)
        assert bool(((plain.stationary_cov("sgd") - found.value).abs() > 5 * error).any())


def test_small_steps_forget_that_the_noise_depends_on_the_weights():
    """The distance to the additive formulas is of order 1 in eta, relatively."""
    x, y = drawn(3, 12, 3)
    rates = [2.0**-k for k in range(5, 11)]
    for kind in ("sde", "sgd"):
        gaps = []
        for lr in rates:
            found = least_squares_cov(x, y, lr=lr, batch_size=2)
            plain = LinearSGD(found.hessian, found.noise_cov, lr=lr, batch_size=2)
            gaps.append(float((found.value - plain.stationary_cov(kind)).norm() / lr))
        assert np.polyfit(np.log(rates), np.log(gaps), 1)[0] == pytest.approx(1, abs=0.1)
    tiny = least_squares_cov(x, y, lr=1e-10, batch_size=2)
    plain = LinearSGD(tiny.hessian, tiny.noise_cov, lr=1e-10, batch_size=2)
    torch.testing.assert_close(tiny.value, plain.stationary_cov(), rtol=1e-8, atol=0)


def test_large_batches_leave_the_additive_noise():
    """As B grows M is no longer random: S tends to the additive formula, relatively as 1 / B."""
    x, y = drawn(4, 10, 2)
    gaps = []
    for batch_size in (10, 100, 1000):
        found = least_squares_cov(x, y, lr=0.2, batch_size=batch_size)
        plain = LinearSGD(found.hessian, found.noise_cov, lr=0.2, batch_size=batch_size)
        want = plain.stationary_cov("sgd")
        gaps.append(float((found.value - want).norm() / want.norm()))
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.2)
    assert gaps[1] / gaps[2] == pytest.approx(10, rel=0.05)


def test_the_whole_data_set_and_an_exact_fit_have_no_noise():
    """Batches without replacement of all samples; residuals of zero: interpolation is absorbing."""
    x, y = drawn(5, 6, 2)
    whole = least_squares_cov(x, y, lr=0.1, batch_size=6, replacement=False)
    assert float(whole.value.abs().max()) == 0
    fitted = least_squares_cov(x, x @ torch.ones(2, dtype=F64), lr=0.1, batch_size=1)
    assert float(fitted.value.abs().max()) < 1e-28


def test_a_step_that_sgd_does_not_survive_while_gradient_descent_does():
    """E M M' > 1 at batch 1 although |1 - eta h| < 1: status, no number."""
    x, y = torch.tensor([[0.1], [0.1], [3.0]]), torch.tensor([1.0, -1.0, 0.5])
    lr = 0.5
    found = least_squares_cov(x, y, lr=lr, batch_size=1)
    assert abs(1 - lr * float(found.hessian)) < 1
    assert found.status == "unstable"
    assert found.value is None
    assert found.spectral_radius > 1
    whole = least_squares_cov(x, y, lr=lr, batch_size=3, replacement=False)
    assert whole.status == "stable"


def test_sixty_parameters():
    """The equation itself, S = E[M S M] + eta^2 E[g g'], over the samples of batch 1."""
    x, y = drawn(6, 100, 60)
    lr = 2e-3
    found = least_squares_cov(x, y, lr=lr, batch_size=1)
    assert found.status == "stable"
    s = found.value
    along = x @ s  # M S M = S - eta (H S + S H) + eta^2 x x'S x x'
    fourth = (x * (along * x).sum(1, keepdim=True)).T @ x / 100
    change = lr * (fourth + found.noise_cov) - found.hessian @ s - s @ found.hessian
    assert float(change.abs().max()) < 1e-10 * float(found.noise_cov.abs().max()) * lr
    assert float(torch.linalg.eigvalsh(s)[0]) > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.ones(4)}, r"x must have shape \(samples, p\), got \(4,\)"),
        ({"x": torch.full((4, 2), math.nan)}, "x must be finite"),
        ({"x": torch.ones(4, 2)}, "x must have full column rank, got singular values from"),
        ({"x": torch.eye(4)[:, :3].T}, r"y must have shape \(3,\), got \(4,\)"),
        ({"x": torch.ones(4, 5)}, "at least as many rows as columns, got 4 samples of 5"),
        ({"x": torch.ones(4, 81)}, "at most 80 columns, got 81: the system has"),
        ({"y": torch.ones(4, 1)}, r"y must have shape \(4,\), got \(4, 1\)"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"batch_size": 5, "replacement": False}, "at most the 4 samples without replacement"),
    ],
)
def test_bad_arguments_give_one_clear_line(changes, message):
    given = {"x": torch.eye(4)[:, :2], "y": torch.ones(4), "lr": 0.1, "batch_size": 1, **changes}
    with pytest.raises(ValueError, match=message):
        least_squares_cov(given.pop("x"), given.pop("y"), **given)
