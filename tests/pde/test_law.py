"""Gaussian random fields, against the published generators and dense covariances."""

import math

import numpy as np
import pytest
import torch
from scipy import fft

from heatgrad.laplacian import Laplacian
from heatgrad.pde import GaussianRandomField, Grid


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def dense_covariance(law):
    """T^-1 diag(std^2) T for the matrix of the transform, at the grid's points."""
    m = law.std.shape[0]
    lap = Laplacian(dims=(-2, -1), boundary=law.boundary)
    eye = torch.eye(m * m, dtype=torch.float64).reshape(-1, m, m)
    matrix = lap.transform(eye).flatten(1).mT  # coefficients of each unit field
    return (matrix.mH @ torch.diag(law.std.flatten() ** 2).to(matrix) @ matrix).real


def test_the_published_neumann_law():
    """S tau^(alpha-1) (pi^2 |k|^2 + tau^2)^(-alpha/2) xi by SciPy's inverse DCT-II, S = n = 128."""
    law = GaussianRandomField(Grid(128), "neumann")
    xi = torch.randn(2, 128, 128, generator=stream(), dtype=torch.float64).numpy()
    k = np.arange(128)
    spectrum = 128 * 3.0 * (math.pi**2 * (k[:, None] ** 2 + k**2) + 9) ** -1.0
    spectrum[0, 0] = 0
    truth = fft.idctn(spectrum * xi, type=2, norm="ortho", axes=(-2, -1))
    found = law.sample(2, stream())
    np.testing.assert_allclose(found.numpy(), truth, rtol=0, atol=1e-13)


def test_published_size_of_the_neumann_law():
    """The rms is .27 to .29 and the maximum about 1.2 to 2.15."""
    law = GaussianRandomField(Grid(128), "neumann")
    fields = law.sample(200, stream())
    assert 0.26 < fields.std() < 0.3
    assert 1.1 < fields.abs().amax() < 2.2
    exact = math.sqrt(float((law.std**2).sum())) / 128
    # 200 fields, few effective modes each: the mean square moves by some percent.
    assert float(fields.square().mean().sqrt()) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("n", [6, 5])
def test_the_published_periodic_law(n):
    """Re ifft2(S^2 sqrt2 tau^(alpha-1) (...)^(-alpha/2) (xi + i eta)), S = n: covariance exact.

    Every unit xi and i eta gives a column; even n has Nyquist modes, odd n has none.
    """
    law = GaussianRandomField(Grid(n, "torus"), "periodic", alpha=2.5, tau=7.0, scale=math.sqrt(2))
    k = np.fft.fftfreq(n, 1 / n)
    symbol = 4 * math.pi**2 * (k[:, None] ** 2 + k**2)
    spectrum = n**2 * math.sqrt(2) * 7.0**1.5 * (symbol + 49) ** -1.25
    spectrum[0, 0] = 0
    unit = np.eye(n * n).reshape(-1, n, n)
    columns = [np.fft.ifft2(spectrum * part).real.reshape(n * n, -1) for part in (unit, 1j * unit)]
    truth = sum(c.T @ c for c in columns)
    np.testing.assert_allclose(dense_covariance(law).numpy(), truth, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("grid", "boundary"),
    [
        (Grid(7, "nodes"), "neumann"),
        (Grid(6, "cells"), "neumann"),
        (Grid(8, "nodes"), "dirichlet"),
        (Grid(6, "torus"), "periodic"),
        (Grid(5, "torus"), "periodic"),
    ],
)
def test_covariance_and_draws(grid, boundary):
    """At grid points the covariance is T^-1 diag(std^2) T; 40,000 draws agree to 5 errors."""
    law = GaussianRandomField(grid, boundary, alpha=1.5, tau=2.0, zero_mean=False)
    truth = dense_covariance(law)
    points, draws = grid.points(), law.sample(40_000, stream())
    if boundary == "dirichlet":
        assert not draws[:, 0].any()
        assert not draws[..., -1].any()
        points, draws = points[1:-1, 1:-1], draws[:, 1:-1, 1:-1]
    found = law.covariance(points.reshape(-1, 2))
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-13)
    flat = draws.flatten(1)
    sampled = flat.mT @ flat / len(flat)
    scale = torch.sqrt((truth**2 + truth.diag()[:, None] * truth.diag()) / len(flat))
    assert float(((sampled - truth) / scale).abs().max()) < 5


def test_one_law_on_all_grids():
    """The covariance of two places hardly moves from 32 to 64 points: modes are added, not scaled.

    The tail of sum k^-4 over modes beyond 32 is of the order 32^-2.
    """
    points = torch.tensor([[0.2, 0.3], [0.7, 0.4]], dtype=torch.float64)
    for kind, boundary in (("cells", "neumann"), ("torus", "periodic"), ("nodes", "dirichlet")):
        coarse, fine = (
            GaussianRandomField(Grid(n, kind), boundary).covariance(points) for n in (33, 65)
        )
        torch.testing.assert_close(coarse, fine, rtol=0, atol=2e-3 * float(fine.max()))


def test_type_device_and_repeatability():
    law = GaussianRandomField(Grid(8), "neumann")
    one, two = law.sample(3, stream(5)), law.sample(3, stream(5))
    assert torch.equal(one, two)
    assert one.dtype == torch.float64
    single = law.sample(3, stream(5), dtype=torch.float32, device="cpu")
    torch.testing.assert_close(single, one.float())
    assert law.sample(0, stream()).shape == (0, 8, 8)
    assert not law.std[0, 0]
    assert GaussianRandomField(Grid(8), "neumann", zero_mean=False).std[0, 0] > 0


@pytest.mark.parametrize(
    ("grid", "boundary", "options", "message"),
    [
        (Grid(4), "periodic", {}, "periodic field must stand on a grid of torus, got nodes"),
        (Grid(4, "cells"), "dirichlet", {}, "must stand on a grid of nodes"),
        (Grid(2), "dirichlet", {}, "n of a dirichlet field must be at least 3"),
        (Grid(4), "neumann", {"alpha": 1.0}, "alpha must be finite and above 1, got 1.0"),
        (Grid(4), "neumann", {"tau": 0.0}, "tau must be finite and positive, got 0.0"),
        (Grid(4), "neumann", {"scale": -1.0}, "scale must be finite and at least 0"),
        (Grid(4), "robin", {}, "boundary must be one of|Type-check error"),
    ],
)
def test_options_are_checked(grid, boundary, options, message):
    with pytest.raises(ValueError, match=message):
        GaussianRandomField(grid, boundary, **options)


def test_points_are_checked():
    law = GaussianRandomField(Grid(4), "neumann")
    with pytest.raises(ValueError, match=r"shape \(num, 2\), got \(3,\)"):
        law.covariance(torch.zeros(3))
    for bad in (1.5, math.nan):
        with pytest.raises(ValueError, match="must lie in the unit square"):
            law.covariance(torch.tensor([[0.5, bad]]))
    with pytest.raises(ValueError, match="num must be at least 0, got -1"):
        law.sample(-1, stream())
