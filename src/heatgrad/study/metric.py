"""The quantities that arms are compared by."""

import math

from heatgrad.core.spec import Spec

__all__ = ["METRICS", "Metric"]


class Metric(Spec):
    """What a study compares its arms by.

    Attributes:
        label: Words for an axis.
        higher_is_better: The direction of improvement.
        worst: The value a diverged run is ranked at.
        percent: Whether it is shown in percent.
        digits: Decimals that are shown, where it is not in percent.
        resolution: To what its values are known: closer ones are ties [metric].
    """

    label: str
    higher_is_better: bool
    worst: float
    percent: bool
    digits: int = 4
    resolution: float = 1e-9

    def shown_for(self, margin: float) -> "Metric":
        """Return the metric with decimals enough to show a margin."""
        if self.percent:
            return self
        needed = math.ceil(-math.log10(margin)) + 1
        return self.model_copy(update={"digits": max(self.digits, needed)})

    @property
    def sign(self) -> float:
        """1 if higher is better, else -1: times it, a positive difference is a gain."""
        return 1.0 if self.higher_is_better else -1.0


# A diverged run's loss is ranked at a number larger than any that is met, so that differences
# stay finite and can be ordered.
METRICS: dict[str, Metric] = {
    "test_accuracy": Metric(
        label="test accuracy (labels as scored)", higher_is_better=True, worst=0.0, percent=True
    ),
    "test_accuracy_clean": Metric(
        label="test accuracy (clean labels)", higher_is_better=True, worst=0.0, percent=True
    ),
    "test_loss": Metric(label="test loss", higher_is_better=False, worst=1e6, percent=False),
    "train_loss": Metric(label="training loss", higher_is_better=False, worst=1e6, percent=False),
}
