"""Alignment: planted orders and scales are undone, and nothing else changes."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heatgrad.landscape.align import align
from heatgrad.landscape.objective import DataLoss
from heatgrad.landscape.path import interpolate
from heatgrad.landscape.units import units_of
from heatgrad.models import MediumMLP, SimpleCNN


class Residual(nn.Module):
    """Two residual blocks, the second wider with a projection, as in ResNets."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.one = nn.Sequential(*self.block(6, 6, 1))
        self.two = nn.Sequential(*self.block(6, 8, 2))
        self.skip = nn.Sequential(nn.Conv2d(6, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 3)

    @staticmethod
    def block(before, after, stride):
        """Return the layers of a block."""
        return (
            *(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()),
            *(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)),
        )

    def forward(self, x):
        """Return the logits."""
        x = self.stem(x)
        x = torch.relu(self.one(x) + x)
        x = torch.relu(self.two(x) + self.skip(x))
        return self.head(x.mean((2, 3)))


class PreActivation(nn.Module):
    """Batch norm before the convolutions, a depthwise one, a head behind a flattened image."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.deep = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.mix = nn.Conv2d(6, 6, 1)
        self.pool = nn.AvgPool2d(4)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(24, 9), nn.LayerNorm(9), nn.GELU())
        self.last = nn.Linear(9, 3)

    def forward(self, x):
        """Return the logits."""
        x = self.stem(x)
        x = x + self.mix(torch.relu(self.deep(torch.relu(self.norm(x)))))
        return self.last(self.head(self.pool(x)))


SHAPES = {
    "MLP": ((1, 4, 4), lambda: MediumMLP((1, 4, 4), 3, widths=(20, 16, 12, 8))),
    "CNN": ((1, 8, 8), lambda: SimpleCNN((1, 8, 8), 3, channels=(5, 7), hidden=11)),
    "ResNet": ((1, 8, 8), Residual),
    "pre-activation": ((1, 8, 8), PreActivation),
}


@pytest.fixture(params=list(SHAPES))
def case(request):
    """A network with lived-in statistics, float64, and data for it."""
    shape, make = SHAPES[request.param]
    torch.manual_seed(1)
    model = make().double()
    x = torch.randn(64, *shape, dtype=torch.float64)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_()
                module.momentum = None
        model(x)
    return model, x, outputs(model, x).argmax(1)


def shuffled(model, seed=0):
    """Return a copy whose units were reordered, and the orders."""
    rng = np.random.default_rng(seed)
    other = copy.deepcopy(model)
    tensors = other.state_dict()
    orders = []
    for group in units_of(model)[0]:
        order = rng.permutation(group.size)
        orders.append(order)
        for place in group.places:
            blocks = np.arange(group.size * place.repeat).reshape(group.size, -1)
            entries = torch.from_numpy(blocks[order].reshape(-1))
            tensors[place.name].copy_(tensors[place.name].index_select(place.axis, entries))
    return other, orders


def outputs(model, x):
    with torch.no_grad():
        return copy.deepcopy(model).eval()(x)


def test_a_planted_order_is_undone_exactly(case):
    model, x, y = case
    other, orders = shuffled(model)
    assert (outputs(model, x) - outputs(other, x)).abs().max() < 1e-12
    found = align(model, other, inputs=x)
    for planted, order in zip(orders, found.orders, strict=True):
        np.testing.assert_array_equal(planted[order], np.arange(len(order)))
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in found.model.state_dict().items())
    assert found.before < found.after == pytest.approx(1, abs=1e-12)
    loss = DataLoss(lambda logits, labels: cross_entropy(10 * logits, labels), (x, y))
    assert interpolate(model, other, loss).barrier > 1e-3
    assert interpolate(model, found.model, loss).barrier < 1e-9


def test_scales_that_undo_each_other_do_not_fool_it(case):
    """Units scaled by up to a hundred, and back where they are read: the order is still found."""
    model, x, _ = case
    other, orders = shuffled(model)
    tensors = dict(other.named_parameters())
    generator = torch.Generator().manual_seed(2)
    scaled = 0
    with torch.no_grad():
        for module in [*model.modules(), *other.modules()]:
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eps = 0.0
        plain = outputs(other, x)
        for factor in units_of(other)[1]:
            if not factor.is_free:
                continue
            count = len(tensors[factor.rows[0]])
            by = 10 ** (4 * torch.rand(count, generator=generator, dtype=torch.float64) - 2)
            for name in factor.rows:
                tensors[name] *= by.view(-1, *[1] * (tensors[name].dim() - 1))
            if factor.is_normed:
                norm = next(
                    m
                    for n, m in other.named_modules()
                    if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and follows(n, factor, other)
                )
                norm.running_mean *= by
                norm.running_var *= by**2
            for place in factor.columns:
                shape = [1] * tensors[place.name].dim()
                shape[place.axis] = -1
                tensors[place.name] /= by.repeat_interleave(place.repeat).view(shape)
            scaled += count
    assert scaled > 0
    assert (outputs(other, x) - plain).abs().max() < 1e-9 * plain.abs().max()
    for planted, order in zip(orders, align(model, other, tries=1).orders, strict=True):
        np.testing.assert_array_equal(planted[order], np.arange(len(order)))


def follows(name, factor, model):
    """Whether a layer stands right behind the one whose rows a factor scales."""
    names = [n for n, m in model.named_modules() if not list(m.children())]
    return names[names.index(factor.rows[0].rpartition(".")[0]) + 1] == name


def test_alignment_lowers_the_barrier_between_seeds(trained, data):
    a, b = trained(0), trained(1)
    loss = DataLoss(cross_entropy, data)
    found = align(a, b, inputs=data[0])
    assert found.after > found.before
    assert found.num_moved > 0
    assert interpolate(a, found.model, loss).barrier < 0.7 * interpolate(a, b, loss).barrier


def test_it_is_never_worse_than_no_alignment(trained):
    a = trained(0)
    b = copy.deepcopy(a)
    assert align(a, b).num_moved == 0


def test_both_networks_are_left_as_they_were(trained, data):
    a, b = trained(0), trained(1)
    before = [copy.deepcopy(m.state_dict()) for m in (a, b)]
    align(a, b, inputs=data[0])
    for model, state in zip((a, b), before, strict=True):
        assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
        assert model.training


def test_what_it_cannot_follow():
    lstm = nn.LSTM(2, 3)
    with pytest.raises(ValueError, match="made of linear layers, convolutions"):
        align(nn.Sequential(lstm), nn.Sequential(copy.deepcopy(lstm)))

    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"traceable by torch\.fx"):
        align(Branching(), Branching())
    grouped = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=2))
    with pytest.raises(ValueError, match="a convolution in 2 groups"):
        align(grouped, copy.deepcopy(grouped))
    with pytest.raises(ValueError, match="tries must be at least 1, got 0"):
        align(grouped, grouped, tries=0)
    with pytest.raises(ValueError, match="one architecture"):
        align(nn.Linear(2, 3), nn.Linear(2, 4))
