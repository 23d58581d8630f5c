"""Floor 2: optimizers that diffuse gradients, and the controls that keep them honest."""

import torch

from heatgrad.optim.accelerated_pde import (
    AcceleratedPDE,
    DiffusedNesterov,
    max_stable_diffusion,
    pde_to_sgd,
    refine,
    sgd_to_pde,
)
from heatgrad.optim.controls import (
    LayoutDiffusionSGD,
    LRMatchedSGD,
    MomentumMatchedNesterov,
    NormMatchedPlaceboNesterov,
    NormMatchedPlaceboSGD,
    NormMatchedSGD,
    PlaceboDiffusionNesterov,
    PlaceboDiffusionSGD,
    RefinedNesterov,
)
from heatgrad.optim.decay import LinearDiffusionDecay
from heatgrad.optim.diffusion_nesterov import DiffusionNesterov
from heatgrad.optim.diffusion_sgd import DiffusionSGD
from heatgrad.optim.groups import diffusion_groups
from heatgrad.optim.hook import diffuse_gradients
from heatgrad.optim.smoothing import LaplacianSmoothingSGD, SobolevSGD

__all__ = [
    "OPTIMIZERS",
    "AcceleratedPDE",
    "DiffusedNesterov",
    "DiffusionNesterov",
    "DiffusionSGD",
    "LRMatchedSGD",
    "LaplacianSmoothingSGD",
    "LayoutDiffusionSGD",
    "LinearDiffusionDecay",
    "MomentumMatchedNesterov",
    "NormMatchedPlaceboNesterov",
    "NormMatchedPlaceboSGD",
    "NormMatchedSGD",
    "PlaceboDiffusionNesterov",
    "PlaceboDiffusionSGD",
    "RefinedNesterov",
    "SobolevSGD",
    "diffuse_gradients",
    "diffusion_groups",
    "max_stable_diffusion",
    "pde_to_sgd",
    "refine",
    "sgd_to_pde",
]

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "DiffusionNesterov": DiffusionNesterov,
    "DiffusionSGD": DiffusionSGD,
    "LRMatchedSGD": LRMatchedSGD,
    "LaplacianSmoothingSGD": LaplacianSmoothingSGD,
    "LayoutDiffusionSGD": LayoutDiffusionSGD,
    "MomentumMatchedNesterov": MomentumMatchedNesterov,
    "NormMatchedPlaceboNesterov": NormMatchedPlaceboNesterov,
    "NormMatchedPlaceboSGD": NormMatchedPlaceboSGD,
    "NormMatchedSGD": NormMatchedSGD,
    "PlaceboDiffusionNesterov": PlaceboDiffusionNesterov,
    "PlaceboDiffusionSGD": PlaceboDiffusionSGD,
    "RefinedNesterov": RefinedNesterov,
    "SGD": torch.optim.SGD,
    "SobolevSGD": SobolevSGD,
}
