"""Networks trained at once are trained as each is alone, and do not feel each other."""

import copy

import pytest
import torch

from heatgrad.data import Dataset
from heatgrad.models import MediumMLP, SimpleCNN, SimpleMLP
from heatgrad.optim import OPTIMIZERS, DiffusionNesterov, DiffusionSGD, diffusion_groups
from heatgrad.training import (
    LOSSES,
    EpochRecord,
    Replica,
    can_train,
    initialised,
    train,
    train_replicas,
)

CROSS_ENTROPY = LOSSES["cross_entropy"]
# An arm of every optimizer, with momentum, decay and clipping where it has them.
ARMS = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "Adam": {"lr": 0.01, "eps": 1e-3},
    "AdamW": {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.1},
    "DiffusionSGD": {"diffusion": 0.2, "momentum": 0.9, "weight_decay": 1e-3, "max_norm": 1.0},
    "NormMatchedSGD": {"diffusion": 0.2, "momentum": 0.9},
    "PlaceboDiffusionSGD": {"diffusion": 0.2, "momentum": 0.5, "dampening": 0.2},
    "NormMatchedPlaceboSGD": {"diffusion": 0.2, "momentum": 0.5, "weight_decay": 1e-3},
    "LRMatchedSGD": {"diffusion": 0.2, "momentum": 0.9, "nesterov": True, "max_norm": 1.0},
    "LayoutDiffusionSGD": {"diffusion": 0.2, "momentum": 0.9, "max_norm": 1.0},
    "LaplacianSmoothingSGD": {"diffusion": 1.0},
    "SobolevSGD": {"diffusion": 1.0},
    "DiffusionNesterov": {"dims": 0, "diffusion": 2.0, "weight_decay": 1e-3},
}
VARIANTS = [
    *(("DiffusionSGD", {"diffusion": 0.2, "boundary": b}) for b in ("periodic", "dirichlet")),
    *(
        ("DiffusionSGD", {"diffusion": strength, "mode": mode})
        for mode, strength in {
            "layer": 0.5,  # 1 would make all weights of a layer alike, and scores a matter of ties
            "layer_literal": 0.5,
            "centralize": 1.0,
            "centralize_channel": 1.0,
        }.items()
    ),
    ("DiffusionSGD", {"diffusion": 0.0, "maximize": True, "lr": 1e-3}),
    ("SobolevSGD", {"diffusion": 0.0}),
    *((f"{kind}SGD", {"diffusion": 0.0}) for kind in ("PlaceboDiffusion", "LRMatched")),
    ("LRMatchedSGD", {"diffusion": 0.5, "mode": "layer"}),
    ("LayoutDiffusionSGD", {"diffusion": 0.2, "boundary": "periodic"}),
]
EVERY = [*ARMS.items(), *VARIANTS]
CURVES = tuple(
    name for name in EpochRecord.__dataclass_fields__ if name not in ("epoch", "seconds")
)


