"""The public function: what it refuses, how it ends early, and networks of torch."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from heatgrad.flow import gradient_flow, polynomial_fit, random_start

ONE = torch.ones(1, dtype=torch.float64)


def bowl(x):
    return (x**2).sum() / 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t_end": 0.0}, "t_end must be positive"),
        ({"t_end": -1.0}, "t_end must be positive"),
        ({"t_end": float("nan")}, "t_end must be positive"),
        ({"t_end": float("inf")}, "t_end must be positive"),
        ({"t_first": 2.0}, "t_first"),
        ({"points_per_decade": 1}, "points_per_decade"),
        ({"method": "euler"}, "method must be one of"),
        ({"derivatives": "numeric"}, "derivatives must be one of"),
        ({"rtol": 0.0}, "rtol"),
        ({"atol": -1.0}, "atol"),
        ({"max_seconds": 0.0}, "max_seconds"),
        ({"dense_to": -1}, "dense_to"),
        ({"criterion": mse_loss}, "must come with a network"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        gradient_flow(bowl, ONE, **{"t_end": 1.0, **options})


@pytest.mark.parametrize(
    ("loss", "start", "message"),
    [
        (bowl, None, "theta0 must be given"),
        (bowl, torch.ones(2, 2, dtype=torch.float64), "vector"),
        (bowl, torch.ones(0, dtype=torch.float64), "vector"),
        (bowl, [1.0], "vector"),
        (bowl, torch.tensor([float("nan")], dtype=torch.float64), "theta0 must be finite"),
        (lambda x: x / 0, ONE, "finite at the start"),
        (lambda x: torch.sqrt(x[0] - 1), ONE, "gradient must be finite"),
        (lambda x: x, torch.ones(2, dtype=torch.float64), "scalar"),
        (lambda x: x, ONE, "scalar"),
        (lambda x: float(x), ONE, "scalar"),
        (lambda x: torch.rand((), dtype=torch.float64) * x[0], ONE, "asked twice"),
        (lambda x: torch.ones((), dtype=torch.float64), ONE, "depend on theta"),
    ],
)
def test_losses(loss, start, message):
    with pytest.raises(ValueError, match=message):
        gradient_flow(loss if message != "finite at the start" else (lambda x: loss(x)[0]), start,
                      t_end=1.0)  # fmt: skip


def test_float32_is_refused_with_its_remedy():
    """The paper's experiments are in float32; a flow is not."""
    with pytest.raises(TypeError, match=r"theta0.double\(\)"):
        gradient_flow(bowl, ONE.float(), t_end=1.0)
    with pytest.raises(TypeError, match="computed in float64"):
        gradient_flow(lambda x: bowl(x.float()), ONE, t_end=1.0)


@pytest.mark.parametrize("method", ["lsoda", "rosenbrock"])
def test_blow_up_is_a_status(method):
    """L = -x^4 / 4 runs to infinity in finite time, at t = 1/2: a failure, and no verdict."""
    flow = gradient_flow(lambda x: -(x[0] ** 4) / 4, ONE, t_end=1e6, method=method)
    assert flow.status == "failed"
    assert "t = 0.5" in flow.message
    assert flow.t[-1] <= 0.5
    np.testing.assert_allclose(flow.norm, (1 - 2 * flow.t) ** -0.5, rtol=1e-3)
    assert flow.verdict().word == "undecided"
    assert "failed" in str(flow.verdict())


@pytest.mark.parametrize("method", ["lsoda", "rosenbrock"])
def test_a_loss_that_ends_is_a_status(method):
    """Here x -> 0 under L = sqrt(x), in finite time, where the gradient is infinite."""
    flow = gradient_flow(lambda x: torch.sqrt(x[0]), ONE, t_end=10.0, method=method)
    assert flow.status == "failed"
    assert flow.verdict().word == "undecided"
    assert np.isfinite(flow.loss).all()


@pytest.mark.parametrize("method", ["lsoda", "rosenbrock"])
def test_ending_early(method):
    """By the callback, from the keyboard and by the clock: with what there is, and its cause."""
    whole = gradient_flow(bowl, ONE, t_end=10.0, method=method)
    seen = []

    def stop(t, loss, norm):
        seen.append((t, loss, norm))
        return t > 1

    flow = gradient_flow(bowl, ONE, t_end=10.0, method=method, callback=stop)
    assert (flow.status, len(seen)) == ("stopped", len(flow.t) - 1)
    assert 1 < flow.t[-1] < 1.2
    np.testing.assert_array_equal(flow.loss, whole.loss[: len(flow.t)])

    def interrupt(t, loss, norm):
        if t > 1:
            raise KeyboardInterrupt

    flow = gradient_flow(bowl, ONE, t_end=10.0, method=method, callback=interrupt)
    assert flow.status == "interrupted"
    np.testing.assert_array_equal(flow.norm, whole.norm[: len(flow.t)])

    flow = gradient_flow(bowl, ONE, t_end=1e9, method=method, max_seconds=1e-9)
    assert flow.status == "stopped"
    assert len(flow.t) >= 2
    assert flow.t[-1] < 1e9
    assert "seconds" in flow.message


