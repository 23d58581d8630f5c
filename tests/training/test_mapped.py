"""Anyone's networks, trained at once by vmap, are trained as each is alone."""

import copy

import pytest
import torch
from torch import nn

from heatgrad.data import Dataset
from heatgrad.models import ByteDropout, SimpleCNN, SimpleMLP
from heatgrad.optim import OPTIMIZERS, DiffusionNesterov, diffusion_groups
from heatgrad.training import (
    LOSSES,
    EpochRecord,
    Replica,
    backend_of,
    initialised,
    train,
    train_replicas,
)

CROSS_ENTROPY = LOSSES["cross_entropy"]
CURVES = tuple(
    name for name in EpochRecord.__dataclass_fields__ if name not in ("epoch", "seconds")
)
ARMS = {
    "SGD": {"momentum": 0.9, "weight_decay": 1e-3},
    "Adam": {"lr": 0.01, "eps": 1e-3},
    "DiffusionSGD": {"diffusion": 0.2, "momentum": 0.9, "max_norm": 1.0},
    "PlaceboDiffusionSGD": {"diffusion": 0.2, "momentum": 0.5},
    "DiffusionNesterov": {"dims": 0, "diffusion": 2.0, "weight_decay": 1e-3},
}


class _Gated(nn.Module):
    """Batch norm and layer norm, two kinds of dropout, one used twice, and tied weights."""

    def __init__(self, width=11, p=0.3):
        super().__init__()
        self.first, self.norm = nn.Linear(5, width), nn.BatchNorm1d(width)
        self.second, self.layer_norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.twice, self.once = ByteDropout(p), nn.Dropout(p)
        self.gate = nn.Linear(width, width)
        self.gate.weight = self.second.weight
        self.last = nn.Linear(width, 2)

    def forward(self, x):
        x = self.twice(torch.relu(self.norm(self.first(x))))
        x = self.twice(torch.tanh(self.layer_norm(self.second(x))))
        return self.last(self.once(x * torch.sigmoid(self.gate(x))))


class _Pixels(nn.Module):
    """The package's convolutional network, on the five features as pixels of a picture."""

    def __init__(self):
        super().__init__()
        self.spread = nn.Linear(5, 16)
        self.cnn = SimpleCNN((1, 4, 4), 2, channels=(3, 4), hidden=6, dropout=0.25)

    def forward(self, x):
        return self.cnn(self.spread(x).unflatten(1, (1, 4, 4)))


class _Asking(nn.Linear):
    def __init__(self):
        super().__init__(5, 2)


class _Branching(_Asking):
    def forward(self, x):
        y = super().forward(x)
        return y if y.sum() > 0 else 2 * y


class _Drawing(_Asking):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, self.training)


class _Counting(_Asking):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class _Reassigning(_Asking):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen = self.seen + 1
        return super().forward(x) * self.seen


class _Unused(_Asking):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(3, 3)


class _Frozen(_Asking):
    def __init__(self):
        super().__init__()
        self.bias.requires_grad_(False)


class _OwnPass(SimpleMLP):
    """A subclass whose forward is not the one that the hand-written passes know."""

    def __init__(self):
        super().__init__((5,), 2, width=6, dropout=0.2)

    def forward(self, x):
        return self.layers(x).tanh()


