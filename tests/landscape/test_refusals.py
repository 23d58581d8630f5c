"""What is refused, with what to do, and what is left as it was."""

import copy
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heatgrad.landscape import (
    DataLoss,
    align,
    connect,
    hessian_spectrum,
    interpolate,
    recalibrate,
    sharpness,
    surface,
)
from heatgrad.landscape.threads import in_threads
from heatgrad.models import ResNet


def test_nothing_to_move_is_refused(net, data):
    for name, p in net.named_parameters():
        p.requires_grad_(name.startswith("1."))
    loss = DataLoss(cross_entropy, data)
    with pytest.raises(ValueError, match="in the scale 'filter' no parameter moves"):
        sharpness(net, loss, 0.1, scale="filter")
    with pytest.raises(ValueError, match="filter directions move weights of two axes"):
        surface(net, loss)
    net.requires_grad_(False)
    for measure in (lambda: sharpness(net, loss, 0.1), lambda: surface(net, loss)):
        with pytest.raises(ValueError, match="a parameter that requires a gradient, got none"):
            measure()


def test_the_generator_is_left_as_it_was(net, data):
    """A loader draws from it even where it does not shuffle."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data), batch_size=20)
    before = torch.get_rng_state()
    loss = DataLoss(cross_entropy, loader)
    torch.set_rng_state(before)
    sharpness(net, loss, 0.1, draws=2)
    surface(net, loss, points=3)
    hessian_spectrum(net, loss, vectors=1, steps=2)
    interpolate(net, net, loss, points=2, dropout=True)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"input": torch.zeros(3, 2), "label": torch.zeros(3)}], "a batch that is a dict"),
        ([torch.zeros(3, 2), torch.zeros(3)], "a batch that is a Tensor"),
        ([(torch.zeros(3, 2),) * 3], "a batch that is a tuple of 3"),
        (iter([(torch.zeros(3, 2), torch.zeros(3))]), "got an iterator, which ends"),
        ([(torch.zeros(3, 2), torch.zeros(2))], "as many labels as inputs, got 3 and 2"),
    ],
)
def test_data_of_another_kind(data, message):
    with pytest.raises(ValueError, match=message):
        DataLoss(cross_entropy, data)


def test_a_criterion_that_does_not_reduce(net, data):
    loss = DataLoss(torch.nn.CrossEntropyLoss(reduction="none"), data)
    with pytest.raises(ValueError, match=r"one number, got shape \(50,\); take reduction='mean'"):
        sharpness(net, loss, 0.1)


def test_a_single_example_that_is_left_over_goes_with_the_batch_before(net, data):
    loss = DataLoss(cross_entropy, (data[0][:41], data[1][:41]), batch_size=20)
    assert [len(y) for _, y in loss.batches()] == [20, 21]
    sharpness(net, loss, 0.1, draws=1)
    lonely = DataLoss(cross_entropy, [(data[0][:20], data[1][:20]), (data[0][:1], data[1][:1])])
    with pytest.raises(ValueError, match="batches of more than one example"):
        sharpness(net, lonely, 0.1, draws=1)


def test_a_shuffled_loader_is_refused_in_words(net, data):
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*data), batch_size=20, shuffle=True
    )
    with pytest.raises(ValueError, match="the same when it is asked twice, batch by batch"):
        sharpness(net, DataLoss(cross_entropy, loader), 0.1)


@pytest.mark.parametrize("value", [torch.zeros(3), 1.0])
def test_a_function_must_return_one_number(value, net):
    with pytest.raises(ValueError, match="a tensor of one number"):
        sharpness(net, lambda m: value, 0.1, recalibrate_on=[torch.zeros(4, 3).double()])


def test_networks_that_cannot_be_between(net, data):
    """Tied in one only, of another type, or with numbers that no path leads to."""
    loss = DataLoss(cross_entropy, data)
    plain = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).double()
    tied = copy.deepcopy(plain)
    tied[2].weight = tied[0].weight
    with pytest.raises(ValueError, match=r"got '2\.weight' tied in one"):
        interpolate(tied, plain, loss)
    with pytest.raises(ValueError, match=r"of float64 and shape .* of float32"):
        interpolate(net, copy.deepcopy(net).float(), loss)
    features = [nn.Sequential(nn.Linear(3, 2)).double() for _ in range(2)]
    for seed, model in enumerate(features):
        model.register_buffer("fixed", torch.full((2,), float(seed), dtype=torch.float64))
    for between in (interpolate, lambda *networks: connect(*networks, steps=1)):
        with pytest.raises(ValueError, match=r"buffers other than batch norm's .* for 'fixed'"):
            between(*features, loss)


@pytest.mark.parametrize(
    ("layer", "other", "message"),
    [
        (nn.ReLU(), nn.Tanh(), r"got ReLU\(\) and Tanh\(\) for '1'"),
        (
            nn.BatchNorm1d(3, eps=1.0).double(),
            nn.BatchNorm1d(3).double(),
            r"BatchNorm1d\(eps=1\) and BatchNorm1d\(eps=1e-05\)",
        ),
    ],
)
def test_the_same_parameters_in_other_layers(layer, other, message, data):
    """Each would be measured as the first network's function."""
    first = nn.Sequential(nn.Linear(3, 3).double(), layer)
    second = nn.Sequential(nn.Linear(3, 3).double(), other)
    loss = DataLoss(cross_entropy, data)
    for measure in (interpolate, align, connect):
        with pytest.raises(ValueError, match=message):
            measure(first, second, *([loss] if measure is not align else []))
    other_dropout = nn.Sequential(nn.Linear(3, 3).double(), nn.Dropout(0.5))
    no_dropout = nn.Sequential(nn.Linear(3, 3).double(), nn.Dropout(0.0))
    interpolate(other_dropout, no_dropout, loss, points=2)


