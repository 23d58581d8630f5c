"""CIFAR-10 and CIFAR-100, read from their published files or from an archive of arrays."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.core.errors import DataError
from heatgrad.data.dataset import Pixels
from heatgrad.data.images import (
    ImageTask,
    Part,
    Source,
    checked_images,
    first_that_exists,
    unreadable,
)

__all__ = ["CIFAR10", "CIFAR100"]

_PUBLISHED = "https://www.cs.toronto.edu/~kriz/cifar.html"
_CIFAR10 = Source(
    "CIFAR-10", _PUBLISHED, 10, Pixels((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
)
_CIFAR100 = Source(
    "CIFAR-100", _PUBLISHED, 100, Pixels((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
)

Arrays = tuple[NDArray[np.uint8], NDArray[np.integer]]


@dataclass(frozen=True, kw_only=True)
class _CIFARLayout(ImageTask):
    """Colour images in pickled batches, or in one `.npz`."""

    _folder: ClassVar[str]
    _archive: ClassVar[str]
    _files: ClassVar[Mapping[str, tuple[str, ...]]]
    _labels: ClassVar[str]

    def _read(self, root: Path, part: Part) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        what = f"its folder {self._folder} or an archive {self._archive} of arrays"
        path = first_that_exists(self._source, [root / self._folder, root / self._archive], what)
        if path.suffix == ".npz":
            read = {path: _read_archive(path, part)}
        else:
            files = [path / name for name in self._files[part]]
            read = {file: _read_batch(file, self._labels) for file in files}
        checked = [
            checked_images(file, *arrays, num_classes=self._source.num_classes)
            for file, arrays in read.items()
        ]
        images, labels = (torch.cat(parts) for parts in zip(*checked, strict=True))
        return images, labels


@dataclass(frozen=True, kw_only=True)
class CIFAR10(_CIFARLayout):
    """CIFAR-10: 50,000 and 10,000 colour photographs of 32 by 32 pixels in ten classes.

    Reads `cifar-10-batches-py/{data_batch_1..5,test_batch}`, the published pickles, or else
    `cifar10.npz` with the arrays `train_images`, `train_labels`, `test_images` and `test_labels`
    (images of 8 bits, channels first or last), under `root`, else `$HEATGRAD_DATA`, else
    `~/.cache/heatgrad`; nothing is downloaded. Pickles are read without running what they name.
    Pixels in [0, 1] are normalised by the mean and deviation of each channel of the training part.

    Attributes:
        root: Folder that holds the files.
        num_train: Size of a random training subset with the class proportions; `None` for all.
        num_test: The same for the test part.
        label_noise: Probability that a label is replaced [1].
        noise_in: The parts that get label noise.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> CIFAR10(num_train=5000).num_train
        5000

    References:
        A. Krizhevsky (2009), Learning multiple layers of features from tiny images.
    """

    _source: ClassVar[Source] = _CIFAR10
    _folder: ClassVar[str] = "cifar-10-batches-py"
    _archive: ClassVar[str] = "cifar10.npz"
    _files: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test": ("test_batch",),
    }
    _labels: ClassVar[str] = "labels"


@dataclass(frozen=True, kw_only=True)
class CIFAR100(_CIFARLayout):
    """CIFAR-100: 50,000 and 10,000 colour photographs of 32 by 32 pixels in a hundred classes.

    Reads `cifar-100-python/{train,test}` with their fine labels, or else `cifar100.npz`; see
    `CIFAR10`.

    Attributes:
        root: Folder that holds the files.
        num_train: Size of a random training subset with the class proportions; `None` for all.
        num_test: The same for the test part.
        label_noise: Probability that a label is replaced [1].
        noise_in: The parts that get label noise.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> CIFAR100(num_train=5000).num_train
        5000

    References:
        A. Krizhevsky (2009), Learning multiple layers of features from tiny images.
    """

    _source: ClassVar[Source] = _CIFAR100
    _folder: ClassVar[str] = "cifar-100-python"
    _archive: ClassVar[str] = "cifar100.npz"
    _files: ClassVar[Mapping[str, tuple[str, ...]]] = {"train": ("train",), "test": ("test",)}
    _labels: ClassVar[str] = "fine_labels"


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays and plain values, and calls nothing else that a pickle names."""

    _ALLOWED = frozenset(
        [
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        ]
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _read_batch(path: Path, labels: str) -> Arrays:
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()
        content = content if isinstance(content, dict) else {}
        keys = {name: name.encode() for name in ("data", labels)}
        arrays = {name: np.asarray(content[key]) for name, key in keys.items() if key in content}
    except FileNotFoundError:
        raise DataError(f"no file at '{path}'; fetch all of it again from {_PUBLISHED}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise unreadable(
            path,
            error,
            required="a pickled batch as published",
            remedy=f"fetch it again from {_PUBLISHED}",
        ) from error
    if missing := [name for name in keys if name not in arrays]:
        raise DataError(f"'{path}' must hold '{missing[0]}', found {sorted(map(_text, content))}")
    images = arrays["data"]
    if images.ndim != 2 or images.shape[1] != 3072:
        raise DataError(f"'{path}' must hold rows of 3072 pixels, found shape {images.shape}")
    return images.reshape(-1, 3, 32, 32), arrays[labels]


def _text(key: object) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)


def _read_archive(path: Path, part: Part) -> Arrays:
    names = f"{part}_images", f"{part}_labels"
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = sorted(archive)
            arrays = [archive[name] for name in names if name in archive]
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive may raise anything
        raise unreadable(
            path,
            error,
            required="an .npz of arrays",
            remedy=f"make it again, of the files that can be fetched again from {_PUBLISHED}",
        ) from error
    if missing := [name for name in names if name not in found]:
        raise DataError(f"'{path}' must hold the array '{missing[0]}', found {found}")
    images, labels = arrays
    if images.ndim == 4 and images.shape[-1] == 3:
        images = np.moveaxis(images, -1, 1)
    return images, labels
