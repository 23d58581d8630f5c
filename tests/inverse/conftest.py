"""Small linear problems and the truth about them, by dense linear algebra in NumPy."""

import numpy as np
import pytest
import torch

from heatgrad.inverse import Points, SolvedLatent, SpectralLatent, Square, decode_in_parts
from heatgrad.pde import Poisson


def _dense(latent, names):
    """Return the matrix and the constant of `decode`, fields stacked, column by column."""
    size = int(np.prod(latent.shape))
    zero = torch.zeros(1, *latent.shape, dtype=torch.float64)
    eye = torch.eye(size, dtype=torch.float64).reshape(size, *latent.shape)
    constant = np.concatenate([latent.decode(zero)[k].numpy().ravel() for k in names])
    fields = decode_in_parts(latent, eye)
    columns = np.concatenate([fields[k].flatten(1).numpy() for k in names], 1)
    return (columns - constant).T, constant


class Problem:
    """Poisson on few nodes, its exact prior, and sensors on nodes."""

    def __init__(self, n=17, modes=12, field="u", num=12, seed=3):
        self.pde = Poisson(n)
        spectral = SpectralLatent.of_law(self.pde.law, truncation=Square(modes))
        self.latent = SolvedLatent(spectral, self.pde.solve)
        generator = torch.Generator().manual_seed(seed)
        self.points = Points.on_grid(field, self.pde.grid, num, generator, inside=True)
        index = (self.points.points * (n - 1)).round().long()
        self.places = (index[:, 0] * n + index[:, 1]).numpy()
        self.decoder, _ = _dense(self.latent, ("a", "u"))
        self.rows = self.decoder[(0 if field == "a" else n * n) + self.places]
        # The jitter that is documented: relative to the mean prior variance of the sensors.
        self.jitter = 1e-8 * np.mean(np.sum(self.rows**2, 1))

    def gaussian(self, values, noise=0.0):
        """Return the mean and covariance of z ~ N(0, I) given values, by the textbook formula."""
        gram = self.rows @ self.rows.T + (noise**2 + self.jitter) * np.eye(len(self.rows))
        gain = np.linalg.solve(gram, self.rows).T
        return gain @ values, np.eye(self.rows.shape[1]) - gain @ self.rows


@pytest.fixture(scope="session")
def dense():
    """Return the function `(latent, names) -> matrix, constant`."""
    return _dense


@pytest.fixture(scope="session")
def problem():
    """Return the class of small problems."""
    return Problem
