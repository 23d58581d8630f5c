"""A task, a network and an optimizer of one's own, for the study in study.toml."""

from dataclasses import dataclass

import torch
from torch import nn

from heatgrad.data import Dataset, FashionMNIST, Task


@dataclass(frozen=True, kw_only=True)
class Tops(Task):
    """Tell T-shirts, pullovers, coats and shirts of Fashion-MNIST apart."""

    num_train: int = 4000  # of all ten classes: four in ten are kept
    num_test: int = 4000

    def generate(self, seed: int) -> Dataset:
        data = FashionMNIST(num_train=self.num_train, num_test=self.num_test).load(seed)
        classes = torch.tensor([0, 2, 4, 6])

        def kept(x, y):
            is_top = torch.isin(y, classes)
            return x[is_top], torch.searchsorted(classes, y[is_top])

        x_train, y_train = kept(data.x_train, data.y_train)
        x_test, y_test = kept(data.x_test, data.y_test)
        return Dataset.from_clean(
            x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, num_classes=4
        )


class Net(nn.Sequential):
    """One convolution and one layer on what it found; any module with this signature goes."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, *, channels: int = 8):
        side = (input_shape[-1] - 2) // 2
        super().__init__(
            nn.Conv2d(input_shape[0], channels, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(channels * side**2, num_classes),
        )


class SignMomentum(torch.optim.Optimizer):
    """Step along the sign of the momentum."""

    def __init__(self, params, lr: float, momentum: float = 0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for param in group["params"]:
                velocity = self.state[param].setdefault("velocity", torch.zeros_like(param))
                velocity.lerp_(param.grad, 1 - group["momentum"])
                param.add_(velocity.sign(), alpha=-group["lr"])
