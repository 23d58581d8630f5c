"""The networks of the paper, built from the shape of one sample and the number of classes.

Weights are drawn from PyTorch's global generator; build a model inside
`torch.random.fork_rng` after `torch.manual_seed` to draw them from a stream of your own.
"""

from torch import nn

from heatgrad.models.cnn import SimpleCNN
from heatgrad.models.dropout import ByteDropout
from heatgrad.models.mlp import MLP, MediumMLP, SimpleMLP

MODELS: dict[str, type[nn.Module]] = {
    "SimpleMLP": SimpleMLP,
    "MediumMLP": MediumMLP,
    "SimpleCNN": SimpleCNN,
}

__all__ = ["MLP", "MODELS", "ByteDropout", "MediumMLP", "SimpleCNN", "SimpleMLP"]
