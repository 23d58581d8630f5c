"""MNIST and Fashion-MNIST, read from their published files."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from heatgrad.core.errors import DataError
from heatgrad.data.dataset import Pixels
from heatgrad.data.idx import read_idx
from heatgrad.data.images import ImageTask, Part, Source

__all__ = ["MNIST", "FashionMNIST"]

_SIDE = 28

_MNIST = Source("MNIST", "https://yann.lecun.com/exdb/mnist/", 10, Pixels((0.1307,), (0.3081,)))
_FASHION = Source(
    "FashionMNIST",
    "https://github.com/zalandoresearch/fashion-mnist",
    10,
    Pixels((0.2860,), (0.3530,)),
)


@dataclass(frozen=True, kw_only=True)
class _MNISTLayout(ImageTask):
    """Images and labels in four files of MNIST's layout."""

    def _read(self, root: Path, part: Part) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        return _read_part(self._source, root / self._source.name / "raw", part)


@dataclass(frozen=True, kw_only=True)
class MNIST(_MNISTLayout):
    """MNIST: 60,000 and 10,000 handwritten digits of 28 by 28 pixels.

    Reads `MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte`, or the same with `.gz`,
    under `root`, else `$HEATGRAD_DATA`, else `~/.cache/heatgrad`; nothing is downloaded.
    Pixels in [0, 1] are normalised by the mean 0.1307 and deviation 0.3081 of the training
    part. The best possible accuracy is unknown.

    Attributes:
        root: Folder that holds `MNIST/raw`.
        num_train: Size of a random training subset with the class proportions, drawn from
            `(seed, "data")`; `None` for all, in the order of the file.
        num_test: The same for the test part.
        label_noise: Probability that a label is replaced [1].
        noise_in: The parts that get label noise.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> MNIST(num_train=5000, num_test=1000).num_train
        5000

    References:
        Y. LeCun, C. Cortes, C. J. C. Burges, the MNIST database of handwritten digits.
    """

    _source: ClassVar[Source] = _MNIST


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(_MNISTLayout):
    """Fashion-MNIST: 60,000 and 10,000 pictures of clothing of 28 by 28 pixels.

    Reads `FashionMNIST/raw/*`, as `MNIST` does. Pixels in [0, 1] are normalised by the mean
    0.2860 and deviation 0.3530 of the training part. The best possible accuracy is unknown.

    Attributes:
        root: Folder that holds `FashionMNIST/raw`; see `MNIST`.
        num_train: Size of a random training subset; `None` for all. See `MNIST`.
        num_test: The same for the test part.
        label_noise: Probability that a label is replaced [1].
        noise_in: The parts that get label noise.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> FashionMNIST(num_train=5000, num_test=1000).num_test
        1000

    References:
        H. Xiao, K. Rasul, R. Vollgraf (2017), arXiv:1708.07747.
    """

    _source: ClassVar[Source] = _FASHION


def _read_part(source: Source, folder: Path, part: Part) -> tuple[Tensor, Tensor]:
    prefix = "train" if part == "train" else "t10k"
    images_path = _find(source, folder, f"{prefix}-images-idx3-ubyte")
    labels_path = _find(source, folder, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, ndim=3), read_idx(labels_path, ndim=1)
    if tuple(images.shape[1:]) != (_SIDE, _SIDE):
        raise DataError(
            f"'{images_path}' must hold images of {_SIDE} by {_SIDE} pixels, "
            f"found {images.shape[1]} by {images.shape[2]}"
        )
    if images.shape[0] != labels.shape[0]:
        raise DataError(
            f"'{images_path}' holds {images.shape[0]} images but '{labels_path}' "
            f"{labels.shape[0]} labels; fetch both again from {source.published}"
        )
    if labels.numel() == 0 or int(labels.max()) >= source.num_classes:
        found = f"found {int(labels.max())}" if labels.numel() else "found none"
        raise DataError(f"'{labels_path}' must hold labels 0..{source.num_classes - 1}, {found}")
    return images.unsqueeze(1), labels.to(torch.int64)


def _find(source: Source, folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise DataError(
        f"no file at '{folder / name}.gz', packed or not; {source.name} is published at "
        f"{source.published}: put its four files there, or set $HEATGRAD_DATA to the folder "
        f"that holds {source.name}/raw"
    )
