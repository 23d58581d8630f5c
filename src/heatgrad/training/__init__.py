"""Floor 3: the training loop, for one network and for many at once.

Its random streams do not depend on the optimizer.
"""

from heatgrad.training.evaluation import Evaluation, evaluate
from heatgrad.training.loop import EpochRecord, initialised, steps_per_epoch, train
from heatgrad.training.losses import LOSSES
from heatgrad.training.path import roughness
from heatgrad.training.probe import GradientProbe, probe_gradient
from heatgrad.training.replicas import Backend, Replica, backend_of, can_train, train_replicas
from heatgrad.training.schedules import SCHEDULES

__all__ = [
    "LOSSES",
    "SCHEDULES",
    "Backend",
    "EpochRecord",
    "Evaluation",
    "GradientProbe",
    "Replica",
    "backend_of",
    "can_train",
    "evaluate",
    "initialised",
    "probe_gradient",
    "roughness",
    "steps_per_epoch",
    "train",
    "train_replicas",
]
