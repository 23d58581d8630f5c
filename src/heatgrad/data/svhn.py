"""Street View House Numbers, read from their published files."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

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

__all__ = ["SVHN"]

_PUBLISHED = "http://ufldl.stanford.edu/housenumbers/"


@dataclass(frozen=True, kw_only=True)
class SVHN(ImageTask):
    """Street View House Numbers: 73,257 and 26,032 colour photographs of digits, 32 by 32 pixels.

    Reads `SVHN/train_32x32.mat` and `SVHN/test_32x32.mat`, and with `extra` `SVHN/extra_32x32.mat`
    after the first, under `root`, else `$HEATGRAD_DATA`, else `~/.cache/heatgrad`; nothing is
    downloaded. The label 10 of the files, the digit 0, becomes 0.

    Attributes:
        extra: Whether the 531,131 easier images are added to the training part.
        root: Folder that holds `SVHN`.
        num_train: Size of a random training subset with the class proportions; `None` for all.
        num_test: The same for the test part.
        label_noise: Probability that a label is replaced [1].
        noise_in: The parts that get label noise.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> SVHN(extra=True).extra
        True

    References:
        Y. Netzer et al. (2011), Reading digits in natural images with unsupervised feature
        learning.
    """

    extra: bool = False

    _source: ClassVar[Source] = Source(
        "SVHN",
        _PUBLISHED,
        10,
        Pixels((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    )

    def _read(self, root: Path, part: Part) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        names = [part, "extra"] if part == "train" and self.extra else [part]
        paths = [root / "SVHN" / f"{name}_32x32.mat" for name in names]
        read = [_read_mat(first_that_exists(self._source, [path], "it")) for path in paths]
        checked = [
            checked_images(path, *arrays, num_classes=10)
            for path, arrays in zip(paths, read, strict=True)
        ]
        images, labels = (torch.cat(parts) for parts in zip(*checked, strict=True))
        return images, labels


def _read_mat(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    from scipy.io import loadmat  # slow to import, and only this task needs it

    try:
        content = loadmat(path)
        arrays = [np.asarray(content[name]) for name in ("X", "y") if name in content]
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise unreadable(
            path, error, required="a .mat file", remedy=f"fetch it again from {_PUBLISHED}"
        ) from error
    if len(arrays) < 2 or arrays[0].ndim != 4:
        found = sorted(name for name in content if not name.startswith("__"))
        raise DataError(f"'{path}' must hold images 'X' and labels 'y', found {found}")
    images, labels = np.moveaxis(arrays[0], (3, 2), (0, 1)), arrays[1].reshape(-1)
    if not np.issubdtype(labels.dtype, np.integer):
        return images, labels  # which is refused
    if len(labels) and (labels.min() < 1 or labels.max() > 10):
        raise DataError(
            f"'{path}' must hold labels 1 to 10, found {labels.min()} to {labels.max()}"
        )
    return images, labels % 10
