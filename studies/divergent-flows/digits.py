"""A small network on real handwritten digits: its loss and its start, for `heatgrad flow`."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor

HIDDEN, COUNT = 4, 300
_SIZES = (HIDDEN * 64, HIDDEN, 10 * HIDDEN, 10)

_pixels, _labels = load_digits(return_X_y=True)
_X = torch.from_numpy(_pixels[:COUNT] / 16.0)
_Y = torch.nn.functional.one_hot(torch.from_numpy(_labels[:COUNT]).long(), 10).double()


def loss(theta: Tensor) -> Tensor:
    """Return the mean squared error of 64-4-10 with tanh units on the first 300 digits."""
    w, b, v, c = torch.split(theta, _SIZES)
    hidden = torch.tanh(_X @ w.view(HIDDEN, 64).T + b)
    return ((hidden @ v.view(10, HIDDEN).T + c - _Y) ** 2).sum(1).mean()


def start(seed: int) -> Tensor:
    """Return weights as wide as torch's layers draw them, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    drawn = 2 * torch.rand(sum(_SIZES), generator=generator, dtype=torch.float64) - 1
    inputs = torch.repeat_interleave(torch.tensor([64.0, 64, 4, 4]), torch.tensor(_SIZES))
    return drawn / inputs.double().sqrt()
