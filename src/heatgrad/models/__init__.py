"""The networks of the papers, built from the shape of one sample and the number of classes.

Weights are drawn from PyTorch's global generator; build a model inside
`torch.random.fork_rng` after `torch.manual_seed` to draw them from a stream of your own.
"""

from torch import nn

from heatgrad.models.cnn import SimpleCNN
from heatgrad.models.densenet import DenseNet
from heatgrad.models.dropout import ByteDropout
from heatgrad.models.mlp import MLP, MediumMLP, SimpleMLP
from heatgrad.models.resnet import ResNet
from heatgrad.models.wide_resnet import WideResNet

MODELS: dict[str, type[nn.Module]] = {
    "SimpleMLP": SimpleMLP,
    "MediumMLP": MediumMLP,
    "SimpleCNN": SimpleCNN,
    "ResNet": ResNet,
    "WideResNet": WideResNet,
    "DenseNet": DenseNet,
}

__all__ = [
    "MLP",
    "MODELS",
    "ByteDropout",
    "DenseNet",
    "MediumMLP",
    "ResNet",
    "SimpleCNN",
    "SimpleMLP",
    "WideResNet",
]
