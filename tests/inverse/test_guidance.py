"""Each guidance against the conditional law it stands for, or its formula written apart."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from heatgrad.diffusion import GaussianDenoiser
from heatgrad.inverse import (
    DPS,
    HardConstraint,
    Instrument,
    PersistentAdam,
    Points,
    PseudoInverse,
    SineResidual,
    SpectralLatent,
    mode_rates,
)
from heatgrad.inverse.sampling.sampler import _Calls
from heatgrad.pde import GaussianRandomField, Grid, Poisson

SIZE = 16  # numbers of the latent below
GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def scene():
    """Return a latent of 4 x 4 modes, three sensors of it, and their matrix, by SciPy's basis."""
    law = GaussianRandomField(Grid(4, "cells"), "neumann", zero_mean=False)
    latent = SpectralLatent.of_law(law)
    points = Points("a", [(0.1, 0.2), (0.6, 0.5), (0.9, 0.3)])
    eye = torch.eye(SIZE, dtype=torch.float64).reshape(SIZE, 1, 4, 4)
    rows = Instrument(law.grid, [points], ("a",))(latent.decode(eye)).T.numpy()
    return latent, [points], rows


def spd(seed, size=SIZE):
    root = np.random.default_rng(seed).standard_normal((size, size + 3))
    return root @ root.T / size


def conditional(S, rows, noise, x, sigma, y):
    """Return E[z | x = z + sigma n, y = rows z + noise n'] for z ~ N(0, S), in NumPy."""
    both = np.concatenate([np.eye(SIZE), rows])
    cov = both @ S @ both.T + np.diag([*[sigma**2] * SIZE, *noise])
    return S @ both.T @ np.linalg.solve(cov, np.concatenate([x, y]))


def guided(guidance, scene, denoiser, noise, values, x, sigma):
    latent, operators, _ = scene
    ready = guidance.prepare(latent, operators, torch.as_tensor(noise), levels=[sigma, 0.0])
    steering = ready.steer(_Calls(denoiser), values, GENERATOR)
    return steering.denoise(x, sigma, is_first=True)


@pytest.mark.parametrize("jacobian", [False, True])
@pytest.mark.parametrize("sigma", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("kind", ["white", "scalar", "diagonal", "full", "axes"])
def test_pseudo_inverse_is_the_conditional_mean(kind, sigma, jacobian, scene):
    """For Gaussian latents the guided denoiser is E[z | noisy z, y], by dense conditioning."""
    S = {
        "white": np.eye(SIZE),
        "scalar": 0.25 * np.eye(SIZE),
        "diagonal": np.diag(np.linspace(0.1, 3, SIZE)),
    }.get(kind, spd(1))
    values, vectors = np.linalg.eigh(S)
    options = {
        "white": {},
        "scalar": {"cov": 0.25},
        "diagonal": {"cov": torch.from_numpy(np.diag(S).copy())},
        "full": {"cov": torch.from_numpy(S)},
        "axes": {"cov": torch.from_numpy(values), "axes": torch.from_numpy(vectors)},
    }[kind]
    denoiser = GaussianDenoiser(torch.zeros(1, 4, 4).double(), cov=torch.from_numpy(S))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, SIZE)) * sigma, rng.standard_normal((2, 3))
    noise = np.array([0.1, 0.2, 0.05])
    found = guided(
        PseudoInverse(**options, jitter=0.0, jacobian=jacobian),
        scene, denoiser, noise, torch.from_numpy(y), torch.from_numpy(x).reshape(2, 1, 4, 4), sigma,
    )  # fmt: skip
    for k in range(2):
        expected = conditional(S, scene[2], noise**2, x[k], sigma, y[k])
        assert np.allclose(found[k].flatten(), expected, atol=1e-9)


def test_without_noise_one_factorisation_serves_all_levels(scene):
    """D_y = D + A' (A A')^-1 (y - A D): the same gain at every level, and A D_y = y."""
    rows = torch.from_numpy(scene[2])
    y = torch.randn(2, 3, generator=GENERATOR, dtype=torch.float64)
    for sigma in (0.01, 1.0, 80.0):
        x = sigma * torch.randn(2, 1, 4, 4, generator=GENERATOR, dtype=torch.float64)
        plain = x / (1 + sigma**2)
        found = guided(
            PseudoInverse(jitter=0.0), scene, lambda x, s: x / (1 + s**2), np.zeros(3), y, x, sigma
        ).flatten(1)
        gain = torch.linalg.pinv(rows)
        expected = plain.flatten(1) + (y - plain.flatten(1) @ rows.T) @ gain.T
        assert torch.allclose(found, expected, atol=1e-10)
        assert torch.allclose(found @ rows.T, y, atol=1e-10)