def test_outputs():
    """From 0 to t_end, evenly in log t; the parameters only if they are asked for."""
    flow = gradient_flow(bowl, ONE, t_end=100.0, points_per_decade=10, t_first=0.1, keep_theta=True)
    assert flow.t[0] == 0
    assert flow.t[-1] == 100
    np.testing.assert_allclose(np.diff(np.log10(flow.t[1:])), 0.1, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(flow.theta, axis=1), flow.norm)
    assert torch.allclose(flow.end, torch.from_numpy(flow.theta[-1]), atol=1e-12)
    assert (flow.status, flow.message) == ("done", "")
    assert gradient_flow(bowl, ONE, t_end=1.0).theta is None
    assert (np.diff(flow.loss) <= 1e-15).all()


def test_a_critical_point_stays():
    flow = gradient_flow(bowl, 0 * ONE, t_end=1e6)
    assert flow.status == "done"
    assert not flow.norm.any()
    assert not flow.energy_defect.any()
    assert flow.verdict().word == "converges"


def test_the_start_is_not_changed():
    start = ONE.clone()
    gradient_flow(bowl, start, t_end=1.0)
    gradient_flow(bowl, start, t_end=1.0, method="rosenbrock")
    assert torch.equal(start, ONE)


def test_a_module_is_the_same_flow():
    """A torch module with float32 weights: taken to float64 on a copy, equal to the flat loss."""
    fit = polynomial_fit(activation="tanh", hidden=(3,))
    start = random_start(fit, seed=0).float().double()
    network = fit.module(start.float())
    state = copy.deepcopy(network.state_dict())
    data = (fit.x.float(), fit.y[:, None])
    rounded = gradient_flow(network, t_end=10.0, data=data, criterion=mse_loss)
    flow = gradient_flow(network, t_end=10.0, data=(fit.x, fit.y[:, None]), criterion=mse_loss)
    direct = gradient_flow(fit, start, t_end=10.0)
    np.testing.assert_allclose(flow.loss, direct.loss, rtol=1e-6)
    np.testing.assert_allclose(rounded.loss, direct.loss, rtol=1e-4)
    assert network.training
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[name])
    with pytest.raises(ValueError, match="10 parameters"):
        gradient_flow(network, ONE, t_end=1.0, data=data, criterion=mse_loss)
    with pytest.raises(ValueError, match="must come with data"):
        gradient_flow(network, t_end=1.0)


def test_dropout_and_frozen_parameters():
    """In evaluation mode dropout is off; what needs no gradient does not move."""
    network = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 1))
    network[0].requires_grad_(False)
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    flow = gradient_flow(network, t_end=5.0, data=(x, x[:, :1]), criterion=mse_loss)
    assert flow.status == "done"
    assert flow.end.shape == (5,)
    for p in network.parameters():
        p.requires_grad_(False)
    with pytest.raises(ValueError, match="requires a gradient"):
        gradient_flow(network, t_end=5.0, data=(x, x[:, :1]), criterion=mse_loss)
    with pytest.raises(ValueError, match="as many targets"):
        gradient_flow(network, t_end=5.0, data=(x, x[:3]), criterion=mse_loss)


def test_auto_chooses_by_size():
    """Small ones by LSODA, larger ones by the Rosenbrock method, large ones by products."""
    names = []
    for size, dense_to in ((200, 2000), (201, 2000), (201, 200)):
        start = torch.ones(size, dtype=torch.float64)
        names.append(gradient_flow(bowl, start, t_end=1.0, dense_to=dense_to).stats["method"])
    assert names == ["lsoda", "rosenbrock, dense", "rosenbrock, Krylov"]


def test_autograd_gives_the_same_flow():
    """The closed forms are a fast path beside torch's derivatives."""
    fit = polynomial_fit(activation="gelu", hidden=(2,))
    start = random_start(fit, seed=3)
    fast = gradient_flow(fit, start, t_end=1e3)
    plain = gradient_flow(fit, start, t_end=1e3, derivatives="autograd")
    np.testing.assert_allclose(fast.loss, plain.loss, rtol=1e-5)
