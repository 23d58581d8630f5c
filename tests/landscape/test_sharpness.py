"""Sharpness of quadratics by hand, and what may not change it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heatgrad.landscape.norms import recalibrate
from heatgrad.landscape.objective import DataLoss
from heatgrad.landscape.sharpness import sharpness

CURVES = torch.tensor([0.5, 2.0, 9.0], dtype=torch.float64)


def quadratic(m):
    return (CURVES * (m.x - 1) ** 2).sum() / 2 + 3 * m.x.sum()


def test_signs_on_a_quadratic_give_its_trace(point):
    """Both signs are taken, so the slope of 3 in each coordinate does not show: rho^2 tr H / 2."""
    found = sharpness(point([1.0, 1, 1]), quadratic, 0.2, scale="raw", noise="sign", draws=5)
    np.testing.assert_allclose(found.values, 0.04 * 11.5 / 2, rtol=1e-12)
    assert found.loss == 9
    assert found.interval() == pytest.approx((found.value, found.value))


def test_normal_directions_give_the_trace_on_average(point):
    found = sharpness(point([1.0, 1, 1]), quadratic, 0.2, scale="raw", draws=2000)
    assert abs(found.value - 0.04 * 11.5 / 2) < 4 * found.error
    low, high = found.interval()
    assert low < 0.23 < high


def test_elements_are_moved_in_their_own_size(point):
    """T = |theta|: tr(T H T) = 0.5 * 4 + 2 * 1 + 9 * 0."""
    found = sharpness(point([-2.0, 1, 0]), quadratic, 0.1, scale="element", noise="sign")
    assert found.value == pytest.approx(0.01 * 4 / 2, rel=1e-10)


def test_filters_are_moved_in_their_length_and_vectors_not():
    """Rows of lengths 5 and 0: tr(T H T) = 25 * (1 + 1); a bias only if it is asked for."""
    layer = nn.Linear(2, 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        layer.bias.copy_(torch.tensor([0.0, 2.0]))

    def loss(m):
        return (m.weight**2).sum() / 2 + (m.bias**2).sum() / 2

    how = {"scale": "filter", "noise": "sign", "draws": 3}
    assert sharpness(layer, loss, 0.1, **how).value == pytest.approx(0.01 * 50 / 2)
    moved = sharpness(layer, loss, 0.1, **how, vectors=True)
    assert moved.value == pytest.approx(0.01 * (50 + 2 * 4) / 2)


def test_the_worst_case_of_a_quadratic(point):
    """At its minimum rho^2 lambda_max / 2, for any start of the search."""

    def bowl(m):
        return (CURVES * m.x**2).sum() / 2

    for seed in range(3):
        found = sharpness(
            point([0.0, 0, 0]), bowl, 0.3, kind="worst", steps=100, scale="raw", seed=seed
        )
        assert found.value == pytest.approx(0.09 * 9 / 2, rel=1e-3)
        assert np.isnan(found.error)


@pytest.fixture
def scaled(net):
    """The same function: rows before batch norm times 5, eps along with them."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight.mul_(5)
        other[0].bias.mul_(5)
        other[1].running_mean.mul_(5)
        other[1].running_var.mul_(25)
    other[1].eps *= 25
    return other


@pytest.mark.parametrize("kind", ["average", "worst"])
@pytest.mark.parametrize("statistics", ["recalibrate", "frozen"])
@pytest.mark.parametrize("scale", ["filter", "element"])
def test_scale_free_kinds_do_not_feel_a_rescaled_batch_norm(
    kind, statistics, scale, net, scaled, data
):
    loss = DataLoss(cross_entropy, data, batch_size=16)
    how = {"kind": kind, "scale": scale, "statistics": statistics, "draws": 4, "steps": 5}
    first, second = (sharpness(model, loss, 0.3, **how) for model in (net, scaled))
    assert first.value == pytest.approx(second.value, abs=1e-10)
    assert abs(first.value) > 1e-4


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_what_the_default_eps_of_batch_norm_changes(factor, net, data, record_property):
    """Without eps scaled along, the function and the sharpness change a little; here it is said."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight.mul_(factor)
        other[0].bias.mul_(factor)
    loss = DataLoss(cross_entropy, data)
    for scale in ("element", "filter"):
        first, second = (sharpness(m, loss, 0.3, scale=scale).value for m in (net, other))
        change = abs(second / first - 1)
        record_property(f"{scale}, factor {factor:g}", change)
        print(f"{scale}, factor {factor:g}: sharpness changes by {change:.1e} of itself")
        assert 0 < change < 2e-3


def test_the_raw_kind_does(net, scaled, data):
    loss = DataLoss(cross_entropy, data)
    first, second = (sharpness(model, loss, 0.3, scale="raw").value for model in (net, scaled))
    assert first > second + 0.005


def test_element_scale_does_not_feel_a_unit_that_relu_lets_grow(data):
    """One row of a layer times 7, the next layer's column over 7."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight[2] *= 7
        other[0].bias[2] *= 7
        other[2].weight[:, 2] /= 7
    loss = DataLoss(cross_entropy, data)
    first, second = (sharpness(m, loss, 0.3).value for m in (net, other))
    assert first == pytest.approx(second, abs=1e-10)
    first, second = (sharpness(m, loss, 0.3, scale="raw").value for m in (net, other))
    assert abs(first - second) > 1e-3