def test_the_poisson_pair():
    """Reference 7: S = [[1, -1], [-1, 1]] per mode has D_a = (z_a - z_u) / (2 + sigma^2) = -D_u."""
    pair = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    S = torch.kron(pair, torch.eye(4, dtype=torch.float64))
    denoiser = GaussianDenoiser(torch.zeros(2, 2, 2).double(), cov=S)
    sigma = torch.tensor(0.7).double()
    z = torch.randn(3, 2, 2, 2, generator=GENERATOR, dtype=torch.float64)
    D = denoiser(z, sigma)
    assert torch.allclose(D[:, 0], (z[:, 0] - z[:, 1]) / (2 + sigma**2))
    assert torch.allclose(D[:, 1], -D[:, 0])
    # and C = c S with c = sigma^2 / (2 + sigma^2), as the guidance computes it
    values, vectors = torch.linalg.eigh(S)
    C = (vectors * (values * sigma**2 / (values + sigma**2))) @ vectors.T
    assert torch.allclose(C, sigma**2 / (2 + sigma**2) * S, atol=1e-12)


def test_hard_constraint_is_the_orthogonal_projection(scene):
    """The nearest latents with A z = y: NumPy's pseudo-inverse."""
    rows = torch.from_numpy(scene[2])
    y = torch.randn(2, 3, generator=GENERATOR, dtype=torch.float64)
    ready = HardConstraint().prepare(scene[0], scene[1], torch.zeros(3), levels=[1.0, 0.0])
    z = torch.randn(2, 1, 4, 4, generator=GENERATOR, dtype=torch.float64)
    found = ready.steer(_Calls(lambda x, s: x), y, GENERATOR).finished(z).flatten(1)
    expected = z.flatten(1) + (y - z.flatten(1) @ rows.T) @ torch.linalg.pinv(rows).T
    assert torch.allclose(found, expected, atol=1e-10)


def adam_by_hand(latent, rows, y, x, levels, *, zeta, rates, betas):
    """Return what Eqs. (I.23), (I.24) give with Euler steps and D = x / (1 + sigma^2)."""
    m = v = np.zeros(SIZE)
    for step, (sigma, below) in enumerate(pairwise(levels), start=1):
        D = x / (1 + sigma**2)
        ahead = x + (below - sigma) * (x - D) / sigma
        g = 2 * zeta * 16 / 3 * rows.T @ (rows @ D - y) / (1 + sigma**2)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        mhat, vhat = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
        x = ahead - rates * mhat / (np.sqrt(vhat) + 1e-8)
    return x


def test_persistent_adam_is_its_formula(scene):
    """Reference 3.7, written again in NumPy: moments kept, bias corrected, rates by mode."""
    latent, operators, rows = scene
    levels = [3.0, 1.0, 0.3, 0.0]
    y = np.random.default_rng(0).standard_normal(3)
    x = 3 * np.random.default_rng(1).standard_normal(SIZE)
    k = np.hypot(*np.meshgrid(np.arange(4), np.arange(4), indexing="ij")).ravel()
    r = 0.01 / 0.2
    rates = 0.2 * (r + (1 - r) / (1 + np.exp((k - 10) / 10)))
    expected = adam_by_hand(latent, rows, y, x, levels, zeta=0.05, rates=rates, betas=(0.985, 0.98))
    guidance = PersistentAdam({"a": 0.05}, relative=False)
    steering = guidance.prepare(latent, operators, torch.zeros(3)).steer(
        _Calls(lambda x, s: x / (1 + s**2)), torch.from_numpy(y)[None], GENERATOR
    )
    now = torch.from_numpy(x).reshape(1, 1, 4, 4)
    for sigma, below in pairwise(levels):
        D = steering.denoise(now, sigma, is_first=True)
        now = steering.moved(now + (below - sigma) * (now - D) / sigma, sigma, below)
    assert np.allclose(now.flatten(), expected, atol=1e-10)


def test_rates_go_from_low_to_high():
    """W(0) is 1 / (1 + 1/e) of the way from low to high; far modes have the high rate."""
    rates = mode_rates(torch.tensor([0.0, 1000.0], dtype=torch.float64), 0.2, 0.01)
    assert rates[0].item() == pytest.approx(0.01 + 0.19 / (1 + np.exp(-1)))
    assert rates[1].item() == pytest.approx(0.01)


@pytest.mark.parametrize("squared", [False, True])
def test_dps_goes_down_the_gradient(squared, scene):
    """Finite differences of the misfit of D(x), central, of every number."""
    latent, operators, rows = scene
    y = np.array([0.3, -0.2, 0.5])
    x = torch.randn(1, 1, 4, 4, generator=GENERATOR, dtype=torch.float64)
    sigma = 0.8

    def misfit(flat):
        gap = np.linalg.norm(rows @ (flat / (1 + sigma**2)) - y) / np.linalg.norm(y)
        return 1.5 * (gap**2 if squared else gap)

    steering = DPS(1.5, squared=squared).prepare(
        latent, operators, torch.zeros(3), levels=[sigma, 0.0]
    ).steer(_Calls(lambda x, s: x / (1 + s**2)), torch.from_numpy(y)[None], GENERATOR)  # fmt: skip
    steering.denoise(x, sigma, is_first=True)
    found = x - steering.moved(x, sigma, 0.0)
    flat = x.flatten().numpy()
    slope = [(misfit(flat + 1e-6 * e) - misfit(flat - 1e-6 * e)) / 2e-6 for e in np.eye(SIZE)]
    assert np.allclose(found.flatten(), slope, atol=1e-8)


