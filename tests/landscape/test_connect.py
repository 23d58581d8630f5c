"""Curves between networks: around a ring, on data, and what they are made of."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy

from heatgrad.landscape.connect import connect
from heatgrad.landscape.objective import DataLoss
from heatgrad.landscape.path import interpolate


def ring(m):
    """Zero on the circle of radius 1 about the origin, 1 at the origin."""
    return ((m.x**2).sum() - 1) ** 2


@pytest.fixture
def sides(point):
    """Two points of the ring, nearly opposite: the line between them passes by the origin."""
    return point([math.cos(3.0), math.sin(3.0)]), point([1.0, 0])


def test_a_bend_around_a_hill(sides):
    """The best bend by hand: straight out from the middle, as far as a search in one number says.

    On the ring the loss along a curve is known without the library.
    """
    a, b = sides
    assert interpolate(a, b, ring).barrier > 0.98
    start, end = a.x.detach().numpy(), b.x.detach().numpy()
    out = np.array([start[1] - end[1], end[0] - start[0]])
    t = np.linspace(0, 1, 2001)[:, None]
    shares = {
        "bezier": ((1 - t) ** 2, 2 * t * (1 - t), t**2),
        "chain": (np.maximum(0, 1 - 2 * t), 1 - abs(2 * t - 1), np.maximum(0, 2 * t - 1)),
    }
    for kind, (s, c, e) in shares.items():

        def along(far, s=s, c=c, e=e):
            places = s * start + c * far * out / np.linalg.norm(out) + e * end
            return ((places**2).sum(1) - 1) ** 2

        best = minimize_scalar(lambda far, along=along: along(far).mean(), bounds=(0, 4))
        curve = connect(a, b, ring, kind=kind, steps=1500, lr=0.05)
        assert float(torch.linalg.vector_norm(curve.bend.x.detach())) == pytest.approx(
            best.x, abs=0.05
        )
        path = curve.path(ring, points=101)
        assert path.losses.max() == pytest.approx(along(best.x).max(), abs=0.08)


@pytest.mark.parametrize("kind", ["bezier", "chain"])
def test_its_places(kind, sides):
    """Ends are the networks; the middle is half the bend, or the bend itself."""
    a, b = sides
    curve = connect(a, b, ring, kind=kind, steps=3)
    assert torch.equal(curve.at(0).x, a.x)
    assert torch.equal(curve.at(1).x, b.x)
    middle = curve.bend.x if kind == "chain" else (a.x + b.x) / 4 + curve.bend.x / 2
    assert torch.allclose(curve.at(0.5).x, middle, atol=1e-15)
    quarter = {
        "bezier": 0.5625 * a.x + 0.375 * curve.bend.x + 0.0625 * b.x,
        "chain": (a.x + curve.bend.x) / 2,
    }
    assert torch.allclose(curve.at(0.25).x, quarter[kind], atol=1e-15)


def test_between_networks_with_batch_norm(trained, data):
    """The curve's barrier is below the line's; networks, modes and statistics stay."""
    a, b = trained(0), trained(1)
    before = [copy.deepcopy(m.state_dict()) for m in (a, b)]
    loss = DataLoss(cross_entropy, data, batch_size=25)
    curve = connect(a, b, loss, steps=400)
    assert curve.path(loss).barrier < 0.3 * interpolate(a, b, loss).barrier
    ends = curve.path(loss, points=2, refine=False).losses
    assert ends == pytest.approx(interpolate(a, b, loss, points=2, refine=False).losses)
    for model, state in zip((a, b), before, strict=True):
        assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
        assert all(m.training for m in model.modules())


def test_a_place_has_statistics_of_its_own(trained, data):
    """The ends are the networks; between them statistics are estimated, or it is refused."""
    start, end = trained(0), trained(1)
    loss = DataLoss(cross_entropy, data)
    curve = connect(start, end, loss, steps=2)
    for place, model in ((0, start), (1, end)):
        state = model.state_dict()
        assert all(torch.equal(v, state[k]) for k, v in curve.at(place).state_dict().items())
    with pytest.raises(ValueError, match=r"at t = 0\.5 are those of neither end: give recalib"):
        curve.at(0.5)
    found = sum(
        float(t.detach()) for t in loss.terms(curve.at(0.5, recalibrate_on=[data[0]]).eval())
    )
    path = curve.path(loss, points=3, refine=False, recalibrate_on=[data[0]])
    assert found == pytest.approx(path.losses[1], rel=1e-6)
    with pytest.raises(ValueError, match="t must be from 0 to 1, got 2"):
        curve.at(2)


def test_the_seed_decides(sides):
    first, again, other = (connect(*sides, ring, steps=20, seed=s).bend.x for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "line"}, "kind must be one of bezier, chain, got 'line'"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"lr": -1.0}, r"lr must be a positive number, got -1\.0"),
    ],
)
def test_bad_settings(settings, message, sides):
    with pytest.raises(ValueError, match=message):
        connect(*sides, ring, **settings)


def test_an_end_that_has_no_loss(data):
    first, second = (torch.nn.Linear(3, 2).double() for _ in range(2))
    second.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="must be finite, got nan for the second"):
        connect(first, second, DataLoss(cross_entropy, data), steps=2)


def test_a_training_that_diverges_says_so(sides):
    with pytest.raises(ValueError, match="lr must be smaller"):
        connect(*sides, lambda m: ring(m) ** 8, lr=1e30, steps=50)
