"""Train a small convolutional network on real digits with each diffusing optimizer."""

import torch
from torch import nn

from heatgrad.data import Digits
from heatgrad.models import SimpleCNN
from heatgrad.optim import (
    DiffusionNesterov,
    DiffusionSGD,
    LaplacianSmoothingSGD,
    LinearDiffusionDecay,
    SobolevSGD,
    diffuse_gradients,
    diffusion_groups,
)

EPOCHS, LR = 12, 0.05
data = Digits().load(seed=0)


def accuracy_with(build):
    """Return the test accuracy after training from the same weights, on the same batches."""
    torch.manual_seed(0)
    model = SimpleCNN(data.input_shape, data.num_classes)
    optimizer = build(model)
    is_decaying = isinstance(optimizer, DiffusionNesterov)
    decay = LinearDiffusionDecay(optimizer, num_steps=EPOCHS - 1) if is_decaying else None
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(data.y_train)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data.x_train[batch]), data.y_train[batch]).backward()
            optimizer.step()
        if decay is not None:
            decay.step()
    predicted = model.eval()(data.x_test).argmax(1)
    return (predicted == data.y_test).float().mean().item()


def hooked(model):
    """AdamW on gradients that are smoothed by a solve."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    diffuse_gradients(optimizer, 0.5, mode="implicit")
    return optimizer


BUILDS = {
    "SGD momentum": lambda m: torch.optim.SGD(m.parameters(), lr=LR, momentum=0.9),
    "DiffusionSGD": lambda m: DiffusionSGD(m.parameters(), lr=LR, momentum=0.9, diffusion=0.1),
    "DiffusionNesterov": lambda m: DiffusionNesterov(diffusion_groups(m, "conv_out"), lr=LR),
    "LaplacianSmoothingSGD": lambda m: LaplacianSmoothingSGD(m.parameters(), lr=LR, momentum=0.9),
    "SobolevSGD": lambda m: SobolevSGD(m.parameters(), lr=LR, momentum=0.9),
    "AdamW, diffused": hooked,
}
for name, build in BUILDS.items():
    found = accuracy_with(build)
    print(f"{name:22} {100 * found:.1f} % of the test digits")
    assert found > 0.9, name