def data(seed, count=100):
    """Two classes that no line separates; float64 where the network is."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count + 60, 5, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    parts = {"x_train": x[:count], "y_train": y[:count], "x_test": x[count:], "y_test": y[count:]}
    return Dataset.from_clean(**parts, num_classes=2)


def in_double(dataset):
    """A data set holds float32; its tensors may be replaced for a check of the arithmetic."""
    wide = copy.copy(dataset)
    for name in ("x_train", "x_test"):
        object.__setattr__(wide, name, getattr(dataset, name).double())
    return wide


def replica(arm, dataset, seed, *, width=12, dtype=torch.float64, dropout=0.2):
    kind, options = arm
    model = initialised(lambda: SimpleMLP((5,), 2, width=width, dropout=dropout), seed=seed)
    model = model.to(dtype)
    optimizer = OPTIMIZERS[kind](model.parameters(), **{"lr": 0.05, **options})
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    return Replica(model, optimizer, dataset, seed, scheduler)


def alone(one, loss, epochs, batch_size):
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


@pytest.mark.parametrize("loss", LOSSES)
def test_all_at_once_equals_one_by_one(loss):
    """Every optimizer, two blocks, dropout and a short last batch: 56 steps in float64."""
    arms = [(arm, seed) for seed in (0, 1) for arm in EVERY]
    sets = [in_double(data(seed)) for seed in (0, 1)]
    ours = [replica(arm, sets[seed], seed) for arm, seed in arms]
    records = list(train_replicas(ours, loss=LOSSES[loss], epochs=8, batch_size=16))
    assert len(records) == 8
    for i, (arm, seed) in enumerate(arms):
        theirs = replica(arm, sets[seed], seed)
        for found, expected in zip(records, alone(theirs, LOSSES[loss], 8, 16), strict=True):
            for name in CURVES:
                value = getattr(expected, name)
                assert getattr(found[i], name) == pytest.approx(value, rel=1e-12, abs=1e-12), arm
        for a, b in zip(
            ours[i].model.state_dict().values(), theirs.model.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12, msg=str(arm))


@pytest.mark.parametrize("width", [10, 64])
def test_a_replica_does_not_feel_the_others(width):
    """The same bits alone, beside another block, and in a crowd."""
    kinds = {"width": width, "dtype": torch.float32}

    def run(arms):
        ours = [replica(arm, sets[seed], seed, **kinds) for arm, seed in arms]
        records = list(train_replicas(ours, loss=CROSS_ENTROPY, epochs=2, batch_size=48))
        return {
            (str(arm), seed): (
                [v.clone() for v in one.model.state_dict().values()],
                [[getattr(of_epoch[i], name) for name in CURVES] for of_epoch in records],
            )
            for i, ((arm, seed), one) in enumerate(zip(arms, ours, strict=True))
        }

    sets = [data(seed) for seed in range(3)]
    crowd = run([(arm, seed) for seed in range(3) for arm in EVERY])
    for arm in EVERY:
        for others in ([], [0], [2, 0]):
            found = run([(arm, seed) for seed in [*others, 1]])[str(arm), 1]
            expected = crowd[str(arm), 1]
            assert found[1] == expected[1], (arm, others)
            assert all(torch.equal(a, b) for a, b in zip(found[0], expected[0], strict=True)), arm


def test_one_that_diverges_ends_and_the_others_go_on():
    """As alone: no step at the loss that is not finite; its record is its last."""
    arms = [("SGD", {"lr": 0.1}), ("SGD", {"lr": 1e300}), ("Adam", {"lr": 0.01})]
    wide = in_double(data(0))
    ours = [replica(arm, wide, 0, dropout=0.0) for arm in arms]
    theirs = [replica(arm, wide, 0, dropout=0.0) for arm in arms]
    loss = LOSSES["squared_error"]
    records = list(train_replicas(ours, loss=loss, epochs=4, batch_size=16))
    expected = [alone(one, loss, 4, 16) for one in theirs]
    assert len(expected[1]) < 4
    for i, of_one in enumerate(expected):
        found = [of_epoch[i] for of_epoch in records if of_epoch[i] is not None]
        assert len(found) == len(of_one)
        assert found[-1].is_finite == of_one[-1].is_finite
    # A step was made before the loss that was not finite, and none after. (The biases before a
    # batch norm have no gradient but rounding, which this rate enlarges.)
    weights = [one.model.layers[1].weight for one in (ours[1], theirs[1])]
    assert weights[1].abs().max() > 1e290
    torch.testing.assert_close(*weights, equal_nan=True, rtol=1e-6, atol=0)


def test_groups_of_velocity_diffusion():
    """An optimizer whose groups stand in another order than the network's parameters."""
    wide = in_double(data(0))
    pairs = []
    for _ in range(2):
        model = initialised(lambda: SimpleMLP((5,), 2, width=12), seed=0).double()
        groups = diffusion_groups(model, "norm_weight", "norm_bias")
        pairs.append(Replica(model, DiffusionNesterov(groups, lr=0.02), wide, 0))
    list(train_replicas(pairs[:1], loss=CROSS_ENTROPY, epochs=3, batch_size=16))
    alone(pairs[1], CROSS_ENTROPY, 3, 16)
    for a, b in zip(pairs[0].model.parameters(), pairs[1].model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_what_can_be_trained_at_once():
    for network in (SimpleMLP, MediumMLP):
        cannot = {name for name, kind in OPTIMIZERS.items() if not can_train(network, kind)}
        assert cannot == {
            "MomentumMatchedNesterov",
            "NormMatchedPlaceboNesterov",
            "PlaceboDiffusionNesterov",
            "RefinedNesterov",
        }
    assert not can_train(SimpleCNN, torch.optim.SGD)
    assert not can_train(SimpleMLP, torch.optim.LBFGS)


def test_optimizers_that_cannot_be_are_refused():
    """Where the back end is asked for; otherwise they are trained one by one."""
    wide = in_double(data(0))
    model = SimpleMLP((5,), 2, width=4).double()
    params = list(model.parameters())
    two = DiffusionSGD([{"params": params[:2]}, {"params": params[2:]}], diffusion=0.1)
    how = {"loss": CROSS_ENTROPY, "epochs": 1, "batch_size": 8}
    with pytest.raises(ValueError, match="DiffusionSGD of replicas must have one parameter group"):
        next(train_replicas([Replica(model, two, wide, 0)], **how, backend="replicas"))
    (record,) = next(train_replicas([Replica(model, two, wide, 0)], **how))
    assert record.diffusion_ratio < 1
    other = torch.optim.LBFGS(params)
    with pytest.raises(ValueError, match=r"replicas can be trained with SGD, .*, got LBFGS"):
        next(train_replicas([Replica(model, other, wide, 0)], **how, backend="replicas"))
    cnn = SimpleCNN((1, 4, 4), 2)
    sgd = torch.optim.SGD(cnn.parameters())
    with pytest.raises(ValueError, match="needs networks that are an MLP, got SimpleCNN"):
        next(train_replicas([Replica(cnn, sgd, wide, 0)], **how, backend="replicas"))
