"""Initial weights: Kaiming normal throughout."""

from torch import nn

__all__ = ["draw_weights_"]


def draw_weights_(module: nn.Module) -> None:
    r"""Draw all weights of a model anew, in place, from PyTorch's global generator.

    $$W \sim N(0, 2 / n_{\text{in}}), \qquad b = 0, \tag{T.10}$$

    for linear and convolution layers, the last one included; $n_{\text{in}}$ is the number of
    inputs of one output. Batch normalisation starts as the identity: weight 1, bias 0.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> draw_weights_(layer)
        >>> layer.bias.tolist()
        [0.0, 0.0]

    References:
        [Ray] C.1 ("Kaiming normal"; fan-in and the ReLU gain are ours). Theory page: Eq. (T.10).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
