"""Shared parts of these tests: small data sets, and models that remember what they saw."""

import pytest
import torch
from torch import nn

from heatgrad.data import Dataset
from heatgrad.data.noise import with_label_noise
from heatgrad.models import ByteDropout


def _blobs(num_train=48, num_test=20, *, noise=0.0, seed=0):
    """Return two Gaussian clusters in the plane, with a third column that numbers the rows."""
    generator = torch.Generator().manual_seed(seed)
    count = num_train + num_test
    y = torch.arange(count) % 2
    x = torch.randn(count, 2, generator=generator) + 2 * y[:, None]
    x = torch.cat([x, torch.arange(count)[:, None].float()], dim=1)
    data = Dataset.from_clean(
        x_train=x[:num_train],
        y_train=y[:num_train],
        x_test=x[num_train:],
        y_test=y[num_train:],
        num_classes=2,
    )
    return with_label_noise(data, noise, seed=seed, train=True, test=True) if noise else data


class _Watched(nn.Module):
    """A linear model with dropout on both kinds of layers; lists row numbers and masks."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.linear = nn.Linear(2, 2, dtype=dtype)
        self.dropout = nn.ModuleList([ByteDropout(0.25), nn.Dropout(0.5)])
        self.rows, self.masks = [], []

    def forward(self, x):
        if self.training:
            self.rows.append(x[:, 2].long().tolist())
            ones = torch.ones(len(x), 8)
            self.masks.append(torch.cat([layer(ones) for layer in self.dropout]))
        inputs = x[:, :2].to(self.linear.weight.dtype)
        for layer in self.dropout:
            inputs = layer(inputs)
        return self.linear(inputs)


class _Plain(nn.Module):
    """A float64 linear model of the first two columns."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2, dtype=torch.float64)

    def forward(self, x):
        return self.linear(x[:, :2].double())


class _Noisy(torch.optim.SGD):
    """SGD that draws from and reseeds the global generator at every step."""

    def step(self, closure=None):
        torch.rand(17)
        if torch.rand(()) < 0.5:
            torch.manual_seed(int(torch.randint(1000, ())))
        return super().step(closure)


@pytest.fixture(scope="session")
def blobs():
    """Return the function `(num_train, num_test, noise, seed) -> Dataset`."""
    return _blobs


@pytest.fixture(scope="session")
def watched():
    """Return the class of a model whose `rows` and `masks` list what training showed it."""
    return _Watched


@pytest.fixture(scope="session")
def plain():
    """Return the class of a float64 linear model."""
    return _Plain


@pytest.fixture(scope="session")
def noisy_sgd():
    """Return the class of an optimizer that disturbs the global random state."""
    return _Noisy
