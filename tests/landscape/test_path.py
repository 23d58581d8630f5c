"""Paths and barriers: a double well by hand, batch norm, and what must not matter."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heatgrad.landscape.objective import DataLoss
from heatgrad.landscape.path import interpolate


def tilted(m):
    """A double well along a line: its barrier over the straight line between the wells is known."""
    x = m.x[0]
    return (x**2 - 1) ** 2 + 0.3 * x + (m.x[1:] ** 2).sum()


def test_a_double_well(point):
    """From -1 to 1: the tilt is the line between the ends, the barrier is 1 at the middle."""
    path = interpolate(point([-1.0, 0]), point([1.0, 0]), tilted)
    assert path.barrier == pytest.approx(1, abs=1e-9)
    assert path.top == pytest.approx(0.5, abs=1e-4)
    assert path.losses[0] == pytest.approx(-0.3)
    assert path.losses[-1] == pytest.approx(0.3)
    assert np.all(np.diff(path.at) >= 0)


def test_the_top_is_found_between_the_places(point):
    """A barrier off the grid: with 6 places the grid alone misses it by 4 %."""
    a, b = point([-1.0, 0]), point([1.0, 0])
    coarse = interpolate(a, b, tilted, points=6, refine=False)
    fine = interpolate(a, b, tilted, points=6)
    assert coarse.barrier == pytest.approx((0.2**2 - 1) ** 2, abs=1e-12)
    assert fine.barrier == pytest.approx(1, abs=1e-7)


@pytest.fixture
def net(trained):
    return trained(0)


@pytest.fixture
def other(trained):
    return trained(1)


@pytest.mark.parametrize("statistics", ["recalibrate", "lerp", "frozen"])
def test_from_a_network_to_itself_there_is_none(statistics, net, data):
    path = interpolate(net, net, DataLoss(cross_entropy, data), statistics=statistics)
    assert path.barrier == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("statistics", ["recalibrate", "lerp"])
def test_there_and_back(statistics, net, other, data):
    loss = DataLoss(cross_entropy, data, batch_size=20)
    there = interpolate(net, other, loss, statistics=statistics)
    back = interpolate(other, net, loss, statistics=statistics)
    assert there.barrier == pytest.approx(back.barrier, rel=1e-6)
    assert there.barrier > 0
    np.testing.assert_allclose(
        np.interp([0.0, 0.5, 1.0], there.at, there.losses),
        np.interp([1.0, 0.5, 0.0], back.at, back.losses),
    )


def test_the_ways_of_batch_norm(net, other, data):
    """Ends are the networks: with statistics estimated anew, or as they are when lerped.

    A frozen path's far end is none.
    """
    loss = DataLoss(cross_entropy, data, batch_size=20)

    def own(model, *, anew):
        model = copy.deepcopy(model)
        if anew:
            model.train()[3].eval()
            model[1].reset_running_stats()
            model[1].momentum = None
            with torch.no_grad():
                for x in loss.inputs():
                    model(x)
        with torch.no_grad():
            return float(sum(loss.terms(model.eval())))

    paths = {
        way: interpolate(net, other, loss, statistics=way, refine=False)
        for way in ("recalibrate", "lerp", "frozen")
    }
    for way, anew in (("recalibrate", True), ("lerp", False)):
        ends = own(net, anew=anew), own(other, anew=anew)
        assert tuple(paths[way].losses[[0, -1]]) == pytest.approx(ends, abs=1e-12)
    frozen = paths["frozen"].losses
    assert frozen[0] == pytest.approx(own(net, anew=False), abs=1e-12)
    assert abs(frozen[-1] - own(other, anew=False)) > 0.05


def test_the_interval_is_that_of_the_data(net, other, data):
    """A function has none; examples resampled give one that holds the barrier, however batched."""
    function = interpolate(
        net, other, lambda m: cross_entropy(m(data[0]), data[1]), recalibrate_on=[data[0]]
    )
    assert np.isnan(function.interval()).all()
    whole, parts = (
        interpolate(
            net,
            other,
            DataLoss(cross_entropy, data, batch_size=size),
            recalibrate_on=[data[0]],
        )
        for size in (50, 7)
    )
    low, high = whole.interval()
    assert low < whole.barrier < high
    assert whole.interval() == (low, high)
    assert whole.pieces.shape[1] == 50
    np.testing.assert_allclose(whole.pieces, parts.pieces, atol=1e-12)
    np.testing.assert_allclose(whole.losses, function.losses, atol=1e-10)


def test_both_networks_are_left_as_they_were(net, other, data):
    before = [copy.deepcopy(m.state_dict()) for m in (net, other)]
    modes = [m.training for model in (net, other) for m in model.modules()]
    interpolate(net, other, DataLoss(cross_entropy, data))
    for model, state in zip((net, other), before, strict=True):
        assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert [m.training for model in (net, other) for m in model.modules()] == modes


def test_dropout_in_recalibration_is_a_choice(net, data):
    """It changes nothing before the norm; here it comes after, so the path is the same."""
    wide = nn.Sequential(nn.Dropout(0.5), *net)
    loss = DataLoss(cross_entropy, data)
    torch.manual_seed(0)
    off, on = (interpolate(wide, wide, loss, points=2, dropout=d).losses for d in (False, True))
    assert abs(off[0] - on[0]) > 1e-3


def test_networks_that_differ(net, data):
    loss = DataLoss(cross_entropy, data)
    wider = nn.Sequential(nn.Linear(3, 9), nn.BatchNorm1d(9), *net[2:]).double()
    with pytest.raises(
        ValueError, match=r"one architecture, got shape \(8, 3\) of float64 and shape \(9, 3\)"
    ):
        interpolate(net, wider, loss)
    bare = copy.deepcopy(net)
    bare[1] = nn.BatchNorm1d(8, track_running_stats=False).double()
    with pytest.raises(ValueError, match="running statistics in the same layers, got 1 and 0"):
        interpolate(net, bare, loss)
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        interpolate(net, net, loss, points=1)
    with pytest.raises(ValueError, match="one of recalibrate, lerp, frozen, got 'batch'"):
        interpolate(net, net, loss, statistics="batch")
