"""Gradients of single samples against a loop of backward passes, and what is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from heatgrad.fokker_planck.noise.samples import SampleGradients


def by_backward(model, loss, x, y):
    """Every sample by its own backward pass, the plainest way."""
    rows = []
    for one_x, one_y in zip(x.split(1), y.split(1), strict=True):
        model.zero_grad()
        loss(model(one_x), one_y).backward()
        rows.append(torch.cat([p.grad.reshape(-1).clone() for p in model.parameters()]))
    model.zero_grad()
    return torch.stack(rows)


def all_rows(source):
    return torch.cat([source.rows(chunk)[0] for chunk in range(len(source.chunks))])


def classes(n, count=3):
    return torch.randint(0, count, (n,))


def mlp():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), torch.randn(11, 4)


def conv():
    layers = (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
    return nn.Sequential(*layers), torch.randn(11, 2, 6, 6)


def norms():
    layers = (nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.5), nn.Linear(6, 3))
    return nn.Sequential(*layers), torch.randn(11, 4)


def words():
    return nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(15, 3)), torch.randint(
        0, 7, (11, 5)
    )


class Tied(nn.Module):
    """Input and output embedding share one tensor."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(3, 4)
        self.out = nn.Linear(4, 3, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x):  # noqa: D102
        return self.out(torch.tanh(self.embed(x)))


def tied():
    return Tied(), torch.randint(0, 3, (11,))


def attention():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.core = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)
            self.out = nn.Linear(4, 3)

        def forward(self, x):
            return self.out(self.core(x).mean(1))

    return Attention(), torch.randn(11, 5, 4)


@pytest.mark.parametrize("make", [mlp, conv, norms, words, tied, attention])
@pytest.mark.parametrize("vectorized", [True, False])
@pytest.mark.parametrize("chunk", [1, 4, 50])
def test_rows_are_those_of_a_loop_of_backward(make, vectorized, chunk):
    """Float64, to 1e-12 of the largest, whatever the chunk; the network in evaluation mode."""
    torch.manual_seed(0)
    model, x = make()
    model, y = model.double(), classes(11)
    x = x if x.dtype == torch.long else x.double()
    expected = by_backward(copy.deepcopy(model).eval(), cross_entropy, x, y)
    source = SampleGradients(model, cross_entropy, (x, y), chunk=chunk, vectorized=vectorized)
    found = all_rows(source)
    assert found.shape == (11, source.num_params)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))
    losses = torch.cat([source.rows(c)[1] for c in range(len(source.chunks))])
    single = cross_entropy(copy.deepcopy(model).eval()(x), y, reduction="none")
    torch.testing.assert_close(losses, single, rtol=1e-12, atol=1e-12)


def test_only_some_parameters_in_a_given_order():
    torch.manual_seed(0)
    model, x = mlp()
    y = classes(11)
    whole = all_rows(SampleGradients(model, cross_entropy, (x, y)))
    params = [model[2].bias, model[0].weight]
    part = all_rows(SampleGradients(model, cross_entropy, (x, y), params=params))
    torch.testing.assert_close(part, torch.cat([whole[:, -3:], whole[:, :24]], dim=1))
    model[0].requires_grad_(False)
    part = all_rows(SampleGradients(model, cross_entropy, (x, y)))
    torch.testing.assert_close(part, whole[:, 30:])


def test_batches_of_a_loader_uneven_and_of_several_lengths():
    """Sequences of different length cannot be one tensor; a limit cuts the last batch."""
    torch.manual_seed(0)

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, x):
            return self.layer(x).mean(1)

    model = Mean().double()
    batches = [(torch.randn(3, k, 2).double(), classes(3)) for k in (2, 5)]
    source = SampleGradients(model, cross_entropy, batches, chunk=2, limit=5)
    assert source.num_samples == 5
    assert [len(range(5)[c]) for c in source.chunks] == [2, 1, 2]
    expected = [by_backward(model, cross_entropy, *batch) for batch in batches]
    torch.testing.assert_close(all_rows(source), torch.cat(expected)[:5])


def test_the_network_is_left_as_it_was():
    """Modes of each module, buffers, gradients, parameters, random numbers, also after errors."""
    torch.manual_seed(0)
    model, x = conv()
    model.append(nn.Dropout(0.3)).train()
    model[4].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    state = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    y = classes(11)
    data = torch.utils.data.TensorDataset(x, y)
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    before = torch.get_rng_state()

    def unchanged():
        assert [m.training for m in model.modules()] == modes
        assert all(torch.equal(b, state[name]) for name, b in model.state_dict().items())
        assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
        assert model[4].weight.grad is None
        assert torch.equal(torch.get_rng_state(), before)

    source = SampleGradients(model, cross_entropy, loader, chunk=4)
    source.rows(0)
    unchanged()
    with pytest.raises(ValueError, match="must be finite"):
        SampleGradients(model, lambda a, b: cross_entropy(a, b) / 0, (x, y))
    unchanged()


def test_later_passes_see_the_network_as_it_was():
    """A network trained on would give eigenvectors that belong to another Gram matrix."""
    torch.manual_seed(0)
    model, x = mlp()
    source = SampleGradients(model, cross_entropy, (x, classes(11)))
    before = source.rows(0)[0]
    with torch.no_grad():
        model[0].weight.add_(1)
    assert torch.equal(source.rows(0)[0], before)


