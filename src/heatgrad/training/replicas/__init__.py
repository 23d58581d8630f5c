"""Many replicas of one network, trained at once."""

from heatgrad.training.replicas.loop import Replica, can_train, train_replicas

__all__ = ["Replica", "can_train", "train_replicas"]
