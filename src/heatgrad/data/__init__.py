"""Tasks and their data: generators with a known best accuracy, and readers of public sets.

A task is a frozen description; `task.load(seed)` gives a `Dataset`. Data depend on the task
and the seed alone. For data of your own, subclass `Task` and write `generate`.
"""

from heatgrad.data.cifar import CIFAR10, CIFAR100
from heatgrad.data.dataset import Ceiling, Dataset, Pixels
from heatgrad.data.digits import Digits
from heatgrad.data.fragmented import FragmentedManifold
from heatgrad.data.idx import read_idx
from heatgrad.data.mnist import MNIST, FashionMNIST
from heatgrad.data.noise import noisy_accuracy, with_label_noise
from heatgrad.data.spiral import Spiral
from heatgrad.data.svhn import SVHN
from heatgrad.data.task import Task

TASKS: dict[str, type[Task]] = {
    "Spiral": Spiral,
    "FragmentedManifold": FragmentedManifold,
    "Digits": Digits,
    "MNIST": MNIST,
    "FashionMNIST": FashionMNIST,
    "CIFAR10": CIFAR10,
    "CIFAR100": CIFAR100,
    "SVHN": SVHN,
}

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "SVHN",
    "TASKS",
    "Ceiling",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "FragmentedManifold",
    "Pixels",
    "Spiral",
    "Task",
    "noisy_accuracy",
    "read_idx",
    "with_label_noise",
]
