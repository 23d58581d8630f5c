"""Matched means matched: what the optimizer is or does moves no other random number."""

from dataclasses import replace

import pytest
import torch

from heatgrad.optim import OPTIMIZERS
from heatgrad.training import LOSSES, initialised, train


def run(model, optimizer, data, **changes):
    options = {"loss": LOSSES["cross_entropy"], "epochs": 3, "batch_size": 10, "seed": 5} | changes
    return list(train(model, optimizer, data, **options))


def untimed(records):
    return [replace(record, seconds=0.0) for record in records]


@pytest.fixture
def reference(blobs, watched):
    """Return a model trained by plain SGD, with what it saw."""
    model = initialised(watched, seed=5)
    run(model, torch.optim.SGD(model.parameters(), lr=0.1), blobs())
    return model


def same_view(a, b):
    return a.rows == b.rows and all(map(torch.equal, a.masks, b.masks))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_batches_and_masks_do_not_depend_on_the_optimizer(name, reference, blobs, watched):
    """Every optimizer we ship is shown the rows and dropout masks that SGD is shown, bit for bit.

    The masks of one epoch differ from step to step, so equality is no accident.
    """
    model = initialised(watched, seed=5)
    run(model, OPTIMIZERS[name](model.parameters(), lr=0.01), blobs())
    assert same_view(model, reference)
    assert len({tuple(mask.flatten().tolist()) for mask in model.masks}) == len(model.masks)
    assert model.rows[:5] != model.rows[5:10]


def test_an_optimizer_that_draws_and_reseeds_moves_nothing(reference, blobs, watched, noisy_sgd):
    """SGD that disturbs the global generator at every step trains as SGD does, bit for bit."""
    model = initialised(watched, seed=5)
    run(model, noisy_sgd(model.parameters(), lr=0.1), blobs())
    assert same_view(model, reference)
    assert torch.equal(model.linear.weight, reference.linear.weight)


def test_batches_do_not_depend_on_the_model(reference, blobs, watched):
    """A model that draws more at its construction, or starts elsewhere, sees the same rows."""
    torch.rand(1000)
    model = initialised(watched, seed=99)
    run(model, torch.optim.SGD(model.parameters(), lr=0.1), blobs())
    assert same_view(model, reference)
    assert not torch.equal(model.linear.weight, reference.linear.weight)


def test_initial_weights_come_from_the_seed_alone(watched):
    """Same seed, same weights, whatever was drawn in between; another seed, others."""
    first = initialised(watched, seed=5).linear.weight
    torch.manual_seed(123)
    assert torch.equal(first, initialised(watched, seed=5).linear.weight)
    assert not torch.equal(first, initialised(watched, seed=6).linear.weight)


def test_the_callers_random_state_is_left_alone(blobs, watched, noisy_sgd):
    """The global generator's state is the same before and after, and between two epochs."""
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    model = initialised(watched, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
    options = {"loss": LOSSES["cross_entropy"], "epochs": 3, "batch_size": 10, "seed": 5}
    for _ in train(model, noisy_sgd(model.parameters(), lr=0.1), blobs(), **options):
        assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_caller_that_draws_between_epochs_changes_nothing(blobs, watched):
    """Records are the same whether or not the consumer draws numbers between them."""
    results = []
    for draws in (0, 10):
        model = initialised(watched, seed=5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        records = []
        for record in train(
            model, optimizer, blobs(), loss=LOSSES["cross_entropy"], epochs=3, batch_size=10, seed=5
        ):
            torch.rand(draws)
            records.append(record)
        results.append(untimed(records))
    assert results[0] == results[1]


def test_same_seed_same_bits_other_seed_others(blobs, watched):
    """Two runs of one seed agree in every field but `seconds`; another seed moves the order."""
    results = []
    for seed in (5, 5, 6):
        model = initialised(watched, seed=5)
        records = run(model, torch.optim.SGD(model.parameters(), lr=0.1), blobs(), seed=seed)
        assert all(record.seconds > 0 for record in records)
        results.append((untimed(records), model.rows))
    assert results[0] == results[1]
    assert results[0][1] != results[2][1]
    assert results[0][0] != results[2][0]


def test_more_epochs_begin_with_the_same_ones(blobs, watched):
    """A run of three epochs is the beginning of a run of six: streams are numbered by epoch."""
    results = []
    for epochs in (3, 6):
        model = initialised(watched, seed=5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        results.append(untimed(run(model, optimizer, blobs(), epochs=epochs)))
    assert results[0] == results[1][:3]
