"""What is known of a training after each of its epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["EpochRecord", "mean_of"]


@dataclass(frozen=True)
class EpochRecord:
    """What is known after an epoch of training.

    Attributes:
        epoch: Number of epochs done, from 1.
        lr: Learning rate of the first group during the epoch.
        train_loss: Mean of the batch losses during the epoch, dropout on [loss].
        test_loss: Loss on the test labels as scored [loss].
        test_accuracy: Accuracy against the test labels as scored; NaN of an objective [1].
        test_accuracy_clean: Accuracy against the test labels before any flip; NaN alike [1].
        grad_norm: Mean gradient norm over a few evenly spaced steps [loss/param].
        diffusion_ratio: Mean norm ratio of the transformed to the plain gradient, same steps [1].
        diffusion_cosine: Mean cosine of the angle between the two, same steps [1].
        grad_tv: Total variation of the gradient norm over the same steps: the sum of its changes,
            each positive, over its mean [1].
        roughness: Mean share of high-frequency energy of the plain gradient, same steps; see
            `heatgrad.training.roughness` [1].
        successive_cosine: Mean cosine between the plain gradients of such a step and of the step
            after it; NaN in an epoch of one step [1].
        step_length: Distance of the parameters to where they were before the epoch [param].
        chord: Distance of the parameters to where training started [param].
        seconds: Time spent training, without evaluation and probes [s].
    """

    epoch: int
    lr: float
    train_loss: float
    test_loss: float
    test_accuracy: float
    test_accuracy_clean: float
    grad_norm: float
    diffusion_ratio: float
    diffusion_cosine: float
    grad_tv: float
    roughness: float
    successive_cosine: float
    step_length: float
    chord: float
    seconds: float

    @property
    def is_finite(self) -> bool:
        """Whether neither loss has become infinite or NaN."""
        return math.isfinite(self.train_loss) and math.isfinite(self.test_loss)


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of values; NaN if there is none or one is not finite."""
    if not values or not all(map(math.isfinite, values)):
        return math.nan
    return math.fsum(values) / len(values)
