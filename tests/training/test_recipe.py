"""What a training does beside plain steps, each against the same done by hand."""

import copy
from functools import partialmethod

import pytest
import torch
from torch import nn

from heatgrad.core.random import stream_generator
from heatgrad.data import Digits, Pixels
from heatgrad.models import SimpleCNN
from heatgrad.optim import DiffusionSGD
from heatgrad.training import LOSSES, CropFlip, Recipe, evaluate, initialised, train
from heatgrad.training.order import epoch_plan

ENTROPY = LOSSES["cross_entropy"]


@pytest.fixture(scope="module")
def data():
    return Digits(num_test=1600).load(0)


def network(seed=0):
    return initialised(lambda: SimpleCNN((1, 8, 8), 10, channels=(4, 4), hidden=8), seed=seed)


def trained(data, recipe, *, epochs=2, batch_size=32, model=None, loss=ENTROPY, **options):
    """Return the network and the records of a training."""
    model = network() if model is None else model
    optimizer = DiffusionSGD(model.parameters(), **{"lr": 0.1, "diffusion": 0.1} | options)
    records = list(
        train(
            model,
            optimizer,
            data,
            loss=loss,
            epochs=epochs,
            batch_size=batch_size,
            seed=3,
            recipe=recipe,
        )
    )
    return model, records, optimizer


def by_hand(data, step, *, epochs=2, batch_size=32):
    """Train by a step of one's own, in the same order with the same masks."""
    model = network()
    optimizer = DiffusionSGD(model.parameters(), lr=0.1, diffusion=0.1)
    for epoch in range(1, epochs + 1):
        drawn = stream_generator(3, "augment", epoch)
        model.train()
        for batch, mask, _ in epoch_plan(len(data.y_train), batch_size, 3, epoch):
            torch.manual_seed(mask)
            optimizer.zero_grad()
            step(model, data.x_train[batch], data.y_train[batch], drawn)
            optimizer.step()
    return model


def alike(a, b, **tolerance):
    for name, value in a.state_dict().items():
        torch.testing.assert_close(value, b.state_dict()[name], **tolerance, msg=name)


def test_smoothed_labels_train_and_plain_ones_score(data):
    """(1 - s) of the label's loss and s of the mean over all classes."""

    def step(model, x, y, _):
        log = nn.functional.log_softmax(model(x), dim=1)
        own = -log[torch.arange(len(y)), y]
        (0.8 * own.mean() + 0.2 * -log.mean()).backward()

    model, records, _ = trained(data, Recipe(label_smoothing=0.2))
    alike(model, by_hand(data, step), rtol=1e-4, atol=1e-5)
    assert records[-1].test_loss == evaluate(model, data, loss=ENTROPY).loss


def test_augmentation_comes_from_its_own_stream(data):
    augment = CropFlip(Pixels((0.0,), (1.0,)), pad=1)

    def step(model, x, y, drawn):
        ENTROPY(model(augment(x, drawn)), y).backward()

    model, _, _ = trained(data, Recipe(augment=augment))
    alike(model, by_hand(data, step), rtol=0, atol=0)
    plain, _, _ = trained(data, Recipe())
    assert not torch.equal(plain.head[0].weight, model.head[0].weight)


def test_parts_have_the_gradient_of_the_whole(data):
    """Without batch normalisation: the same gradients, of 32 at once or of 11, 11 and 10."""
    x, y = data.x_train[:32].double(), data.y_train[:32]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()
    grads = []
    for count in (1, 3):
        model.zero_grad()
        value = Recipe(accumulate=count).gradient(model, x, y, ENTROPY)
        assert value == pytest.approx(ENTROPY(model(x), y).item(), rel=1e-12)
        grads.append([p.grad.clone() for p in model.parameters()])
    for whole, parts in zip(*grads, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("n", "count", "sizes"), [(7, 3, [3, 2, 2]), (3, 4, [3]), (2, 2, [2]), (8, 1, [8])]
)
def test_no_part_is_a_single_example(n, count, sizes):
    parts = Recipe(accumulate=count).parts(torch.zeros(n, 2), torch.zeros(n))
    assert [len(y) for _, y in parts] == sizes


