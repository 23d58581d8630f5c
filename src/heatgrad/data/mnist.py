"""MNIST and Fashion-MNIST, read from their published files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from heatgrad.core.errors import DataError
from heatgrad.core.random import stream_generator
from heatgrad.data.checks import check_int
from heatgrad.data.dataset import Dataset
from heatgrad.data.idx import read_idx
from heatgrad.data.noise import check_rate
from heatgrad.data.split import stratified_subset
from heatgrad.data.task import Task

__all__ = ["MNIST", "FashionMNIST"]

_SIDE = 28
_NUM_CLASSES = 10


@dataclass(frozen=True)
class _Source:
    """What distinguishes one data set in MNIST's layout from another."""

    name: str
    published: str
    mean: float
    std: float


_MNIST = _Source("MNIST", "https://yann.lecun.com/exdb/mnist/", 0.1307, 0.3081)
_FASHION = _Source(
    "FashionMNIST", "https://github.com/zalandoresearch/fashion-mnist", 0.2860, 0.3530
)


@dataclass(frozen=True, kw_only=True)
class _MNISTLayout(Task):
    """Images and labels in four files of MNIST's layout."""

    root: str | None = None
    num_train: int | None = None
    num_test: int | None = None

    _source: ClassVar[_Source]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.label_noise, _NUM_CLASSES)
        if self.root is not None:
            # A path becomes text, so that a task is made of plain values only.
            object.__setattr__(self, "root", os.fspath(self.root))
        for name in ("num_train", "num_test"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), at_least=1)

    def generate(self, seed: int) -> Dataset:
        """Return the data with clean labels; only the choice of subsets depends on the seed.

        Raises:
            DataError: If a file is missing or damaged.
            ValueError: If a subset is larger than the files.
        """
        return _load(self._source, self.root, self.num_train, self.num_test, seed)


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

    _source: ClassVar[_Source] = _MNIST


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

    _source: ClassVar[_Source] = _FASHION


def _load(
    source: _Source, root: str | None, num_train: int | None, num_test: int | None, seed: int
) -> Dataset:
    folder = _data_root(root) / source.name / "raw"
    parts = []
    for index, (prefix, name, size) in enumerate(
        [("train", "num_train", num_train), ("t10k", "num_test", num_test)]
    ):
        images, labels = _read_part(source, folder, prefix)
        if size is not None:
            if size > labels.numel():
                raise ValueError(
                    f"{name} must be at most {labels.numel()}, the number of images in "
                    f"'{folder}', got {size}"
                )
            chosen = stratified_subset(labels, size, stream_generator(seed, "data", index))
            images, labels = images[chosen], labels[chosen]
        x = (images.float().div_(255).sub_(source.mean).div_(source.std)).unsqueeze(1)
        parts.append((x, labels))
    (x_train, y_train), (x_test, y_test) = parts
    return Dataset.from_clean(
        x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, num_classes=_NUM_CLASSES
    )


def _data_root(root: str | None) -> Path:
    chosen = root or os.environ.get("HEATGRAD_DATA") or "~/.cache/heatgrad"
    return Path(chosen).expanduser().absolute()


def _read_part(source: _Source, folder: Path, prefix: str) -> tuple[Tensor, Tensor]:
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
    if labels.numel() == 0 or int(labels.max()) >= _NUM_CLASSES:
        found = f"found {int(labels.max())}" if labels.numel() else "found none"
        raise DataError(f"'{labels_path}' must hold labels 0..{_NUM_CLASSES - 1}, {found}")
    return images, labels.to(torch.int64)


def _find(source: _Source, folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise DataError(
        f"no file at '{folder / name}.gz', packed or not; {source.name} is published at "
        f"{source.published}: put its four files there, or set $HEATGRAD_DATA to the folder "
        f"that holds {source.name}/raw"
    )
