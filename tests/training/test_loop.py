"""The training loop against NumPy, and where it stops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from heatgrad.training import LOSSES, initialised, train

CURVES = ("train_loss", "test_loss", "test_accuracy", "grad_norm")


def softmax_regression(data, weight, bias, *, lr, epochs):
    """Gradient descent on the mean cross-entropy, written out."""
    x, y = data.x_train[:, :2].double().numpy(), np.eye(2)[data.y_train.numpy()]
    losses, norms = [], []
    for _ in range(epochs):
        logits = x @ weight.T + bias
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        losses.append(-np.log((p * y).sum(axis=1)).mean())
        grad_w, grad_b = (p - y).T @ x / len(x), (p - y).mean(axis=0)
        norms.append(math.sqrt((grad_w**2).sum() + (grad_b**2).sum()))
        weight, bias = weight - lr * grad_w, bias - lr * grad_b
    return weight, bias, losses, norms


def test_full_batch_sgd_equals_numpy(blobs, plain):
    """One batch an epoch is gradient descent, whatever the order: equal to a transcription."""
    data, model = blobs(noise=0.1), initialised(plain, seed=1)
    start = [p.detach().numpy().copy() for p in model.parameters()]
    weight, bias, losses, norms = softmax_regression(data, *start, lr=0.3, epochs=20)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    loss = LOSSES["cross_entropy"]
    records = list(train(model, optimizer, data, loss=loss, epochs=20, batch_size=99, seed=1))
    # Rounding of a sum in another order, over 20 contracting steps.
    close = {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(model.linear.weight.detach().numpy(), weight, **close)
    np.testing.assert_allclose(model.linear.bias.detach().numpy(), bias, **close)
    np.testing.assert_allclose([r.train_loss for r in records], losses, **close)
    np.testing.assert_allclose([r.grad_norm for r in records], norms, **close)
    assert [r.epoch for r in records] == list(range(1, 21))
    assert losses == sorted(losses, reverse=True)


def test_batch_losses_are_weighted_by_their_size(blobs, plain):
    """With lr 0 the epoch's loss is the mean over all rows, a short last batch included."""
    data, model = blobs(50), initialised(plain, seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    loss = LOSSES["cross_entropy"]
    (record,) = train(model, optimizer, data, loss=loss, epochs=1, batch_size=16, seed=1)
    expected = loss(model(data.x_train), data.y_train).item()
    assert record.train_loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(33, 16, 32), (34, 16, 34), (32, 16, 32), (5, 1, 5), (1, 4, 1), (1, 1, 1), (2, 1, 2)],
)
def test_every_row_once_but_a_last_single_one(count, size, expected, blobs, watched):
    """An epoch is a partition of the rows into batches; only a last batch of one is missing."""
    data, model = blobs(count), watched()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = LOSSES["cross_entropy"]
    list(train(model, optimizer, data, loss=loss, epochs=3, batch_size=size, seed=2))
    steps = len(model.rows) // 3
    assert steps == math.ceil(expected / size)
    left_out = set()
    for epoch in range(3):
        batches = model.rows[epoch * steps : (epoch + 1) * steps]
        rows = [row for batch in batches for row in batch]
        assert len(rows) == len(set(rows)) == expected
        assert all(len(batch) == size for batch in batches[:-1])
        left_out |= set(range(count)) - set(rows)
    assert len(left_out) >= (count - expected)


def test_batch_normalisation_survives_a_single_left_over(blobs):
    """17 rows in batches of 16: batch norm refuses one row, and never gets it."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss = LOSSES["cross_entropy"]
    records = list(train(model, optimizer, blobs(17), loss=loss, epochs=2, batch_size=16, seed=0))
    assert all(record.is_finite for record in records)


def test_a_diverging_run_stops_with_its_first_non_finite_loss(blobs):
    """A rate of 1e6 on a quadratic: finite records, then one that is not, and no more.

    The error grows by about lr times the largest eigenvalue a step; float32 ends at 3e38.
    """
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
    loss = LOSSES["squared_error"]
    records = list(train(model, optimizer, blobs(), loss=loss, epochs=50, batch_size=48, seed=0))
    assert 1 < len(records) < 50
    assert all(record.is_finite for record in records[:-1])
    assert not records[-1].is_finite
    assert records[0].train_loss < records[1].train_loss


def test_gradients_are_probed_a_few_times_an_epoch(blobs, plain, monkeypatch):
    """All steps if there are at most 8, else 8 of them, evenly over the whole epoch."""
    from heatgrad.training import loop

    probed = []
    probe = loop.probe_gradient

    def record(optimizer):
        probed.append(steps[0])
        return probe(optimizer)

    monkeypatch.setattr(loop, "probe_gradient", record)
    for size, expected in (
        (48, [0]),
        (16, [0, 1, 2]),
        (6, list(range(8))),
        (4, [0, 1, 3, 4, 6, 7, 9, 10]),
        (2, [0, 3, 6, 9, 12, 15, 18, 21]),
    ):
        model = plain()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        steps = [0]
        optimizer.register_step_post_hook(lambda *_, steps=steps: steps.append(steps.pop() + 1))
        probed.clear()
        loss = LOSSES["cross_entropy"]
        list(train(model, optimizer, blobs(), loss=loss, epochs=1, batch_size=size, seed=0))
        assert probed == expected


def test_a_non_finite_batch_ends_the_epoch_at_once(blobs, plain):
    """The step that would follow it is not taken, nor any other."""
    model = plain()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    taken = []
    optimizer.register_step_post_hook(lambda *_: taken.append(1))

    def loss(logits, labels):
        return torch.nn.functional.cross_entropy(logits, labels) / (2 - len(taken))

    (record,) = train(model, optimizer, blobs(), loss=loss, epochs=9, batch_size=4, seed=0)
    assert len(taken) == 2
    assert record.train_loss == math.inf


@pytest.mark.parametrize(("epochs", "size"), [(0, 4), (-1, 4), (1, 0), (1, -4)])
def test_wrong_numbers_are_refused(epochs, size, blobs, plain):
    """`epochs` and `batch_size` below 1 are errors that say what was got."""
    model = plain()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = train(
        model,
        optimizer,
        blobs(),
        loss=LOSSES["cross_entropy"],
        epochs=epochs,
        batch_size=size,
        seed=0,
    )
    with pytest.raises(ValueError, match=f"must be at least 1, got {epochs} and {size}"):
        next(run)
    run = train(
        model, optimizer, blobs(), loss=LOSSES["cross_entropy"], epochs=1, batch_size=4, seed=-1
    )
    with pytest.raises(ValueError, match="seed must be at least 0"):
        next(run)