def test_the_average_is_exponential_and_scores(data):
    """That is a <- d a + (1 - d) w after every step, the weights of the first being its start."""
    decay, states = 0.9, []

    class Watched(DiffusionSGD):
        def step(self, closure=None):
            super().step(closure)
            states.append([p.detach().clone() for p in model.parameters()])

    model = network()
    optimizer = Watched(model.parameters(), lr=0.1, diffusion=0.1)
    records = list(
        train(
            model,
            optimizer,
            data,
            loss=ENTROPY,
            epochs=2,
            batch_size=32,
            seed=3,
            recipe=Recipe(average=decay),
        )
    )
    expected = states[0]
    for state in states[1:]:
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, state, strict=True)]
    for param, value in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(param.detach(), value, rtol=1e-5, atol=1e-6)
    assert records[-1].test_accuracy == evaluate(model, data, loss=ENTROPY).accuracy


def test_diffusion_falls_to_zero_in_the_last_epoch(data):
    seen = []

    class Watched(DiffusionSGD):
        def step(self, closure=None):
            seen.append(self.param_groups[0]["diffusion"])
            return super().step(closure)

    model = network()
    optimizer = Watched(model.parameters(), lr=0.1, diffusion=0.2)
    recipe = Recipe(diffusion_decay=True)
    options = {"loss": ENTROPY, "epochs": 5, "batch_size": 100, "seed": 3, "recipe": recipe}
    list(train(model, optimizer, data, **options))
    assert seen[::2] == pytest.approx([0.2, 0.15, 0.1, 0.05, 0.0])
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)  # has none
    list(train(model, sgd, data, **options))


def test_lower_precision_is_near_and_weights_stay_in_float32(data):
    exact, records, _ = trained(data, Recipe(), epochs=1)
    model, low, _ = trained(data, Recipe(precision="bfloat16"), epochs=1)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert low[0].train_loss == pytest.approx(records[0].train_loss, rel=0.02)
    assert low[0].train_loss != records[0].train_loss
    alike(model, exact, rtol=0.1, atol=0.05)


def test_compiled_it_is_the_same_training(data, monkeypatch):
    """But for rounding; names of parameters stay, and a copy is a plain network."""
    whole = nn.Module.compile  # its last part takes a minute, and is not ours
    monkeypatch.setattr(nn.Module, "compile", partialmethod(whole, backend="aot_eager"))
    exact, records, _ = trained(data, Recipe(), epochs=1)
    model, compiled, _ = trained(data, Recipe(compile=True), epochs=1)
    assert compiled[0].train_loss == pytest.approx(records[0].train_loss, rel=1e-4)
    assert model.state_dict().keys() == exact.state_dict().keys()
    alike(model, exact, rtol=1e-2, atol=1e-3)
    copy.deepcopy(model)(data.x_test[:2])
    torch.compiler.reset()


def test_nothing_asked_is_nothing_done(data):
    first, *_ = trained(data, Recipe())
    alike(first, by_hand(data, lambda m, x, y, _: ENTROPY(m(x), y).backward()), rtol=0, atol=0)


def test_the_network_may_be_copied_afterwards(data):
    model, *_ = trained(data, Recipe(average=0.5), epochs=1)
    copy.deepcopy(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"average": -0.1}, r"average must be in \[0, 1\), got -0.1"),
        ({"precision": "half"}, "precision must be float32 or bfloat16, got 'half'"),
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


def test_smoothing_needs_the_cross_entropy(data):
    with pytest.raises(ValueError, match="label_smoothing needs loss 'cross_entropy'"):
        trained(data, Recipe(label_smoothing=0.1), loss=LOSSES["squared_error"])
