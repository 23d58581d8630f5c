"""Dropout whose masks are drawn beforehand, as the layers themselves would draw them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from heatgrad.models import ByteDropout

__all__ = ["Feed", "draw", "with_drawn_masks"]

# On ones, each of them returns the mask that it multiplies its input with.
_KINDS = (ByteDropout, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class Feed:
    """The masks of one forward pass, in the order in which the layers ask for them."""

    def __init__(self) -> None:
        self.calls: list[tuple[nn.Module, Tensor]] | None = None
        self._masks: Sequence[Tensor] = ()
        self._place = 0

    def start(self, masks: Sequence[Tensor]) -> None:
        """Begin a pass that uses these masks."""
        self._masks, self._place = masks, 0

    def take(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Return what a layer that drops gives."""
        if self.calls is not None:  # a pass that only asks which masks there are
            self.calls.append((layer, torch.ones_like(x)))
            return x
        self._place += 1
        return x * self._masks[self._place - 1]


class _Drawn(nn.Module):
    def __init__(self, layer: nn.Module, feed: Feed) -> None:
        super().__init__()
        self.layer, self.feed = layer, feed

    def forward(self, x: Tensor) -> Tensor:
        return self.feed.take(self.layer, x)


def with_drawn_masks(model: nn.Module, feed: Feed) -> nn.Module:
    """Change a network in training mode so that its dropout layers take their masks from `feed`."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in _KINDS:
                setattr(parent, name, _Drawn(child, feed))
    return model


def draw(calls: Sequence[tuple[nn.Module, Tensor]], seed: int) -> list[Tensor]:
    """Return the masks that layers draw one after the other from the global generator."""
    if not calls:
        return []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return [layer(ones.clone()) for layer, ones in calls]
