"""Many replicas of one network, trained at once."""

from heatgrad.training.replicas.loop import Replica, train_replicas
from heatgrad.training.replicas.rules import has_rule
from heatgrad.training.replicas.support import Backend, Device, backend_of, can_train

__all__ = ["Backend", "Device", "Replica", "backend_of", "can_train", "has_rule", "train_replicas"]