def test_late_rules_of_diffusion_pde(scene):
    """After 80 % of the steps a tenth of the weights, and the residual, here the size of u = a."""
    latent, operators, _ = scene
    sizes = []
    guidance = DPS(
        1.0, relative=False, residual=lambda f: f["a"], residual_weight=1e6,
        late_from=0.8, late_factor=0.1, residual_late=True,
    )  # fmt: skip
    ready = guidance.prepare(latent, operators, torch.zeros(3), levels=[0.0] * 11)
    steering = ready.steer(_Calls(lambda x, s: x), torch.ones(1, 3).double(), GENERATOR)
    x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    for _ in range(10):
        steering.denoise(x, 1.0, is_first=True)
        sizes.append(float((x - steering.moved(x, 1.0, 0.5)).norm()))
    assert sizes[:8] == pytest.approx([sizes[0]] * 8)
    assert sizes[8] == pytest.approx(sizes[9])
    assert sizes[8] > 1e4 * sizes[7]


def test_sine_residual_of_a_mode():
    """sin(2 pi x) sin(pi y): Lap u + k^2 u = (k^2 - 5 pi^2) u, exactly."""
    x, y = Grid(17).points().unbind(-1)
    u = torch.sin(2 * torch.pi * x) * torch.sin(torch.pi * y)
    a = (1 - 5 * torch.pi**2) * u
    assert float(SineResidual(k=1.0)({"a": a[None], "u": u[None]}).abs().max()) < 1e-10


def test_sine_residual_of_finite_differences_is_percents():
    """Reference 3.8: a spectral Laplacian on finite-difference data leaves 3.0 % of a."""
    problem = Poisson(129)
    data = problem.sample(4, torch.Generator().manual_seed(0))
    gap = SineResidual()(data).flatten(1).norm(dim=1)
    share = float((gap / data["a"][:, 1:-1, 1:-1].flatten(1).norm(dim=1)).mean())
    assert 0.015 < share < 0.06


def test_presets():
    """Reference 3.7 and 4: the constants as read in the authors' code."""
    assert DPS.diffusion_pde("helmholtz", SineResidual(1.0)).residual_weight == 1 / 127**2
    assert DPS.diffusion_pde("darcy").weights == {"a": 5.0, "u": 5000.0}
    adam = PersistentAdam.published("poisson", SineResidual())
    assert (adam.weights, adam.residual_weight) == ({"a": 0.05, "u": 0.0}, 5e-4)
    assert (adam.rate_low, adam.rate_high, adam.betas) == (0.2, 0.01, (0.985, 0.98))
    stokes = PersistentAdam.published("navier-stokes")
    assert (stokes.rate_low, stokes.betas, stokes.per_point) == (0.1, (0.97, 0.98), False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DPS(-1.0), "at least 0"),
        (lambda: DPS(late_from=2.0), "from 0 to 1"),
        (lambda: DPS.diffusion_pde("burgers"), "must be one of"),
        (lambda: PersistentAdam(rate_low=0.0), "rate_low must be positive"),
        (lambda: PersistentAdam(betas=(1.0, 0.9)), "below 1"),
        (lambda: PersistentAdam.published("darcy"), "must be poisson"),
        (lambda: PseudoInverse(cov=-1.0), "at least 0"),
        (lambda: PseudoInverse(jitter=-1.0), "jitter"),
        (lambda: PseudoInverse(axes=torch.eye(2)), "one variance each"),
        (lambda: HardConstraint(DPS(), renew=True), "renew must be False"),
    ],
)
def test_refusals(make, message):
    """One clear line each."""
    with pytest.raises(ValueError, match=message):
        make()


def test_refusals_of_scenes(scene):
    """What fits no latent or no sensors is said when it is set up."""
    latent, operators, _ = scene
    noise = torch.tensor([0.1, 0.0, 0.0])
    with pytest.raises(ValueError, match="hold exactly have no noise"):
        HardConstraint().prepare(latent, operators, noise, levels=[1.0, 0.0])
    with pytest.raises(ValueError, match="some sensors have no noise"):
        PseudoInverse(jitter=0.0).prepare(latent, operators, noise)
    with pytest.raises(ValueError, match="none for a"):
        DPS({"u": 1.0}).prepare(latent, operators, noise, levels=[1.0, 0.0])
    with pytest.raises(ValueError, match="16 numbers"):
        PseudoInverse(cov=torch.ones(7)).prepare(latent, operators, noise)

    class Bare:
        grid, names, shape, num_numbers = latent.grid, latent.names, latent.shape, 16
        encode, decode = staticmethod(latent.encode), staticmethod(latent.decode)

    with pytest.raises(ValueError, match="need a spectral latent"):
        PersistentAdam().prepare(Bare(), operators, noise)
