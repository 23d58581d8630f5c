"""White latents decode to functions as smooth as the data; white noise on a grid does not."""

import numpy as np
import pytest
import torch

from heatgrad.inverse import (
    SolvedLatent,
    SpectralLatent,
    decode_in_parts,
    expected_sobolev_square,
    sobolev_square,
)
from heatgrad.laplacian import Laplacian
from heatgrad.pde import GaussianRandomField, Grid, Poisson

SIZES = (17, 33, 65)


def laplacian(u):
    """Return the 5-point Laplacian at the inner nodes of the unit square."""
    return (
        Laplacian(dims=(-2, -1), boundary="dirichlet")(u[..., 1:-1, 1:-1]) * (u.shape[-1] - 1) ** 2
    )


def slope(values):
    """Return the exponent of growth with 1 / h."""
    return np.polyfit(np.log([n - 1 for n in SIZES]), np.log(values), 1)[0]


def test_expected_norm_is_the_sum():
    """Monte Carlo over z ~ N(0, I) against sum (1 + |k|^2)^s s_k^2, 4 standard errors."""
    generator = torch.Generator().manual_seed(0)
    for boundary, kind in (("neumann", "cells"), ("dirichlet", "nodes"), ("periodic", "torus")):
        latent = SpectralLatent.of_law(GaussianRandomField(Grid(12, kind), boundary))
        z = torch.randn(2000, *latent.shape, generator=generator, dtype=torch.float64)
        for order in (0.0, 0.5, 2.0):
            norms = sobolev_square(latent.decode(z)["a"], boundary, order)
            error = float(norms.std()) / 2000**0.5
            assert (
                abs(float(norms.mean()) - expected_sobolev_square(latent, "a", order)) < 4 * error
            )


def test_norm_of_order_0_is_the_mean_square():
    """Parseval, on cells and on the torus."""
    f = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for boundary in ("neumann", "periodic"):
        assert torch.allclose(sobolev_square(f, boundary, 0.0), f.square().mean((1, 2)))


def test_norm_stays_bounded_exactly_where_the_data_have_that_order():
    """s_k ~ |k|^-2 in the plane: sum k (1 + k^2)^s k^-4 converges for s < 1, and grows above."""
    norms = {
        order: [
            expected_sobolev_square(
                SpectralLatent.of_law(GaussianRandomField(Grid(n), "dirichlet")), "a", order
            )
            for n in SIZES
        ]
        for order in (0.0, 0.5, 2.0)
    }
    assert abs(slope(norms[0.0])) < 0.1
    assert 0 < slope(norms[0.5]) < 0.3  # the tail of the sum is of order h
    assert 1.7 < slope(norms[2.0]) < 2.3  # h^(2 - 2 s)


def test_laplacian_of_decoded_noise_is_bounded_and_of_grid_noise_grows():
    """Lap u of decoded white latents is the data's a; of grid noise it is sqrt(20) h^-2."""
    generator = torch.Generator().manual_seed(0)
    decoded, grid_noise = [], []
    for n in SIZES:
        problem = Poisson(n)
        latent = SolvedLatent(SpectralLatent.of_law(problem.law), problem.solve)
        z = torch.randn(30, *latent.shape, generator=generator, dtype=torch.float64)
        u = decode_in_parts(latent, z)["u"]
        decoded.append(float(laplacian(u).square().mean().sqrt()))
        white = torch.randn(30, n, n, generator=generator, dtype=torch.float64)
        grid_noise.append(float(laplacian(white).square().mean().sqrt()))
    assert abs(slope(decoded)) < 0.1
    assert abs(slope(grid_noise) - 2) < 0.05
    assert grid_noise[-1] == pytest.approx(20**0.5 * 64**2, rel=0.03)
