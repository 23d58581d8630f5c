"""Bases against SciPy and dense matrices, truncations, whitening."""

import math

import numpy as np
import pytest
import scipy.fft
import torch

from heatgrad.inverse import (
    Basis,
    Hyperbolic,
    SolvedLatent,
    SpectralLatent,
    Square,
    from_modes,
    to_modes,
)
from heatgrad.inverse.latents import basis as basis_module
from heatgrad.inverse.latents.basis import in_mode_order, wavenumbers
from heatgrad.pde import GaussianRandomField, Grid, Poisson

LAWS = [("neumann", "cells"), ("dirichlet", "nodes"), ("periodic", "torus")]


def fields(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cosines_and_sines_are_scipys():
    """SciPy's dctn (type 2) and dstn (type 1) with norm="ortho"; sines of the inner nodes."""
    f = fields(3, 9, 9)
    cosines = scipy.fft.dctn(f.numpy(), type=2, norm="ortho", axes=(1, 2))
    sines = scipy.fft.dstn(f[:, 1:-1, 1:-1].numpy(), type=1, norm="ortho", axes=(1, 2))
    assert np.allclose(to_modes(f, "neumann"), cosines, atol=1e-13)
    assert np.allclose(to_modes(f, "dirichlet"), sines, atol=1e-13)


@pytest.mark.parametrize("n", [6, 7])
def test_periodic_modes_are_cosine_plus_sine(n):
    """The definition, (cos + sin)(2 pi k.x) / n, k in the order 0, 1, -1, 2, ...; Nyquist once."""
    k = wavenumbers(n, "periodic").numpy()
    x = np.arange(n) / n
    theta = 2 * np.pi * (k[:, None, None, None] * x[:, None] + k[None, :, None, None] * x[None, :])
    functions = (np.cos(theta) + np.sin(theta)) / n
    f = fields(n, n)
    expected = np.einsum("klxy,xy->kl", functions, f.numpy())
    assert np.allclose(to_modes(f, "periodic"), expected, atol=1e-13)
    assert sorted(k % n) == list(range(n))
    if n % 2 == 0:
        assert k[-1] == n / 2
        assert k.tolist().count(n / 2) == 1


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet", "periodic"])
def test_bases_are_orthonormal(boundary):
    """The decoded unit vectors have the identity as Gram matrix, and are undone by `to_modes`."""
    count = 6
    unit = torch.eye(count**2, dtype=torch.float64).reshape(-1, count, count)
    functions = from_modes(unit, boundary)
    gram = functions.flatten(1) @ functions.flatten(1).T
    assert torch.allclose(gram, torch.eye(count**2, dtype=torch.float64), atol=1e-13)
    assert torch.allclose(to_modes(functions, boundary), unit, atol=1e-13)


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet"])
@pytest.mark.parametrize("kept", [5, None])
def test_products_and_ffts_agree(boundary, kept, monkeypatch):
    """The fast path of small grids against the FFTs of large ones."""
    f = fields(2, 12, 12)
    count = 12 if boundary == "neumann" else 10
    fast = to_modes(f, boundary, count=kept)
    back = from_modes(fast, boundary, count=count)
    monkeypatch.setattr(basis_module, "_DENSE", 0)
    assert torch.allclose(to_modes(f, boundary, count=kept), fast, atol=1e-13)
    assert torch.allclose(from_modes(fast, boundary, count=count), back, atol=1e-13)


@pytest.mark.parametrize("n", [5, 6])
def test_stationary_laws_are_white_in_the_periodic_basis(n):
    """Of any stationary covariance, isotropic or not, the matrix in this basis is diag E|F|^2."""
    k = np.fft.fftfreq(n, 1 / n)
    power = 1 / (1 + k[:, None] ** 2 + 3 * k[None, :] ** 2 + k[:, None] * k[None, :])
    power = (power + np.roll(power[::-1, ::-1], (1, 1), (0, 1))) / 2  # of a real field
    kernel = np.fft.ifft2(power).real
    lag = (np.arange(n)[:, None] - np.arange(n)) % n
    cov = kernel[lag[:, None, :, None], lag[None, :, None, :]].reshape(n * n, n * n)
    once = to_modes(torch.from_numpy(cov).reshape(n * n, n, n), "periodic").reshape(n * n, -1)
    twice = to_modes(once.T.reshape(n * n, n, n), "periodic").reshape(n * n, -1)
    expected = in_mode_order(torch.from_numpy(power)).flatten()
    assert torch.allclose(twice, torch.diag(expected), atol=1e-12)


def test_hyperbolic_presets_are_the_published_ones():
    """Reference: 44 x 44 with the dense block first, modes to 113, an empty corner."""
    for base, bands, size, needed in (
        (24, (6, 2), 32, 72),
        (38, (4, 2), 44, 114),
        (54, (10,), 64, 108),
    ):
        kept = Hyperbolic(base, bands)
        assert (kept.size, kept.needed) == (size, needed)
        places = kept.places().reshape(-1, 2)
        places = places[places[:, 0] >= 0]
        assert len(torch.unique(places, dim=0)) == len(places)
        assert len(places) == base**2 + 2 * base * sum(bands)
    places = Hyperbolic(38, (4, 2)).places()
    assert places[37, 37].tolist() == [37, 37]
    assert places[38 + 4 + 1, 5].tolist() == [1, 2 * 38 + 5]  # line 1 of the second band
    assert places[5, 38 + 3].tolist() == [38 + 5, 3]
    assert places[43, 43].tolist() == [-1, -1]


@pytest.mark.parametrize("truncation", [Square(6), Hyperbolic(4, (2, 1)), None])
@pytest.mark.parametrize(("boundary", "kind"), LAWS)
def test_decode_and_encode_undo_each_other(boundary, kind, truncation):
    """Z from decoded fields is z, in every cell that holds a mode that varies."""
    law = GaussianRandomField(Grid(14, kind), boundary, alpha=2.0, tau=3.0)
    latent = SpectralLatent.of_law(law, truncation=truncation)
    z = fields(4, *latent.shape)
    back = latent.encode(latent.decode(z))
    assert torch.allclose(back, torch.where(latent.std > 0, z, 0.0), atol=1e-11)
    assert int(latent.wavenumbers.isfinite().sum()) == latent.num_numbers


@pytest.mark.parametrize(("boundary", "kind"), LAWS)
def test_the_law_is_white(boundary, kind):
    """Encoded draws of the law have mean 0 and variance 1: of each of 36 modes, 5 errors."""
    law = GaussianRandomField(Grid(12, kind), boundary, alpha=2.0, tau=3.0)
    latent = SpectralLatent.of_law(law, truncation=Square(6))
    num = 4000
    z = latent.encode({"a": law.sample(num, torch.Generator().manual_seed(0))}).flatten(1)
    varies = latent.std.flatten() > 0
    z = z[:, varies]
    cov = z.T @ z / num
    assert float((cov - torch.eye(len(cov))).abs().max()) < 5 * math.sqrt(2 / num)
    assert float(z.mean(0).abs().max()) < 5 / math.sqrt(num)


@pytest.mark.parametrize(("boundary", "kind"), LAWS)
@pytest.mark.parametrize("truncation", [Square(5), Hyperbolic(4, (1,))])
def test_pointwise_variance(boundary, kind, truncation, dense):
    """The row norms of the dense matrix of `decode`."""
    law = GaussianRandomField(Grid(11, kind), boundary, alpha=2.0, tau=3.0)
    latent = SpectralLatent.of_law(law, truncation=truncation)
    matrix, _ = dense(latent, ("a",))
    assert np.allclose(latent.variance("a").flatten(), (matrix**2).sum(1), atol=1e-12)


def test_a_joint_fit_whitens_every_mode():
    """By definition: deviation `scale` in every varying cell of both channels, padding 0."""
    problem = Poisson(17)
    data = problem.sample(60, torch.Generator().manual_seed(0))
    bases = {"a": Basis("neumann", Square(8)), "u": Basis("dirichlet", Hyperbolic(4, (1, 1)))}
    latent = SpectralLatent.fit(data, problem.grid, bases, scale=0.5)
    assert latent.shape == (2, 8, 8)
    assert latent.num_numbers == 64 + 16 + 2 * 8
    std = latent.encode(data).std(0)
    assert torch.allclose(std[latent.std > 0], torch.tensor(0.5, dtype=torch.float64))
    assert not std[latent.std == 0].any()
    assert latent.std[0, 0, 0] == 0  # the mean of a does not vary
    assert not latent.std[1, 6:].any()  # padding


def test_whitened_poisson_pair_is_degenerate():
    """Reference 1.2: with one sine basis, u = L^-1 a gives z_u = -z_a per mode."""
    law = GaussianRandomField(Grid(17), "dirichlet", alpha=2.0, tau=3.0)
    a = law.sample(40, torch.Generator().manual_seed(0))
    data = {"a": a, "u": Poisson(17).solve(a)}
    bases = {name: Basis("dirichlet", Square(8)) for name in data}
    z = SpectralLatent.fit(data, Grid(17), bases).encode(data)
    assert torch.allclose(z[:, 1], -z[:, 0], atol=1e-9)


def test_cosines_need_fewer_modes_than_sines_for_a_neumann_field():
    """Reference 6: truncation of a at 44 modes leaves 2.1 % with cosines, 10.3 % with sines."""
    law = GaussianRandomField(Grid(128), "neumann", alpha=2.0, tau=3.0)
    a = law.sample(40, torch.Generator().manual_seed(0))
    for boundary, kept, percent in (
        ("neumann", 44, 2.1),
        ("neumann", 64, 1.35),
        ("dirichlet", 44, 10.3),
        ("dirichlet", 64, 6.0),
    ):
        count = 128 if boundary == "neumann" else 126
        shown = from_modes(to_modes(a, boundary, count=kept), boundary, count=count)
        inside = slice(None) if boundary == "neumann" else slice(1, -1)
        gap = (shown - a)[:, inside, inside].norm(dim=(1, 2)) / a.norm(dim=(1, 2))
        assert 100 * float(gap.mean()) == pytest.approx(percent, rel=0.15)  # masks, 40 fields


def test_dtype_follows_and_gradients_flow():
    """float32 in, float32 out; the gradient of a linear decoder is its transpose."""
    latent = SpectralLatent.of_law(GaussianRandomField(Grid(9), "dirichlet"))
    assert latent.decode(torch.zeros(1, *latent.shape))["a"].dtype == torch.float32
    z = fields(1, *latent.shape).requires_grad_()
    f = fields(1, 9, 9, seed=1)
    (slope,) = torch.autograd.grad((latent.decode(z)["a"] * f).sum(), z)
    assert torch.allclose(slope[0, 0], latent.std[0] * to_modes(f, "dirichlet")[0])


def test_solved_latents_solve():
    """The decoded pair has the residual of an exact pair, that of the other discretisation."""
    problem = Poisson(17)
    latent = SolvedLatent(SpectralLatent.of_law(problem.law), problem.solve)
    pair = latent.decode(fields(2, *latent.shape))
    assert torch.equal(pair["u"], problem.solve(pair["a"]))
    assert latent.names == ("a", "u")
    assert torch.allclose(latent.encode(pair), latent.latent.encode(pair))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Square(0), "at least 1 mode"),
        (lambda: Hyperbolic(4, (5,)), "from 1 to 4 lines"),
        (lambda: Basis("robin"), "boundary must be one of"),
        (lambda: Basis("periodic").on(Grid(8)), "needs a grid of torus"),
        (lambda: Basis("dirichlet", Square(8)).on(Grid(8)), "has 6; keep fewer"),
        (lambda: SpectralLatent(Grid(4), {}, torch.zeros(0), torch.zeros(0)), "at least one field"),
        (
            lambda: SpectralLatent(
                Grid(4), {"a": Basis("neumann")}, torch.zeros(1, 4, 4), -torch.ones(1, 4, 4)
            ),
            "at least 0, got a negative",
        ),
        (
            lambda: SpectralLatent.fit(
                {"a": torch.zeros(1, 4, 4)}, Grid(4), {"a": Basis("neumann")}
            ),
            "at least 2 fields",
        ),
    ],
)
def test_refusals(make, message):
    """One clear line each."""
    with pytest.raises(ValueError, match=message):
        make()


def test_fields_are_checked():
    """Missing, misshapen and NaN fields are named."""
    latent = SpectralLatent.of_law(GaussianRandomField(Grid(9), "dirichlet"))
    with pytest.raises(ValueError, match="must hold 'a', got b"):
        latent.encode({"b": torch.zeros(1, 9, 9)})
    with pytest.raises(ValueError, match=r"shape \(num, 9, 9\), got \(1, 8, 8\)"):
        latent.encode({"a": torch.zeros(1, 8, 8)})
    with pytest.raises(ValueError, match="finite"):
        latent.encode({"a": torch.full((1, 9, 9), math.nan)})
    with pytest.raises(ValueError, match="z must have shape"):
        latent.decode(torch.zeros(1, 9, 9))
