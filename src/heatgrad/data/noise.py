"""Label noise, and what it does to the best accuracy."""

import dataclasses

import torch
from jaxtyping import Int64
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.data.dataset import Dataset

__all__ = ["check_rate", "noisy_accuracy", "with_label_noise"]


def with_label_noise(
    dataset: Dataset, rate: float, *, seed: int, train: bool = True, test: bool = True
) -> Dataset:
    """Return the data set with a share of its clean labels replaced.

    Each label is replaced, with probability `rate` and independently, by one of the other
    K - 1 classes, each as likely, Eq. (T.8). Training and test labels have streams of their
    own, so switching one off leaves the other as it was. With one seed, whatever is flipped at
    a low rate is flipped, to the same class, at every higher rate. Noise always starts from
    the clean labels: applying it twice does not compound it.

    Args:
        dataset: Any data set; it is not changed.
        rate: Probability rho that a label is replaced, 0 <= rho < 1 - 1/K [1].
        seed: Seed of the streams `(seed, "label_noise", part)`.
        train: Whether the training labels get noise; if not, they stay as they are.
        test: Whether the test labels get noise; if not, they and the ceiling stay as they are.

    Raises:
        ValueError: If `rate` is out of range, where the true class would no longer be the
            likeliest label.

    Example:
        >>> x, y = torch.zeros(1000, 1), torch.zeros(1000, dtype=torch.int64)
        >>> data = Dataset.from_clean(x_train=x, y_train=y, x_test=x, y_test=y, num_classes=10)
        >>> noisy = with_label_noise(data, 0.3, seed=0, test=False)
        >>> int((noisy.y_train != 0).sum()), int((noisy.y_test != 0).sum())
        (288, 0)

    References:
        [Ray] appendix A ("annotation noise"; K = 2 there). Theory page: Eqs. (T.8), (T.9).
    """
    classes = dataset.num_classes
    check_rate(rate, classes)
    changes: dict[str, object] = {}
    if train:
        changes["y_train"] = _flip(dataset.y_train_clean, rate, classes, seed, part=0)
    if test:
        changes["y_test"] = _flip(dataset.y_test_clean, rate, classes, seed, part=1)
        if dataset.ceiling is not None:
            noisy = noisy_accuracy(dataset.ceiling.clean, rate, classes)
            changes["ceiling"] = dataclasses.replace(dataset.ceiling, noisy=noisy)
    return dataclasses.replace(dataset, **changes)  # type: ignore[arg-type]


def noisy_accuracy(clean: float, rate: float, num_classes: int) -> float:
    r"""Return the expected accuracy against noisy labels of a classifier, from its clean one.

    $$A' = A \left(1 - \rho \frac{K}{K - 1}\right) + \frac{\rho}{K - 1}. \tag{T.9}$$

    It holds for every classifier that cannot see the noise; the order of classifiers stays the
    same, so it maps the Bayes accuracy to the Bayes accuracy.

    Args:
        clean: Accuracy A against clean labels [1].
        rate: Probability rho that a label is replaced [1].
        num_classes: K.

    Raises:
        ValueError: If `rate` is not in [0, 1 - 1/K).

    Example:
        >>> noisy_accuracy(1.0, 0.3, 2)
        0.7
    """
    check_rate(rate, num_classes)
    other = rate / (num_classes - 1)
    return clean * (1 - rate - other) + other


def check_rate(rate: float, num_classes: int) -> None:
    """Raise `ValueError` unless the true class stays the likeliest label under noise."""
    limit = 1 - 1 / num_classes
    if not 0 <= rate < limit:
        raise ValueError(
            f"label noise must be at least 0 and less than 1 - 1/K = {limit:g} for "
            f"K = {num_classes} classes, or the true class is no longer the likeliest label; "
            f"got {rate!r}"
        )


def _flip(
    labels: Int64[Tensor, " n"], rate: float, num_classes: int, seed: int, *, part: int
) -> Int64[Tensor, " n"]:
    generator = stream_generator(seed, "label_noise", part)
    uniform = torch.rand(labels.shape, generator=generator, dtype=torch.float64)
    # Drawn for every label, flipped or not: flips at a low rate are nested in a higher one's.
    shift = torch.randint(1, num_classes, labels.shape, generator=generator)
    return torch.where(uniform < rate, (labels + shift) % num_classes, labels)
