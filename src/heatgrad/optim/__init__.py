"""Floor 2: optimizers that diffuse gradients, and the controls that keep them honest."""

import torch

from heatgrad.optim.controls import NormMatchedSGD, PlaceboDiffusionSGD
from heatgrad.optim.diffusion_sgd import DiffusionSGD

__all__ = ["OPTIMIZERS", "DiffusionSGD", "NormMatchedSGD", "PlaceboDiffusionSGD"]

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "DiffusionSGD": DiffusionSGD,
    "NormMatchedSGD": NormMatchedSGD,
    "PlaceboDiffusionSGD": PlaceboDiffusionSGD,
    "SGD": torch.optim.SGD,
}
