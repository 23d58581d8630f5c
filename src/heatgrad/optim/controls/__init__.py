"""The controls of studies: each takes away one part of what a diffusing optimizer does."""

from heatgrad.optim.controls.layout import LayoutDiffusionSGD
from heatgrad.optim.controls.matched import LRMatchedSGD, NormMatchedSGD
from heatgrad.optim.controls.placebo import (
    NormMatchedPlaceboSGD,
    PlaceboDiffusionSGD,
    permutation,
)
from heatgrad.optim.controls.velocity import MomentumMatchedNesterov, RefinedNesterov
from heatgrad.optim.controls.velocity_placebo import (
    NormMatchedPlaceboNesterov,
    PlaceboDiffusionNesterov,
)

__all__ = [
    "LRMatchedSGD",
    "LayoutDiffusionSGD",
    "MomentumMatchedNesterov",
    "NormMatchedPlaceboNesterov",
    "NormMatchedPlaceboSGD",
    "NormMatchedSGD",
    "PlaceboDiffusionNesterov",
    "PlaceboDiffusionSGD",
    "RefinedNesterov",
    "permutation",
]
