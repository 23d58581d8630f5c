"""Random changes of training images, batch by batch, on the device that holds them."""

from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from heatgrad.data import Pixels

__all__ = ["AUGMENTS", "Augment", "AutoAugment", "CropFlip"]

Images = Float[Tensor, "n c h w"]


class Augment(Protocol):
    """Changes a batch of normalised images at random."""

    def __call__(self, x: Images, generator: Generator) -> Images:
        """Return the changed images; what is drawn depends on the generator (of the CPU) alone."""


class CropFlip:
    """Pad with black and cut out anew, and mirror half of the images: the basic augmentation.

    Args:
        pixels: How the images were normalised; it says what black is.
        pad: Pixels at every side, at least 0.
        flip: Whether every other image, at random, is mirrored left to right.

    Raises:
        ValueError: If `pad` is negative.

    Example:
        >>> crop = CropFlip(Pixels((0.0,), (1.0,)), pad=4)
        >>> crop(torch.ones(8, 1, 6, 6), torch.Generator().manual_seed(0)).shape
        torch.Size([8, 1, 6, 6])

    References:
        He et al. (2016), section 4.2: 4 pixels, and mirrored.
    """

    def __init__(self, pixels: Pixels, *, pad: int = 4, flip: bool = True) -> None:
        if isinstance(pad, bool) or not isinstance(pad, int) or pad < 0:
            raise ValueError(f"pad must be an integer of at least 0, got {pad!r}")
        self.pad, self.flip = pad, flip
        self._black = -torch.tensor(pixels.mean) / torch.tensor(pixels.std)

    def __call__(self, x: Images, generator: Generator) -> Images:
        """Return the images, each cut out at its own place."""
        n, c, h, w = x.shape
        down, right = torch.randint(2 * self.pad + 1, (2, n, 1), generator=generator)
        is_flipped = (torch.rand(n, 1, generator=generator) < 0.5) & self.flip
        columns = torch.where(is_flipped, torch.arange(w - 1, -1, -1), torch.arange(w))
        rows, columns = (
            places.to(x.device) for places in (down + torch.arange(h), right + columns)
        )
        black = self._black.to(x).view(-1, 1, 1)
        padded = black.expand(n, c, h + 2 * self.pad, w + 2 * self.pad).contiguous()
        padded[:, :, self.pad : self.pad + h, self.pad : self.pad + w] = x
        each = torch.arange(n, device=x.device).view(n, 1, 1, 1)
        channel = torch.arange(c, device=x.device).view(1, c, 1, 1)
        return padded[each, channel, rows.view(n, 1, h, 1), columns.view(n, 1, 1, w)]


class AutoAugment:
    """The basic augmentation, then a policy of AutoAugment drawn for every image by itself.

    The operations are kornia's (`pip install "heatgrad[vision]"`), which by itself draws one policy
    for a whole batch. Grey images go through them as colour images whose channels are equal.

    Args:
        pixels: How the images were normalised, of one channel or three.
        policy: `"cifar10"`, `"svhn"` or `"imagenet"`.
        pad: As of `CropFlip`.
        flip: As of `CropFlip`.

    Raises:
        ImportError: If kornia is not installed.
        ValueError: If there is no such policy, or an argument is out of range.

    References:
        Cubuk et al. (2019). [Sun] Tables 3 and 4.
    """

    def __init__(
        self, pixels: Pixels, *, policy: str = "cifar10", pad: int = 4, flip: bool = True
    ) -> None:
        if policy not in ("cifar10", "svhn", "imagenet"):
            raise ValueError(f"policy must be one of cifar10, svhn, imagenet, got {policy!r}")
        if len(pixels.mean) not in (1, 3):
            raise ValueError(
                f"AutoAugment needs images of one channel or three, got {len(pixels.mean)}"
            )
        try:
            from kornia.augmentation.auto import AutoAugment as Policies
        except ImportError as error:
            raise ImportError(
                f"AutoAugment needs kornia ({error}); install it with: pip install "
                f'"heatgrad[vision]"'
            ) from error
        self._basic = CropFlip(pixels, pad=pad, flip=flip)
        self._policies = list(Policies(policy).children())
        self._mean, self._std = (torch.tensor(v).view(-1, 1, 1) for v in (pixels.mean, pixels.std))

    @torch.no_grad()
    def __call__(self, x: Images, generator: Generator) -> Images:
        """Return the images, each changed by its own policy."""
        mean, std = self._mean.to(x), self._std.to(x)
        basic = (self._basic(x, generator) * std + mean).clamp_(0, 1)
        pixels = basic.expand(-1, 3, -1, -1).clone()
        drawn = torch.randint(len(self._policies), (len(x),), generator=generator)
        seed = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for number in sorted(set(drawn.tolist())):
                chosen = (drawn == number).nonzero()[:, 0].to(x.device)
                pixels[chosen] = self._policies[number](pixels[chosen])
        if x.shape[1] == 1:
            pixels = pixels.mean(dim=1, keepdim=True)
        return (pixels - mean) / std


AUGMENTS: dict[str, Callable[..., Augment]] = {"crop-flip": CropFlip, "autoaugment": AutoAugment}
