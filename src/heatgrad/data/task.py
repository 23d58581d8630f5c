"""A task: a frozen description of data, made from a seed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import final

from heatgrad.data.dataset import Dataset
from heatgrad.data.noise import with_label_noise

__all__ = ["Task"]

_PARTS = frozenset({"train", "test"})


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Base of all tasks; for data of your own, write a frozen dataclass with `generate`.

    Attributes:
        label_noise: Probability that a label is replaced by another class, Eq. (T.8) [1].
        noise_in: The parts that get label noise: `"train"`, `"test"` or both.

    Raises:
        ValueError: If `label_noise` is not in [0, 1), or `noise_in` names something else.

    Example:
        >>> import torch
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Sign(Task):
        ...     num_samples: int = 100
        ...
        ...     def generate(self, seed: int) -> Dataset:
        ...         generator = torch.Generator().manual_seed(seed)
        ...         x = torch.randn(self.num_samples, 1, generator=generator)
        ...         y = (x[:, 0] > 0).long()
        ...         return Dataset.from_clean(
        ...             x_train=x, y_train=y, x_test=x, y_test=y, num_classes=2
        ...         )
        >>> data = Sign(label_noise=0.2, noise_in=("train",)).load(seed=0)
        >>> (data.y_train != data.y_train_clean).any().item()
        True
    """

    label_noise: float = 0.0
    noise_in: tuple[str, ...] = ("train", "test")

    def __post_init__(self) -> None:
        rate = self.label_noise
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            raise ValueError(f"label_noise must be a number in [0, 1), got {rate!r}")
        parts = self.noise_in
        if not isinstance(parts, (tuple, list)) or not parts or not _PARTS.issuperset(parts):
            raise ValueError(
                f"noise_in must be a list of 'train', 'test' or both, such as ['train'], got "
                f"{parts!r}; for no label noise set label_noise = 0"
            )
        # One spelling, so that equal tasks are written and hashed alike: 4 becomes 4.0.
        for field in fields(self):
            if field.type is float and type(getattr(self, field.name)) is int:
                object.__setattr__(self, field.name, float(getattr(self, field.name)))
        # A TOML array arrives as a list; one order, so that equal tasks compare equal.
        object.__setattr__(self, "noise_in", tuple(p for p in ("train", "test") if p in parts))

    @abstractmethod
    def generate(self, seed: int) -> Dataset:
        """Return the data with clean labels; the seed alone decides what is drawn."""

    @final
    def load(self, seed: int) -> Dataset:
        """Return the data of one seed, label noise included.

        Args:
            seed: Seed of the block of matched runs, at least 0.

        Raises:
            DataError: If files are missing or damaged.
        """
        dataset = self.generate(seed)
        if self.label_noise == 0:
            return dataset
        return with_label_noise(
            dataset,
            self.label_noise,
            seed=seed,
            train="train" in self.noise_in,
            test="test" in self.noise_in,
        )