def test_batch_norm_without_statistics(data):
    """Its output depends on how the data are cut into batches, in evaluation too."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)).double()
    loss = DataLoss(cross_entropy, data)
    for measure in (
        lambda: interpolate(model, model, loss),
        lambda: sharpness(model, loss, 0.1),
        lambda: hessian_spectrum(model, loss, vectors=1, steps=2),
    ):
        with pytest.raises(ValueError, match=r"got none in '1'; make it with track_running_stats"):
            measure()


def test_a_shortcut_that_pads_is_not_aligned_but_another_is():
    networks = [ResNet((3, 8, 8), 3, depth=8, width=4) for _ in range(2)]
    with pytest.raises(ValueError, match="make the network with shortcut='projection'"):
        align(*networks)


def test_a_network_that_keeps_activations(data):
    class Keeping(nn.Linear):
        def forward(self, x):
            self.kept = torch.relu(super().forward(x))
            return self.kept

    model = Keeping(3, 2).double()
    model(data[0])
    with pytest.raises(ValueError, match=r"copy\.deepcopy copies.*take stored activations"):
        interpolate(model, model, DataLoss(cross_entropy, data))
    fresh = Keeping(3, 2).double()
    sharpness(fresh, DataLoss(cross_entropy, data), 0.1, draws=2)
    assert not isinstance(getattr(fresh, "kept", None), torch.fx.Proxy)


def test_statistics_stay_where_there_is_no_batch(net):
    before = net[1].running_mean.clone()
    with pytest.raises(ValueError, match="at least one batch of inputs, got none"):
        recalibrate(net, [])
    assert torch.equal(net[1].running_mean, before)


def test_a_function_that_trains_batch_norm_leaves_its_statistics(net, data):
    before = copy.deepcopy(net.state_dict())
    hessian_spectrum(
        net, lambda m: cross_entropy(m[4](m[2](m[1].train()(m[0](data[0])))), data[1]), steps=2
    )
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_threads_end_soon_and_leave_their_number():
    before = torch.get_num_threads()
    asked = []

    def make():
        def slow(thing):
            asked.append(thing)
            time.sleep(0.02)
            return 1 / thing

        return slow

    try:
        torch.set_num_threads(3)
        with pytest.raises(ZeroDivisionError):
            in_threads(make, [0, *range(1, 200)])
        assert len(asked) < 20
        in_threads(make, [1, 2])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_few_or_no_steepest_directions(point):
    with pytest.raises(ValueError, match="at least 3 parameters, got 2"):
        surface(point([1.0, 2.0]), lambda m: (m.x**2).sum(), "hessian", points=3)
    with pytest.raises(ValueError, match="must be finite"):
        hessian_spectrum(point([float("nan")] * 4), lambda m: (m.x**4).sum())


def test_a_trajectory_of_another_network(net, data):
    states = [net.state_dict(), {"0.weight": torch.zeros(3, 3)}]
    with pytest.raises(
        ValueError, match=r"state dicts of the network, got \(3, 3\) for '0\.weight'"
    ):
        surface(net, DataLoss(cross_entropy, data), trajectory=states, points=3)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, h: h * h[:, :1],
        lambda m, h: h + h[:, [1, 2, 3, 4, 5, 6, 7, 0]],
        lambda m, h: m.pool(h),
    ],
)
def test_units_that_are_told_apart_are_not_aligned(forward):
    """A gate by one unit, a sum with others in their place, a pooling along the units."""

    class Telling(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 3)
            self.pool = nn.MaxPool1d(3, 1, 1)

        def forward(self, x):
            return self.two(forward(self, self.one(x)))

    model = Telling()
    with pytest.raises(ValueError, match="a network to be aligned must be made of"):
        align(model, copy.deepcopy(model))


def test_tied_layers_are_not_aligned():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    with pytest.raises(ValueError, match="must not share parameters"):
        align(model, copy.deepcopy(model))


def test_eigenvalues_that_are_0_are_not_negative():
    """Least squares with fewer examples than parameters: no eigenvalue is below 0, most are 0."""
    x = torch.randn(30, 200, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float64, torch.float32):
        model = nn.Linear(200, 1, bias=False).to(dtype)
        inputs = x.to(dtype)
        found = hessian_spectrum(model, lambda m, z=inputs: (m(z) ** 2).mean(), vectors=5, steps=60)
        assert found.negative_mass == 0
        assert np.all(np.concatenate([k.nodes for k in found.starts]) > -found.resolution)
