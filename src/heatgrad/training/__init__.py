"""Floor 3: the one training loop, with random streams that do not depend on the optimizer."""

from heatgrad.training.evaluation import Evaluation, evaluate
from heatgrad.training.loop import EpochRecord, initialised, steps_per_epoch, train
from heatgrad.training.losses import LOSSES
from heatgrad.training.probe import GradientProbe, probe_gradient
from heatgrad.training.schedules import SCHEDULES

__all__ = [
    "LOSSES",
    "SCHEDULES",
    "EpochRecord",
    "Evaluation",
    "GradientProbe",
    "evaluate",
    "initialised",
    "probe_gradient",
    "steps_per_epoch",
    "train",
]
