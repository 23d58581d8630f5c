"""The paper's setting: networks on polynomials, sweeps of starts, and ordinary optimizers."""

import numpy as np
import pytest
import torch

from heatgrad.core.shares import wilson
from heatgrad.flow import (
    ACTIVATIONS,
    descend,
    divergence_by_start,
    gradient_flow,
    polynomial_fit,
    predicted_exponents,
    random_start,
    valley_start,
)

# The power k of L ~ R^-k that each 1-2-1 net's flow is seen to settle on: 4 where the fourth
# derivative has a zero at which the second has none, 2 elsewhere.
SETTLES = {"logistic": 4, "tanh": 4, "softplus": 4, "gelu": 2, "elu": 2, "swish": 2}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_good_starts_run_to_infinity(name):
    """1-2-1 nets from the valley to t = 1e10: a power of time as (A.5) predicts for k = 2 or 4."""
    fit = polynomial_fit(activation=name, hidden=(2,))
    flow = gradient_flow(fit, valley_start(fit, 1.0), t_end=1e10)
    assert flow.status == "done"
    assert np.abs(flow.energy_defect).max() < 2e-3
    assert flow.stats["steps"] < 3000  # of about 0.1 ms each
    found, law = flow.verdict(), predicted_exponents(SETTLES[name])
    assert found.word in ("diverges", "undecided")
    assert flow.norm[-1] > 1.5 * flow.norm[0]
    if found.word == "diverges":
        assert found.speed[-1].value == pytest.approx(law.speed, abs=0.02)
        assert found.norm[-1].value == pytest.approx(law.norm, abs=0.03)
        assert found.loss[-1].value == pytest.approx(law.loss, abs=0.03)
        assert abs(found.loss_limit) < flow.loss[-1]
    # Of these starts logistic and softplus are still leaving the valley's mouth.
    assert (found.word == "undecided") == (name in ("logistic", "softplus"))


