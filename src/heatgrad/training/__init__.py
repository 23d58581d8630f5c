"""Floor 3: the training loop, for one network and for many at once.

Its random streams do not depend on the optimizer.
"""

from heatgrad.training.augment import AUGMENTS, Augment, AutoAugment, CropFlip
from heatgrad.training.checkpoint import Checkpoints, weights_of
from heatgrad.training.encoding import encoded
from heatgrad.training.evaluation import Evaluation, evaluate
from heatgrad.training.loop import Training, initialised, train
from heatgrad.training.losses import LOSSES, Loss
from heatgrad.training.memory import StepMemory, step_memory
from heatgrad.training.objective import Objective, is_objective, value_of
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
    "Objective",
    "Parallel",
    "Precision",
    "Processes",
    "Recipe",
    "Replica",
    "StepMemory",
    "Training",
    "backend_of",
    "can_train",
    "encoded",
    "evaluate",
    "has_rule",
    "initialised",
    "is_objective",
    "joined",
    "probe_gradient",
    "roughness",
    "sharded",
    "step_memory",
    "steps_per_epoch",
    "train",
    "train_replicas",
    "value_of",
    "weights_of",
]
