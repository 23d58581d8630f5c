"""Dropout whose masks come from random bytes."""

import torch
from torch import Tensor, nn

__all__ = ["ByteDropout"]

_LEVELS = 256


class ByteDropout(nn.Module):
    r"""Drop elements with a probability that is a multiple of 1/256.

    One byte decides an element, so that 64 random bits serve eight: on a CPU, drawing masks is a
    large part of training a small network. Kept elements are scaled by the exact inverse of the
    probability to be kept, so that the expectation is unchanged.

    Args:
        p: Probability to drop, in [0, 1); rounded to the nearest multiple of 1/256 [1].

    Raises:
        ValueError: If `p` is not in [0, 1), or rounds to 1.

    Example:
        >>> layer = ByteDropout(0.5)
        >>> sorted(layer(torch.ones(1000)).unique().tolist())
        [0.0, 2.0]
        >>> layer.eval()(torch.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped = round(_LEVELS * p)
        if not (0 <= p < 1 and self.dropped < _LEVELS):
            raise ValueError(f"dropout must be in [0, 1), with a step of 1/256, got {p!r}")

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with dropped elements zero and the others scaled up, in training mode."""
        if not self.training or self.dropped == 0:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        # All 64 bits are used: from the smallest to the largest integer there is.
        random = words.random_(torch.iinfo(torch.int64).min, None).view(torch.uint8)
        kept = random[: x.numel()].view(x.shape) >= self.dropped
        return x * kept.to(x.dtype).mul_(_LEVELS / (_LEVELS - self.dropped))

    def extra_repr(self) -> str:
        """Return the probability as it was rounded."""
        return f"p={self.dropped}/{_LEVELS}"
