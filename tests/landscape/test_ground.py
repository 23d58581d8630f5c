"""Many places at once: threads and stacks say what one place after another says."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heatgrad.landscape.ground import Ground, Move
from heatgrad.landscape.norms import batch_norms, last_norm, recalibrate
from heatgrad.landscape.objective import DataLoss, objective_of
from heatgrad.landscape.stacked import stacked_losses
from heatgrad.landscape.threads import in_threads
from heatgrad.models import MediumMLP, SimpleCNN


class Twice(nn.Module):
    """A network that goes through its last normalisation twice, and then through others."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(16)
        self.bare = nn.BatchNorm1d(16, affine=False)
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        """Return the logits."""
        x = self.bare(x.flatten(1))
        return self.two(torch.relu(self.norm(self.one(self.norm(x)))))


NETWORKS = {
    "MLP": lambda: MediumMLP((1, 4, 4), 3, widths=(12, 8)),
    "CNN": lambda: SimpleCNN((1, 4, 4), 3, channels=(4, 5), hidden=6),
    "a layer used twice": Twice,
    "a chain": lambda: nn.Sequential(
        *(nn.Flatten(), nn.Linear(16, 9), nn.BatchNorm1d(9, eps=0.1), nn.Linear(9, 7, bias=False)),
        *(nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 5), nn.BatchNorm1d(5, affine=False), nn.ReLU()),
        *(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Identity()),
    ),
    "no norm, a chain": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)
    ),
    "no norm": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)),
}


@pytest.fixture(params=list(NETWORKS))
def network(request):
    torch.manual_seed(0)
    return NETWORKS[request.param]().double().eval()


@pytest.fixture
def images():
    torch.manual_seed(1)
    x = torch.randn(50, 1, 4, 4, dtype=torch.float64)
    return x, torch.arange(50) % 3


@pytest.fixture
def threads():
    """Return two threads, and what was before put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def moves_of(model, count=7):
    generator = torch.Generator().manual_seed(2)
    ways = [
        [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in model.parameters()]
        for _ in range(2)
    ]
    return [Move(ways[0], 0.1 * k, ways[1], -0.05 * k) for k in range(count)]


def by_hand(model, move, loss, *, anew):
    """Return the loss at a place by PyTorch's own means."""
    walker = copy.deepcopy(model)
    with torch.no_grad():
        for p, d, e in zip(walker.parameters(), move.first, move.second, strict=True):
            p += move.a * d + move.b * e
        if anew and batch_norms(walker):
            for module in walker.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.train()
                    module.reset_running_stats()
                    module.momentum = None
            for x, _ in loss.batches():
                walker(x)
        walker.eval()
        total = sum(float(loss.criterion(walker(x), y)) * len(y) for x, y in loss.batches())
    return total / loss.num_examples


@pytest.mark.parametrize("anew", [True, False])
def test_all_ways_agree(network, images, threads, anew):
    loss = DataLoss(cross_entropy, images, batch_size=20)
    moves = moves_of(network)
    expected = [by_hand(network, move, loss, anew=anew) for move in moves]
    inputs = list(loss.inputs()) if anew and batch_norms(network) else None
    params = list(network.parameters())
    ground = Ground(network, loss, params, inputs)
    np.testing.assert_allclose([ground.at(move) for move in moves], expected, rtol=1e-12)
    np.testing.assert_allclose(ground.losses(moves), expected, rtol=1e-12)
    assert torch.get_num_threads() == threads
    places = [move.of(ground._start) for move in moves]
    for until in {ground._until, None}:
        stacked = stacked_losses(network, loss, params, places, inputs, until)
        np.testing.assert_allclose(stacked, expected, rtol=1e-12)


def test_stacks_are_cut_where_memory_ends(images, monkeypatch):
    torch.manual_seed(0)
    model = NETWORKS["MLP"]().double().eval()
    loss = DataLoss(cross_entropy, images)
    params = list(model.parameters())
    places = [move.of(params) for move in moves_of(model)]
    whole = stacked_losses(model, loss, params, places, list(loss.inputs()), None)
    largest = 50 * 16 * 8  # the flattened images
    monkeypatch.setattr("heatgrad.landscape.stacked._MOST_BYTES", 3 * largest)
    cut = stacked_losses(model, loss, params, places, list(loss.inputs()), None)
    np.testing.assert_allclose(whole, cut, rtol=1e-13)


