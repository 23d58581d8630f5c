"""Contracts of every task: repeatable, apart from every other stream, hashable, checked."""

import dataclasses

import pytest
import torch

from heatgrad.core.random import stream_generator
from heatgrad.data import TASKS, Digits, FragmentedManifold, Spiral, Task

SMALL = [
    Spiral(num_samples=400, num_test=100, label_noise=0.2),
    FragmentedManifold(num_samples=400, num_test=100),
    Digits(label_noise=0.2),
]
TENSORS = ("x_train", "y_train", "y_train_clean", "x_test", "y_test", "y_test_clean")


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in TENSORS)


@pytest.mark.parametrize("task", SMALL, ids=lambda task: type(task).__name__)
def test_seed_alone_decides(task):
    """Same seed, same bits, whatever other streams or the global one did; another seed, others."""
    first = task.load(3)
    torch.manual_seed(99)
    torch.rand(10, generator=stream_generator(3, "init"))
    before = torch.random.get_rng_state()
    assert same(first, dataclasses.replace(task).load(3))
    assert torch.equal(before, torch.random.get_rng_state())
    other = task.load(4)
    assert not torch.equal(first.x_train, other.x_train)
    assert not torch.equal(first.y_train, other.y_train)


@pytest.mark.parametrize("task", SMALL, ids=lambda task: type(task).__name__)
def test_noise_leaves_the_inputs_alone(task):
    """Label noise moves nothing but labels, at any rate and in any part."""
    clean = dataclasses.replace(task, label_noise=0.0).load(3)
    noisy = dataclasses.replace(task, label_noise=0.4, noise_in=["train"]).load(3)
    assert torch.equal(clean.x_train, noisy.x_train)
    assert torch.equal(clean.y_train, noisy.y_train_clean)
    assert not torch.equal(clean.y_train, noisy.y_train)
    assert torch.equal(clean.y_test, noisy.y_test)
    assert clean.ceiling == noisy.ceiling


@pytest.mark.parametrize("name", TASKS)
def test_registry_entries_are_frozen_values(name):
    """Every task is a dataclass of plain values: equal, hashable, frozen; lists become tuples."""
    task = TASKS[name]()
    assert isinstance(task, Task)
    assert type(task).__name__ == name
    assert hash(task) == hash(TASKS[name](noise_in=["test", "train"]))
    assert task == TASKS[name](noise_in=["test", "train"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.label_noise = 0.1


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_noise": -0.1}, r"label_noise must be a number in \[0, 1\), got -0.1"),
        ({"label_noise": 0.995}, "less than 1 - 1/K"),
        ({"noise_in": ()}, r"noise_in must be a list of .*, got \(\)"),
        ({"noise_in": ("valid",)}, "noise_in must be a list"),
        ({"noise_in": "train"}, "noise_in must be a list .* got 'train'"),
        ({"num_test": 0}, "num_test must be an integer of at least"),
        ({"num_test": 10.0}, r"num_test must be an integer .* got 10.0"),
    ],
)
def test_option_errors(name, options, message):
    """Wrong options are refused at construction, before anything is drawn."""
    with pytest.raises(ValueError, match=message):
        TASKS[name](**options)


def test_whole_numbers_become_floats():
    """4 and 4.0 turns are one task, with one text to hash."""
    task = Spiral(turns=4, label_noise=0)
    assert repr(task) == repr(Spiral())
    with pytest.raises(ValueError, match="turns must be positive and finite, got '4'"):
        Spiral(turns="4")


def test_a_task_of_the_users_own():
    """A subclass needs `generate` only, and gets label noise."""
    with pytest.raises(TypeError, match="abstract"):
        Task()

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mine(Task):
        def generate(self, seed):
            return Digits().generate(seed)

    data = Mine(label_noise=0.5, noise_in=("test",)).load(0)
    assert (data.y_test != data.y_test_clean).double().mean().item() == pytest.approx(
        0.5, abs=5 * (0.25 / 360) ** 0.5
    )


def test_digits_against_the_source():
    """scikit-learn's 1797 images, each used once; shares of classes by largest remainders."""
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    data = Digits().load(0)
    assert data.input_shape == (1, 8, 8)
    assert data.ceiling is None
    both = torch.cat([data.x_train, data.x_test]).flatten(1) * 16
    labels = torch.cat([data.y_train, data.y_test])
    ours = sorted(zip(both.tolist(), labels.tolist(), strict=True))
    assert ours == sorted(zip(pixels.tolist(), target.tolist(), strict=True))
    exact = torch.bincount(torch.tensor(target)) * 360 / 1797
    assert (torch.bincount(data.y_test) - exact).abs().max() < 1
    assert data.y_test.numel() == 360