def test_the_limit_of_k_4_is_reached_by_random_starts():
    """A logistic 1-2-1 net, drawn at random: 1/6, -2/3 and -5/6."""
    fit = polynomial_fit(activation="logistic", hidden=(2,))
    start = torch.randn(7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = gradient_flow(fit, start, t_end=1e10).verdict()
    law = predicted_exponents(4)
    assert found.word == "diverges"
    assert found.speed[-1].value == pytest.approx(law.speed, abs=0.005)
    assert found.norm[-1].value == pytest.approx(law.norm, abs=0.01)
    assert found.loss[-1].value == pytest.approx(law.loss, abs=0.005)


def test_the_over_parametrised_control_converges():
    """31 parameters on 8 points: zero loss to rounding, and the weights stay bounded."""
    fit = polynomial_fit(activation="tanh", hidden=(10,), points=8)
    for seed in (0, 1):
        start = torch.randn(31, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        flow = gradient_flow(fit, start, t_end=1e12)
        assert flow.verdict().word == "converges", str(flow.verdict())
        assert flow.loss[-1] < 1e-12
        assert flow.norm[-1] < 20


def test_the_same_net_on_more_points_is_undecided():
    """On 20 points it is still in transients at t = 1e10."""
    fit = polynomial_fit(activation="tanh", hidden=(10,), points=20)
    start = torch.randn(31, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    flow = gradient_flow(fit, start, t_end=1e10)
    assert flow.verdict().word == "undecided"
    assert flow.loss[-1] > 1e-14


def test_two_hidden_layers():
    """1-4-3-1 from the valley: the flow is followed, the identity holds."""
    fit = polynomial_fit(activation="softplus", hidden=(4, 3))
    flow = gradient_flow(fit, valley_start(fit, 1.0), t_end=1e8)
    assert flow.status == "done"
    assert np.abs(flow.energy_defect).max() < 1e-4


def test_sweep():
    """A double hill with a pit: starts on the left fall in, those on the right run away.

    L = x^-2 for x > 0 diverges from any start; with (x + 3)^2 for x < -1 the others converge.
    """

    def loss(x):
        return torch.where(x[0] > 0, x[0].abs() ** -2, (x[0] + 3) ** 2 + 1)

    starts = [torch.tensor([x], dtype=torch.float64) for x in (1.0, 2.0, 4.0, -1.5, -2.0, -4.0)]
    calls = []
    found = divergence_by_start(
        loss, starts, t_end=1e8, bins=2, progress=lambda *call: calls.append(call)
    )
    assert found.words == ("diverges",) * 3 + ("converges",) * 3
    np.testing.assert_allclose(found.excess, [1, 1 / 4, 1 / 16, 3.25, 2, 2])
    assert found.counts.tolist() == [[2, 0, 0], [1, 3, 0]]
    assert found.share.tolist() == [1, 0.25]
    assert found.threshold == 1
    assert (found.low < found.share).all()
    assert found.high[1] > 0.25
    assert found.high[0] == pytest.approx(1)
    assert calls[-1] == (6, 6)
    np.testing.assert_allclose(found.final_loss[3:], 1, atol=1e-9)


def test_undecided_starts_widen_the_interval():
    """exp(-x) is undecided: the share may be anything that both readings allow."""
    starts = [torch.tensor([x], dtype=torch.float64) for x in (0.0, 1.0, 2.0)]
    found = divergence_by_start(lambda x: torch.exp(-x[0]), starts, t_end=1e8, bins=1)
    assert found.counts.tolist() == [[0, 0, 3]]
    assert (found.low[0], found.high[0]) == pytest.approx((0, 1))
    assert np.isnan(found.threshold)


def test_wilson_is_scipys():
    """The binomtest of scipy has the same interval."""
    from scipy.stats import binomtest

    low, high = wilson(np.array([0, 3, 20, 0]), np.array([8, 10, 20, 0]), confidence=0.9)
    for n, (hits, total) in enumerate(((0, 8), (3, 10), (20, 20))):
        theirs = binomtest(hits, total).proportion_ci(0.9, method="wilson")
        assert (low[n], high[n]) == pytest.approx((theirs.low, theirs.high))
    assert np.isnan(low[3])
    assert np.isnan(high[3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"starts": []}, "at least one"),
        ({"bins": 0}, "bins"),
        ({"confidence": 1.0}, "confidence"),
        ({"inf_loss": 5.0}, "inf_loss"),
    ],
)
def test_sweep_refusals(options, message):
    starts = options.pop("starts", [torch.ones(1, dtype=torch.float64)])
    with pytest.raises(ValueError, match=message):
        divergence_by_start(lambda x: x[0] ** -2, starts, t_end=10.0, **options)


def test_gradient_descent_is_eulers_method_of_the_flow():
    """At t = lr * steps the two differ by O(lr): the paper's 500,000 steps are t = 500."""
    fit = polynomial_fit(activation="tanh", hidden=(2,))
    start = random_start(fit, seed=0)
    flow = gradient_flow(fit, start, t_end=5.0)
    gaps = []
    for lr in (1e-2, 5e-3):
        run = descend(fit, start, lr=lr, steps=round(5 / lr), dtype=torch.float64)
        assert run.t[-1] == pytest.approx(5)
        gaps.append(float((run.end - flow.end).norm()))
    assert gaps[0] < 0.01
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("optimizer", ["gd", "sgd", "adam"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_optimizers(optimizer, dtype):
    """Each lowers the loss, records what it is at, and repeats."""
    fit = polynomial_fit(activation="softplus", hidden=(4,))
    start = random_start(fit, seed=0)
    runs = [
        descend(fit, start, optimizer=optimizer, lr=1e-2, steps=300, dtype=dtype, seed=3)
        for _ in range(2)
    ]
    run = runs[0]
    assert torch.equal(run.end, runs[1].end)
    assert run.end.dtype == dtype
    assert (run.steps[0], run.steps[-1], run.status) == (0, 300, "done")
    assert run.loss[-1] < run.loss[0]
    assert run.norm[0] == pytest.approx(float(start.norm()), rel=1e-6)
    assert run.loss[-1] == pytest.approx(fit.value(run.end), rel=1e-12)


def test_adam_is_torchs():
    """Five steps by hand on the whole gradient of autograd."""
    fit = polynomial_fit(activation="gelu", hidden=(2,))
    theta = random_start(fit, seed=0).requires_grad_()
    run = descend(fit, theta, optimizer="adam", lr=0.1, steps=5, dtype=torch.float64)
    method = torch.optim.Adam([theta], lr=0.1)
    for _ in range(5):
        method.zero_grad()
        fit(theta).backward()
        method.step()
    assert torch.allclose(run.end, theta.detach(), rtol=1e-9)


def test_a_descent_that_blows_up_is_a_status():
    run = descend(
        lambda x: (x**4).sum(), torch.full((1,), 10.0, dtype=torch.float64), lr=1.0, steps=50
    )
    assert run.status == "failed"
    assert np.isfinite(run.loss).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "lion"}, "one of gd, sgd, adam"),
        ({"lr": 0.0}, "lr"),
        ({"steps": 0}, "steps"),
        ({"dtype": torch.float16}, "dtype"),
        ({"batch_size": 0}, "batch_size"),
        ({"optimizer": "sgd"}, "needs the points"),
    ],
)
def test_descent_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        descend(lambda x: (x**2).sum(), torch.ones(1), **options)
