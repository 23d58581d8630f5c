"""Shared parts of these tests: a network that is a point, a small network, small data."""

import pytest
import torch
from torch import nn


class Point(nn.Module):
    """A network whose only parameter is a point, float64."""

    def __init__(self, start):
        super().__init__()
        self.x = nn.Parameter(torch.as_tensor(start, dtype=torch.float64).clone())


@pytest.fixture
def point():
    return Point


@pytest.fixture
def data():
    """Fifty points of two classes that no line separates, float64."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] * x[:, 1] > 0).long()


@pytest.fixture
def net(data):
    """A trained-looking network with batch norm and dropout, float64, in training mode."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)
    ).double()
    with torch.no_grad():
        for _ in range(50):
            model(data[0])
    return model


@pytest.fixture
def trained(data):
    """Return the function `seed -> network`, trained for a moment, in training mode."""

    def train(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)
        ).double()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data[0]), data[1]).backward()
            optimizer.step()
        return model

    return train
