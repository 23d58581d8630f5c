"""The networks that a spec may name: those that classify, and those of diffusion."""

from torch import nn

from heatgrad.diffusion.networks import NETWORKS
from heatgrad.models import MODELS

__all__ = ["ALL_NETWORKS"]

ALL_NETWORKS: dict[str, type[nn.Module]] = {**MODELS, **NETWORKS}
