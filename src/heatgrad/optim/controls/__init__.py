"""The controls of a study of `DiffusionSGD`: each takes one part of what it does away."""

from heatgrad.optim.controls.layout import LayoutDiffusionSGD
from heatgrad.optim.controls.matched import LRMatchedSGD, NormMatchedSGD
from heatgrad.optim.controls.placebo import (
    NormMatchedPlaceboSGD,
    PlaceboDiffusionSGD,
    permutation,
)

__all__ = [
    "LRMatchedSGD",
    "LayoutDiffusionSGD",
    "NormMatchedPlaceboSGD",
    "NormMatchedSGD",
    "PlaceboDiffusionSGD",
    "permutation",
]