def test_batch_norm_in_training_mode_is_refused_with_the_remedy():
    torch.manual_seed(0)
    model, x = conv()
    data = (x, classes(11))
    model.train()
    with pytest.raises(ValueError, match=r"got '1' in training mode.*call its \.eval\(\)"):
        SampleGradients(model, cross_entropy, data, randomness="different")
    model[1].eval()
    SampleGradients(model, cross_entropy, data, randomness="different")
    model.train()
    SampleGradients(model, cross_entropy, data)  # evaluation mode
    model[1] = nn.BatchNorm2d(3, track_running_stats=False)
    with pytest.raises(ValueError, match="track_running_stats=True"):
        SampleGradients(model, cross_entropy, data)


class Mixer(nn.Module):
    """Centres over the batch, by hand: nobody can see it from the outside."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):  # noqa: D102
        return self.layer(x - x.mean(0))


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: cross_entropy(a, b, reduction="sum"),
        # Class weights drop out of a batch of one, which torch divides by them.
        lambda a, b: cross_entropy(a, b, weight=torch.tensor([1.0, 5.0, 20.0])),
    ],
)
def test_a_loss_that_is_not_a_mean_is_refused(loss):
    torch.manual_seed(0)
    model, x = mlp()
    with pytest.raises(ValueError, match=r"must be the mean over its samples.*reduction='mean'"):
        SampleGradients(model, loss, (x, classes(11)))


def test_hidden_mixing_of_samples_is_refused():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="no layer that mixes samples"):
        SampleGradients(Mixer(), cross_entropy, (torch.randn(8, 4), classes(8)))


def test_dropout_is_off_or_draws_the_same_masks_again_in_each_pass():
    """`vmap` needs to be told; by its inputs' factor 0 or 2 a weight's gradient shows its mask."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(40, 1, bias=False)).double()
    data = (torch.ones(12, 40).double(), torch.full((12, 1), 5.0).double())

    def masks(kind, vectorized):
        source = SampleGradients(
            model, mse_loss, data, chunk=4, randomness=kind, vectorized=vectorized, seed=1
        )
        rows = all_rows(source)
        assert torch.equal(rows, all_rows(source))
        return rows != 0

    for vectorized in (True, False):
        assert masks("off", vectorized).all()
        shared = masks("same", vectorized)
        assert (shared == shared[0]).all()
        assert 0.1 < shared.double().mean() < 0.9
        different = masks("different", vectorized)
        assert len({tuple(row.tolist()) for row in different}) == 12


def test_random_numbers_in_evaluation_mode_are_refused():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return nn.functional.dropout(self.layer(x), 0.5, training=True)

    with pytest.raises(ValueError, match="randomness='different'"):
        SampleGradients(
            Noisy(), lambda a, b: 0 * cross_entropy(a, b), (torch.randn(8, 4), classes(8))
        )


def test_what_vmap_cannot_take_goes_one_by_one():
    """Control flow that depends on data, and activation checkpointing."""

    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            out = torch.utils.checkpoint.checkpoint(self.layer, x, use_reentrant=False)
            return torch.cat([row * 2 if row.sum() > 0 else row for row in out.split(1)])

    torch.manual_seed(0)
    model, x, y = Branch().double(), torch.randn(8, 4).double(), classes(8)
    with pytest.raises(ValueError, match="vectorized=False"):
        SampleGradients(model, cross_entropy, (x, y))
    source = SampleGradients(model, cross_entropy, (x, y), vectorized=False)
    torch.testing.assert_close(all_rows(source), by_backward(model, cross_entropy, x, y))


def test_a_parameter_without_influence_has_zero_gradient():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.spare = nn.Linear(4, 3), nn.Parameter(torch.ones(2))

        def forward(self, x):
            return self.layer(x)

    for vectorized in (True, False):
        source = SampleGradients(
            Spare(), cross_entropy, (torch.randn(5, 4), classes(5)), vectorized=vectorized
        )
        assert source.num_params == 17
        assert not source.rows(0)[0][:, :2].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"limit": 1}, "at least two samples, got 1"),
        ({"randomness": "on"}, "randomness must be 'off'"),
        ({"params": [torch.ones(2)]}, "params must be parameters of the network"),
        ({"params": []}, "a parameter that requires a gradient, got none"),
    ],
)
def test_options_are_checked(options, message):
    model, x = mlp()
    with pytest.raises(ValueError, match=message):
        SampleGradients(model, cross_entropy, (x, classes(11)), **options)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "at least two samples, got 0"),
        ([{"x": torch.zeros(3, 4)}], "got a batch that is a dict"),
        ([torch.zeros(3, 4)], "got a batch that is a Tensor"),
        ((torch.zeros(3, 4), torch.zeros(2)), "as many targets as inputs, got 3 and 2"),
    ],
)
def test_data_are_checked(data, message):
    with pytest.raises(ValueError, match=message):
        SampleGradients(mlp()[0], cross_entropy, data)


def test_a_loss_per_sample_or_not_finite_is_refused():
    model, x = mlp()
    y = classes(11)
    with pytest.raises(ValueError, match=r"one number, got \(11,\); take reduction='mean'"):
        SampleGradients(model, lambda a, b: cross_entropy(a, b, reduction="none"), (x, y))
    x = x.clone()
    x[7] = float("nan")
    with pytest.raises(ValueError, match="a loss of nan at sample 7"):
        SampleGradients(model, cross_entropy, (x, y), chunk=5).rows(1)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="requires a gradient, got none"):
        SampleGradients(model, cross_entropy, (x, y))