def data(seed, count=100, *, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count + 60, 5, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    parts = {"x_train": x[:count], "y_train": y[:count], "x_test": x[count:], "y_test": y[count:]}
    found = copy.copy(Dataset.from_clean(**parts, num_classes=2))
    for name in ("x_train", "x_test"):
        object.__setattr__(found, name, getattr(found, name).to(dtype))
    return found


def replica(network, arm, dataset, seed, *, dtype=torch.float64):
    kind, options = arm
    model = initialised(network, seed=seed).to(dtype)
    optimizer = OPTIMIZERS[kind](model.parameters(), **{"lr": 0.05, **options})
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    return Replica(model, optimizer, dataset, seed, scheduler)


def alone(one, epochs, batch_size, loss=CROSS_ENTROPY):
    return list(
        train(
            one.model,
            one.optimizer,
            one.dataset,
            loss=loss,
            epochs=epochs,
            batch_size=batch_size,
            seed=one.seed,
            scheduler=one.scheduler,
        )
    )


def chosen(ours, *, batch_size=16, loss=CROSS_ENTROPY, always=False):
    models, optimizers = [one.model for one in ours], [one.optimizer for one in ours]
    how = {"loss": loss, "batch_size": batch_size, "always": always}
    return backend_of(models, optimizers, ours[0].dataset, **how)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", [_Gated, _Pixels, _OwnPass])
def test_all_at_once_equals_one_by_one(network, loss):
    """Five optimizers, two blocks, dropout and a short last batch: 56 steps in float64.

    Sums are taken in another order, and which one depends on the processor; 56 steps let that
    rounding grow. A wrong batch, mask or update moves the curves by far more than 1e-10.
    """
    arms = [(arm, seed) for seed in (0, 1) for arm in ARMS.items()]
    sets = [data(0), data(1)]
    ours = [replica(network, arm, sets[seed], seed) for arm, seed in arms]
    assert chosen(ours, loss=LOSSES[loss], always=True) == "vmap"
    how = {"loss": LOSSES[loss], "epochs": 8, "batch_size": 16}
    records = list(train_replicas(ours, **how, backend="vmap"))
    assert len(records) == 8
    for i, (arm, seed) in enumerate(arms):
        one = replica(network, arm, sets[seed], seed)
        expected = alone(one, 8, 16, LOSSES[loss])
        for found, record in zip(records, expected, strict=True):
            for name in CURVES:
                value = getattr(record, name)
                assert getattr(found[i], name) == pytest.approx(value, rel=1e-10, abs=1e-10), arm
        states = ours[i].model.state_dict().values(), one.model.state_dict().values()
        for a, b in zip(*states, strict=True):
            torch.testing.assert_close(
                a, b, rtol=0, atol=1e-10, msg=lambda text, arm=arm: f"{arm}: {text}"
            )


@pytest.mark.parametrize("width", [11, 32])
def test_a_replica_does_not_feel_the_others(width):
    """The same bits alone, beside another block, and in a crowd that fills more than one part."""
    sets = [data(seed, dtype=torch.float32) for seed in range(4)]

    def run(arms):
        ours = [
            replica(lambda: _Gated(width), arm, sets[seed], seed, dtype=torch.float32)
            for arm, seed in arms
        ]
        assert chosen(ours, batch_size=48) == "vmap"
        how = {"loss": CROSS_ENTROPY, "epochs": 2, "batch_size": 48}
        records = list(train_replicas(ours, **how))
        return {
            (str(arm), seed): (
                [value.clone() for value in one.model.state_dict().values()],
                [[getattr(of_epoch[i], name) for name in CURVES] for of_epoch in records],
            )
            for i, ((arm, seed), one) in enumerate(zip(arms, ours, strict=True))
        }

    crowd = run([(arm, seed) for seed in range(4) for arm in ARMS.items()])
    for arm in ARMS.items():
        for others in ([], [0], [2, 0]):
            found = run([(arm, seed) for seed in [*others, 1]])[str(arm), 1]
            expected = crowd[str(arm), 1]
            assert found[1] == expected[1], (arm, others)
            assert all(torch.equal(a, b) for a, b in zip(found[0], expected[0], strict=True)), arm


def test_vmap_is_chosen_where_it_is_faster():
    """Small networks without convolutions; the package's own have passes of their own."""
    dataset, sgd = data(0), ("SGD", {})
    assert chosen([replica(_Gated, sgd, dataset, 0)]) == "vmap"
    assert chosen([replica(_Pixels, sgd, dataset, 0)]) == "loop"
    assert chosen([replica(lambda: _Gated(300), sgd, dataset, 0)]) == "loop"
    assert chosen([replica(lambda: SimpleMLP((5,), 2, width=4), sgd, dataset, 0)]) == "replicas"


@pytest.mark.parametrize(
    "network",
    [_Branching, _Drawing, _Counting, _Reassigning, _Unused, _Frozen],
    ids=lambda n: n.__name__,
)
def test_what_cannot_be_mapped_is_trained_one_by_one(network):
    """Control flow, random numbers, state or parameters that vmap would treat otherwise."""
    ours = [replica(network, ("SGD", {"weight_decay": 0.1}), data(0), seed) for seed in (0, 1)]
    assert chosen(ours, always=True) == "loop"
    records = list(train_replicas(ours, loss=CROSS_ENTROPY, epochs=2, batch_size=16))
    for i, seed in enumerate((0, 1)):
        one = replica(network, ("SGD", {"weight_decay": 0.1}), data(0), seed)
        for found, expected in zip(records, alone(one, 2, 16), strict=True):
            for name in CURVES:
                assert getattr(found[i], name) == getattr(expected, name)


def test_optimizers_that_would_not_see_one_chain_are_left_to_the_loop():
    """Parameters in another order, or some of them: a chain over the stack would be another."""
    model = initialised(_Gated, seed=0).double()
    params = list(model.parameters())
    for chain in (params[::-1], params[1:], [{"params": params[:2]}, {"params": params[2:]}]):
        optimizer = OPTIMIZERS["DiffusionSGD"](chain, lr=0.1, diffusion=0.1)
        assert chosen([Replica(model, optimizer, data(0), 0)]) == "loop"
    groups = diffusion_groups(model, "norm_weight")
    assert chosen([Replica(model, DiffusionNesterov(groups, lr=0.1), data(0), 0)]) == "vmap"
    assert chosen([Replica(model, torch.optim.LBFGS(params), data(0), 0)]) == "loop"


def test_networks_that_are_not_alike_are_left_to_the_loop():
    """Other widths cannot be stacked."""
    ours = [replica(lambda w=w: _Gated(w), ("SGD", {}), data(0), 0) for w in (8, 9)]
    assert chosen(ours) == "loop"


def test_one_that_diverges_ends_and_the_others_go_on():
    """As alone: no step at the loss that is not finite; its record is its last."""
    arms = [("SGD", {"lr": 0.1}), ("SGD", {"lr": 1e300}), ("Adam", {"lr": 0.01})]
    network, loss = (lambda: _Gated(p=0.0)), LOSSES["squared_error"]
    ours = [replica(network, arm, data(0), 0) for arm in arms]
    records = list(train_replicas(ours, loss=loss, epochs=4, batch_size=16, backend="vmap"))
    for i, arm in enumerate(arms):
        expected = alone(replica(network, arm, data(0), 0), 4, 16, loss)
        found = [of_epoch[i] for of_epoch in records if of_epoch[i] is not None]
        assert [record.is_finite for record in found] == [r.is_finite for r in expected]
        assert len(expected) == (1 if i == 1 else 4)
