"""The 8 by 8 handwritten digits that come with scikit-learn."""

from dataclasses import dataclass

import torch

from heatgrad.core.random import stream_generator
from heatgrad.data.checks import check_int, check_split
from heatgrad.data.dataset import Dataset, Pixels
from heatgrad.data.noise import check_rate
from heatgrad.data.split import stratified_split
from heatgrad.data.task import Task

__all__ = ["Digits"]

_NUM_SAMPLES = 1797


@dataclass(frozen=True, kw_only=True)
class Digits(Task):
    """1797 handwritten digits of 8 by 8 pixels, real data that needs no download.

    Pixels are divided by 16, so they lie in [0, 1]. The split is drawn from the seed, with
    the class proportions of the whole in both parts. The best possible accuracy is unknown.

    Attributes:
        num_test: Size of the test part, at least 1, less than 1797.
        label_noise: Probability that a label is replaced [1].
        noise_in: The parts that get label noise.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> data = Digits().load(seed=0)
        >>> data.input_shape, data.y_train.numel(), data.y_test.numel(), data.ceiling
        ((1, 8, 8), 1437, 360, None)

    References:
        E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI machine
        learning repository (its test part), as shipped by `sklearn.datasets.load_digits`.
    """

    num_test: int = 360

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.label_noise, 10)
        check_int("num_test", self.num_test, at_least=1)
        check_split(_NUM_SAMPLES, self.num_test)

    def generate(self, seed: int) -> Dataset:
        """Return the data with clean labels, split by the stream `(seed, "data")`."""
        from sklearn.datasets import load_digits  # slow to import, and only this task needs it

        pixels, target = load_digits(return_X_y=True)
        x = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        labels = torch.tensor(target, dtype=torch.int64)
        train, test = stratified_split(labels, self.num_test, stream_generator(seed, "data"))
        return Dataset.from_clean(
            x_train=x[train],
            y_train=labels[train],
            x_test=x[test],
            y_test=labels[test],
            num_classes=10,
            pixels=Pixels((0.0,), (1.0,)),
        )