def test_the_network_is_left_as_it_was(net, data):
    """Parameters, statistics, counters, modes and the caller's random state, bit for bit."""
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    state = torch.get_rng_state()
    loss = DataLoss(cross_entropy, data)
    for kind in ("average", "worst"):
        sharpness(net, loss, 0.1, kind=kind, draws=2, steps=2)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    assert net[1].momentum == 0.1
    assert torch.equal(torch.get_rng_state(), state)


def test_recalibrated_statistics_are_those_of_the_batches(net, data):
    """One batch: its mean and unbiased variance. Two: the mean of theirs."""
    x = data[0]
    hidden = net[0](x).detach()
    recalibrate(net, [x])
    torch.testing.assert_close(net[1].running_mean, hidden.mean(0))
    torch.testing.assert_close(net[1].running_var, hidden.var(0))
    recalibrate(net, [x[:20], x[20:]])
    parts = hidden[:20], hidden[20:]
    torch.testing.assert_close(net[1].running_mean, sum(p.mean(0) for p in parts) / 2)
    torch.testing.assert_close(net[1].running_var, sum(p.var(0) for p in parts) / 2)
    assert net[1].num_batches_tracked == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 0.0}, "radius must be positive and finite, got 0.0"),
        ({"radius": float("nan")}, "radius must be positive and finite, got nan"),
        ({"kind": "mean"}, "kind must be one of average, worst, got 'mean'"),
        ({"scale": "layer"}, "scale must be one of raw, filter, element, got 'layer'"),
        ({"noise": "uniform"}, "noise must be one of normal, sign, got 'uniform'"),
        ({"statistics": "lerp"}, "statistics must be one of recalibrate, frozen, got 'lerp'"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
    ],
)
def test_bad_options(options, message, net, data):
    with pytest.raises(ValueError, match=message):
        sharpness(net, DataLoss(cross_entropy, data), **{"radius": 0.1, **options})


def test_a_function_tells_no_inputs(net, data):
    """So batch statistics cannot be estimated: refused, with the three ways out."""

    def loss(m):
        return cross_entropy(m(data[0]), data[1])

    with pytest.raises(ValueError, match="give a DataLoss, or recalibrate_on=batches, or"):
        sharpness(net, loss, 0.1)
    with pytest.raises(ValueError, match="at least one batch of inputs, got none"):
        sharpness(net, loss, 0.1, recalibrate_on=[])
    a = sharpness(net, loss, 0.1, recalibrate_on=[data[0]])
    b = sharpness(net, DataLoss(cross_entropy, data), 0.1)
    assert a.value == pytest.approx(b.value, rel=1e-9)
    assert sharpness(net, loss, 0.1, statistics="frozen").statistics == "frozen"


def test_no_data():
    with pytest.raises(ValueError, match="at least one example, got none"):
        DataLoss(cross_entropy, (torch.zeros(0, 3), torch.zeros(0)))
    with pytest.raises(ValueError, match="as many labels as inputs, got 3 and 2"):
        DataLoss(cross_entropy, (torch.zeros(3, 3), torch.zeros(2)))
    with pytest.raises(ValueError, match="at least one example, got none"):
        DataLoss(cross_entropy, [])


def test_the_worst_case_at_a_saddle(point):
    """Up along one axis, steeper down along others: the ascent finds the axis."""
    for h in ([2.0, -3.0, -3.0], [1.0, -9.0, -9.0, -9.0]):
        weights = torch.tensor(h, dtype=torch.float64)
        for seed in range(4):
            found = sharpness(
                point([0.0] * len(h)),
                lambda m, weights=weights: (weights * m.x**2).sum() / 2,
                0.3,
                kind="worst",
                scale="raw",
                steps=60,
                seed=seed,
            )
            assert found.value == pytest.approx(0.3**2 * h[0] / 2, rel=0.05), (h, seed)


def test_a_loss_that_is_none_is_not_flat(point):
    """NaN at the solution or on the way is told, and not taken for no rise."""
    solution = point([1.0])
    found = sharpness(
        solution,
        lambda m: -torch.log(0.05 - (m.x - 1).abs()).sum(),
        0.1,
        kind="worst",
        scale="raw",
    )
    assert np.isnan(found.value)
    broken = point([float("nan")])
    for kind in ("average", "worst"):
        assert np.isnan(sharpness(broken, lambda m: m.x.sum(), 0.1, kind=kind, scale="raw").value)
