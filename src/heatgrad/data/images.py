"""Tasks whose images are read from the files of a published data set."""

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Generator, Tensor

from heatgrad.core.errors import DataError
from heatgrad.core.random import stream_generator
from heatgrad.data.checks import check_int
from heatgrad.data.dataset import Dataset, Pixels
from heatgrad.data.noise import check_rate
from heatgrad.data.split import stratified_subset
from heatgrad.data.task import Task

__all__ = [
    "ImageTask",
    "Part",
    "Source",
    "checked_images",
    "data_root",
    "first_that_exists",
    "unreadable",
]

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Source:
    """What distinguishes one published data set from another.

    Attributes:
        name: Its name, and that of its folder.
        published: Where it is published.
        num_classes: Number of classes.
        pixels: Mean and deviation of the channels of its training images.
    """

    name: str
    published: str
    num_classes: int
    pixels: Pixels


@dataclass(frozen=True, kw_only=True)
class ImageTask(Task):
    """Images of a published data set, normalised, all of them or random subsets. Abstract.

    Attributes:
        root: Folder that holds the files; else `$HEATGRAD_DATA`, else `~/.cache/heatgrad`.
        num_train: Size of a random training subset with the class proportions, drawn from
            `(seed, "data")`; `None` for all, in the order of the files.
        num_test: The same for the test part.
    """

    root: str | None = None
    num_train: int | None = None
    num_test: int | None = None

    _source: ClassVar[Source]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.label_noise, self._source.num_classes)
        if self.root is not None:
            # A path becomes text, so that a task is made of plain values only.
            object.__setattr__(self, "root", os.fspath(self.root))
        for name in ("num_train", "num_test"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), at_least=1)

    @abstractmethod
    def _read(self, root: Path, part: Part) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        """Return the images and labels of a part, in the order of the files.

        Raises:
            DataError: If a file is missing or damaged.
        """

    def generate(self, seed: int) -> Dataset:
        """Return the data with clean labels; only the choice of subsets depends on the seed.

        Raises:
            DataError: If a file is missing or damaged.
            ValueError: If a subset is larger than the files.
        """
        x_train, y_train = self._part("train", stream_generator(seed, "data", 0))
        x_test, y_test = self._part("test", stream_generator(seed, "data", 1))
        return Dataset.from_clean(
            x_train=x_train,
            y_train=y_train,
            x_test=x_test,
            y_test=y_test,
            num_classes=self._source.num_classes,
            pixels=self._source.pixels,
        )

    def _part(self, part: Part, generator: Generator) -> tuple[Tensor, Tensor]:
        name, root = f"num_{part}", data_root(self.root)
        images, labels = self._read(root, part)
        size = getattr(self, name)
        if size is not None:
            if size > labels.numel():
                raise ValueError(
                    f"{name} must be at most {labels.numel()}, the number of images of "
                    f"{self._source.name} in '{root}', got {size}"
                )
            chosen = stratified_subset(labels, size, generator)
            images, labels = images[chosen], labels[chosen]
        return self._source.pixels.normalised(images), labels


def data_root(root: str | None) -> Path:
    """Return the folder of data sets: the one given, `$HEATGRAD_DATA` or `~/.cache/heatgrad`."""
    chosen = root or os.environ.get("HEATGRAD_DATA") or "~/.cache/heatgrad"
    return Path(chosen).expanduser().absolute()


def first_that_exists(source: Source, paths: Sequence[Path], what: str) -> Path:
    """Return the first of some paths at which there is something.

    Args:
        source: The data set.
        paths: Where its files may lie.
        what: What must be put there, as the remedy says it.

    Raises:
        DataError: If there is none.
    """
    for path in paths:
        if path.exists():
            return path
    places = " nor at ".join(f"'{path}'" for path in paths)
    raise DataError(
        f"no file at {places}; {source.name} is published at {source.published}: put {what} there, "
        f"or set $HEATGRAD_DATA to the folder that holds it"
    )


def unreadable(path: Path, error: Exception, *, required: str, remedy: str) -> DataError:
    """Return what is said of a file that cannot be read, whatever its reader has raised.

    Args:
        path: Of the file.
        error: Of the reader; its words are cut to 200 characters.
        required: What the file must be.
        remedy: What to do.
    """
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"'{path}' must be {required}, but cannot be read ({reason}); {remedy}")


def checked_images(
    path: Path, images: NDArray[np.uint8], labels: NDArray[np.integer], *, num_classes: int
) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]:
    """Return what was read as tensors, if it is what it must be.

    Args:
        path: Of the file, for messages.
        images: Shape (n, 3, 32, 32).
        labels: Shape (n,), from 0.
        num_classes: One more than the largest label that is allowed.

    Raises:
        DataError: If a shape, a type or a label does not fit.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (3, 32, 32):
        raise DataError(
            f"'{path}' must hold images of 3 channels and 32 by 32 pixels of 8 bits, found "
            f"{images.dtype} of shape {images.shape}"
        )
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"'{path}' must hold one label for each of its {len(images)} images, found shape "
            f"{labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"'{path}' must hold labels of an integer type, found {labels.dtype}")
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= num_classes:
        found = f"found {labels.min()} to {labels.max()}" if len(labels) else "found none"
        raise DataError(f"'{path}' must hold labels 0 to {num_classes - 1}, {found}")
    return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64))
