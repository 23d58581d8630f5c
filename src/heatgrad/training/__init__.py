"""Floor 3: the training loop, for one network and for many at once.

Its random streams do not depend on the optimizer.
"""

from heatgrad.training.augment import AUGMENTS, Augment, AutoAugment, CropFlip
from heatgrad.training.checkpoint import Checkpoints, weights_of
from heatgrad.training.evaluation import Evaluation, evaluate
from heatgrad.training.loop import Training, initialised, train
from heatgrad.training.losses import LOSSES, Loss
from heatgrad.training.memory import StepMemory, step_memory
from heatgrad.training.order import steps_per_epoch
from heatgrad.training.path import roughness
from heatgrad.training.probe import GradientProbe, probe_gradient
from heatgrad.training.processes import ALONE, Parallel, Processes, joined, sharded
from heatgrad.training.recipe import Precision, Recipe
from heatgrad.training.record import EpochRecord
from heatgrad.training.replicas import (
    Backend,
    Device,
    Replica,
    backend_of,
    can_train,
    has_rule,
    train_replicas,
)
from heatgrad.training.schedules import SCHEDULES

__all__ = [
    "ALONE",
    "AUGMENTS",
    "LOSSES",
    "SCHEDULES",
    "Augment",
    "AutoAugment",
    "Backend",
    "Checkpoints",
    "CropFlip",
    "Device",
    "EpochRecord",
    "Evaluation",
    "GradientProbe",
    "Loss",
    "Parallel",
    "Precision",
    "Processes",
    "Recipe",
    "Replica",
    "StepMemory",
    "Training",
    "backend_of",
    "can_train",
    "evaluate",
    "has_rule",
    "initialised",
    "joined",
    "probe_gradient",
    "roughness",
    "sharded",
    "step_memory",
    "steps_per_epoch",
    "train",
    "train_replicas",
    "weights_of",
]
