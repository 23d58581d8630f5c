"""A data set in memory, and the best accuracy that is possible on it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

__all__ = ["Ceiling", "Dataset", "Pixels"]


@dataclass(frozen=True)
class Pixels:
    """How pixels become inputs: from 0 to 1, less the mean, over the deviation, by channel.

    Attributes:
        mean: Of each channel [1].
        std: Standard deviation of each channel, positive [1].

    Raises:
        ValueError: If they are not as many, or not finite, or a deviation is not positive.

    Example:
        >>> gray = Pixels((0.5,), (0.25,))
        >>> gray.normalised(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).flatten().tolist()
        [-2.0, 2.0]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        is_finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if len(self.mean) != len(self.std) or not is_finite or min(self.std, default=0) <= 0:
            raise ValueError(
                f"mean and std must be one number a channel, deviations positive, got {self.mean} "
                f"and {self.std}"
            )

    def normalised(self, images: UInt8[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        """Return 8-bit images as inputs."""
        return images.float().div_(255).sub_(self._of(self.mean)).div_(self._of(self.std))

    @staticmethod
    def _of(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The expected test accuracy of the Bayes classifier: no learner can expect more.

    On one finite test set the Bayes classifier, and a lucky learner, scatter around it.

    Attributes:
        clean: Against clean test labels [1].
        noisy: Against the test labels as scored, label noise included, Eq. (T.9) [1].
        stderr: Standard error (Monte Carlo) or numerical error (quadrature) of `clean`; that
            of `noisy` is never larger [1].

    Raises:
        ValueError: If an accuracy lies outside [0, 1] or `stderr` is negative.

    Example:
        >>> Ceiling(clean=1.0, noisy=0.7, stderr=0.0).noisy
        0.7
    """

    clean: float
    noisy: float
    stderr: float

    def __post_init__(self) -> None:
        for name in ("clean", "noisy"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)!r}")
        if not self.stderr >= 0:
            raise ValueError(f"stderr must be at least 0, got {self.stderr!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A classification data set, held in memory; nobody writes to its tensors.

    Attributes:
        x_train: Training inputs [data].
        y_train: Training labels as the learner sees them, label noise included.
        y_train_clean: Training labels without label noise.
        x_test: Test inputs, of the same shape per sample [data].
        y_test: Test labels as scored, label noise included.
        y_test_clean: Test labels without label noise.
        num_classes: K; labels are 0 to K - 1.
        ceiling: The best accuracy possible, or `None` where it is not known.
        pixels: How the inputs were made from pixels, or `None` where they are no images.

    Raises:
        TypeError: If an array is not a tensor.
        ValueError: If a shape, dtype or value does not fit.

    Example:
        >>> x, y = torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])
        >>> data = Dataset.from_clean(x_train=x, y_train=y, x_test=x, y_test=y, num_classes=2)
        >>> data.input_shape
        (2,)
    """

    x_train: Float32[Tensor, "n *shape"]
    y_train: Int64[Tensor, " n"]
    y_train_clean: Int64[Tensor, " n"]
    x_test: Float32[Tensor, "m *shape"]
    y_test: Int64[Tensor, " m"]
    y_test_clean: Int64[Tensor, " m"]
    num_classes: int
    ceiling: Ceiling | None = None
    pixels: Pixels | None = None

    def __post_init__(self) -> None:
        if isinstance(self.num_classes, bool) or not isinstance(self.num_classes, int):
            raise TypeError(f"num_classes must be an int, got {self.num_classes!r}")
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {self.num_classes}")
        for part in ("train", "test"):
            inputs = getattr(self, f"x_{part}")
            _check_inputs(f"x_{part}", inputs)
            for name in (f"y_{part}", f"y_{part}_clean"):
                _check_labels(name, getattr(self, name), inputs.shape[0], self.num_classes)
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                f"x_train and x_test must have one shape per sample, "
                f"got {tuple(self.x_train.shape[1:])} and {tuple(self.x_test.shape[1:])}"
            )

    @classmethod
    def from_clean(
        cls,
        *,
        x_train: Float32[Tensor, "n *shape"],
        y_train: Int64[Tensor, " n"],
        x_test: Float32[Tensor, "m *shape"],
        y_test: Int64[Tensor, " m"],
        num_classes: int,
        ceiling: Ceiling | None = None,
        pixels: Pixels | None = None,
    ) -> "Dataset":
        """Return a data set whose labels carry no label noise."""
        return cls(
            x_train=x_train,
            y_train=y_train,
            y_train_clean=y_train,
            x_test=x_test,
            y_test=y_test,
            y_test_clean=y_test,
            num_classes=num_classes,
            ceiling=ceiling,
            pixels=pixels,
        )

    def to(self, device: torch.device | str) -> "Dataset":
        """Return the same data with its tensors on a device; itself where they are there."""
        if self.x_train.device == torch.device(device):
            return self
        tensors: dict[str, Any] = {
            name: x.to(device) for name, x in vars(self).items() if isinstance(x, Tensor)
        }
        return replace(self, **tensors)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x_train.shape[1:])


def _check_inputs(name: str, inputs: Tensor) -> None:
    if not isinstance(inputs, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(inputs).__name__}")
    if inputs.dtype != torch.float32:
        raise ValueError(f"{name} must be float32, got {inputs.dtype}; use {name}.float()")
    if inputs.ndim < 2 or inputs.numel() == 0:
        raise ValueError(
            f"{name} must have shape (samples, *shape) and hold samples, got {tuple(inputs.shape)}"
        )
    if not bool(inputs.isfinite().all()):
        raise ValueError(f"{name} must be finite, got NaN or infinite entries")


def _check_labels(name: str, labels: Tensor, num_samples: int, num_classes: int) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(labels).__name__}")
    if labels.dtype != torch.int64:
        raise ValueError(f"{name} must be int64, got {labels.dtype}; use {name}.long()")
    if labels.shape != (num_samples,):
        raise ValueError(
            f"{name} must have one label per sample, shape ({num_samples},), "
            f"got {tuple(labels.shape)}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"{name} must be in 0..{num_classes - 1}, got {low}..{high}")