def test_what_cannot_be_mapped_is_said(images):
    class Asking(nn.Linear):
        def forward(self, x):
            out = super().forward(x.flatten(1))
            return out if float(out.sum()) > 0 else -out

    model = Asking(16, 3).double()
    loss = DataLoss(cross_entropy, images)
    params = list(model.parameters())
    assert stacked_losses(model, loss, params, [params, params], None, None) is None


def test_a_function_is_asked_for_one_place_after_another(point):
    asked = []

    def bowl(model):
        asked.append(model)
        return (model.x**2).sum()

    model = point([1.0, 2.0])
    ground = Ground(model, objective_of(bowl), list(model.parameters()), None)
    moves = [Move([torch.ones(2, dtype=torch.float64)], float(a)) for a in range(3)]
    np.testing.assert_allclose(ground.losses(moves), [5, 13, 25])
    assert all(m is model for m in asked)


def test_statistics_end_with_the_last_norm(network, images):
    """What stands behind the last normalisation is not computed, and all statistics are the same.

    A layer that is used twice is no end.
    """
    x = images[0]
    until = last_norm(network, x)
    norms = batch_norms(network)
    if isinstance(network, Twice) or not norms:
        assert until is None
        return
    assert until is norms[-1]
    whole, part = copy.deepcopy(network), copy.deepcopy(network)
    recalibrate(whole, [x, x[:20]])
    asked = []
    part.register_forward_hook(lambda *_: asked.append(1))
    recalibrate(part, [x, x[:20]], until=last_norm(part, x))
    assert len(asked) == 1  # by `last_norm`
    for name, value in whole.state_dict().items():
        assert torch.equal(value, part.state_dict()[name]), name
    assert len(part(x)) == 50


def test_what_goes_wrong_in_a_thread_is_raised(threads):
    def make():
        return lambda thing: 1 / thing

    assert in_threads(make, [1, 2, 4]) == [1, 0.5, 0.25]
    with pytest.raises(ZeroDivisionError):
        in_threads(make, [1, 0, 2])
    assert torch.get_num_threads() == threads


def losses_both_ways(model, loss, threads):
    inputs = list(loss.inputs()) if batch_norms(model) else None
    ground = Ground(model.eval(), loss, list(model.parameters()), inputs)
    moves = moves_of(model)
    return [ground.at(move) for move in moves], ground.losses(moves)


def test_odd_chains_are_no_chains(threads):
    """A norm used twice, inputs of three axes, a criterion that looks at the network."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 4, dtype=torch.float64), torch.arange(40) % 3
    norm = nn.BatchNorm1d(8)
    twice = nn.Sequential(
        *(nn.Linear(4, 8), norm, nn.ReLU(), nn.Linear(8, 8), norm, nn.ReLU(), nn.Linear(8, 3))
    ).double()
    deep = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    plain = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()

    def decayed(outputs, labels):
        return cross_entropy(outputs, labels) + 0.1 * sum((p**2).sum() for p in plain.parameters())

    mse = nn.functional.mse_loss
    for model, loss in (
        (twice, DataLoss(cross_entropy, (x, y), batch_size=16)),
        (deep, DataLoss(mse, (x[:, None], x[:, None, :1]), batch_size=16)),
        (deep, DataLoss(mse, (x.view(8, 5, 4), x.view(8, 5, 4)[..., :1]), batch_size=3)),
        (plain, DataLoss(decayed, (x, y), batch_size=16)),
    ):
        expected, found = losses_both_ways(model, loss, threads)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_loader_is_read_by_one_thread(threads, images):
    """Two would take batches from one another."""

    class Loader:
        def __iter__(self):
            self.left = list(zip(*(part.split(5) for part in images), strict=True))
            while self.left:
                yield self.left.pop(0)

    model = NETWORKS["CNN"]().double()
    expected, found = losses_both_ways(model, DataLoss(cross_entropy, Loader()), threads)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
