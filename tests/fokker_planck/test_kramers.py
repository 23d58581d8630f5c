"""Laws of escape: their order in T, the factors people confuse, the least cost of leaving."""

import math
import warnings

import numpy as np
import pytest
import torch

from heatgrad.core.errors import HeatgradWarning
from heatgrad.fokker_planck.ensembles.exits import exit_times
from heatgrad.fokker_planck.escape.kramers import escape_cost, eyring_kramers
from heatgrad.fokker_planck.escape.passage import mean_first_passage_1d
from heatgrad.fokker_planck.processes.langevin import Kinetic
from heatgrad.fokker_planck.processes.region import Ball, Box, HalfSpace


def double_well(x):
    return ((x**2 - 1) ** 2).sum() / 4


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize(("to", "target"), [("well", 1.0), ("saddle", 0.0)])
def test_error_of_order_one_in_temperature(to, target):
    """Against quadrature from -1: the relative error falls as T, slope one; no tight tolerance."""
    temperatures, errors = (0.02, 0.01, 0.005, 0.0025), []
    for T in temperatures:
        law = eyring_kramers(double_well, point(-1), point(0), T, to=to)
        exact = mean_first_passage_1d(double_well, T, -1.0, target)
        errors.append(abs(math.expm1(law.log_value - exact.log_value)))
    slope = np.polyfit(np.log(temperatures), np.log(errors), 1)[0]
    assert slope == pytest.approx(1, abs=0.1)
    assert errors[-1] < 0.01


def test_half_of_it_to_the_saddle():
    laws = [
        eyring_kramers(double_well, point(1), point(0), 0.05, to=to) for to in ("well", "saddle")
    ]
    assert laws[0].value == pytest.approx(2 * laws[1].value, rel=1e-14)
    assert laws[0].prefactor == pytest.approx(2 * math.pi / math.sqrt(2), rel=1e-14)
    assert laws[0].barrier == 0.25
    assert laws[0].unstable == -1


def test_determinants_of_more_coordinates():
    """A second one of stiffness 1 + x²: sqrt(1/2) times the 1-D law, twice as stiff below."""

    def bent(x):
        return double_well(x[:1]) + (1 + x[0] ** 2) * x[1] ** 2 / 2

    one = eyring_kramers(double_well, point(-1), point(0), 0.05)
    two = eyring_kramers(bent, point(-1, 0), point(0, 0), 0.05)
    assert two.value == pytest.approx(one.value / math.sqrt(2), rel=1e-12)


def test_friction():
    """High: γ times the overdamped time. Low: transition state theory, 2 pi sqrt(1 / U'')."""
    slow = eyring_kramers(double_well, point(-1), point(0), 0.05)
    for gamma, truth in ((1e4, 1e4 * slow.prefactor), (1e-4, 2 * math.pi / math.sqrt(2))):
        law = eyring_kramers(double_well, point(-1), point(0), 0.05, friction=gamma)
        assert law.prefactor == pytest.approx(truth, rel=1e-4)
    law = eyring_kramers(double_well, point(-1), point(0), 0.05, friction=1.5)
    rate = math.sqrt(1.5**2 / 4 + 1) - 0.75
    assert law.prefactor == pytest.approx(2 * math.pi / rate / math.sqrt(2), rel=1e-14)


@pytest.mark.slow
def test_friction_against_an_ensemble():
    """γ = 1, barrier of five temperatures: the law within its own error of order T / barrier."""
    law = eyring_kramers(double_well, point(-1), point(0), 0.05, friction=1.0)
    exits = exit_times(
        Kinetic(double_well, 0.05, 1.0),
        point(-1, 0),
        HalfSpace((1.0, 0.0), 0.8),
        dt=0.05,
        t_max=600.0,
        replicas=1000,
    )
    assert exits.status == "censored"
    assert exits.tail_p > 1e-4
    assert exits.value == pytest.approx(law.value, rel=0.25)


def test_low_barriers_warn():
    """Below three temperatures, not above."""
    with pytest.warns(HeatgradWarning, match=r"only 2\.5 temperatures"):
        eyring_kramers(double_well, point(-1), point(0), 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eyring_kramers(double_well, point(-1), point(0), 0.08)


def test_beyond_all_numbers():
    law = eyring_kramers(double_well, point(-1), point(0), 1e-5)
    assert law.value == math.inf
    assert law.log_value == pytest.approx(25_000, rel=1e-3)


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ((point(0), point(0)), {}, "minimum must have 0 negative"),
        ((point(-1), point(1)), {}, "saddle must have 1 negative"),
        ((point(-0.9), point(0)), {}, "gradient at the minimum must vanish"),
        ((point(-1), point(0.1)), {}, "gradient at the saddle must vanish"),
        ((point(-1), point(math.inf)), {}, "saddle must be a finite point"),
        ((point(-1), point(0)), {"friction": 0.0}, "friction must be positive"),
        ((point(-1), point(0)), {"temperature": -1.0}, "temperature must be positive"),
        ((point(-1), point(0)), {"to": "moon"}, "to must be"),
    ],
)
def test_refusals(points, options, message):
    args = {"temperature": 0.05} | options
    with pytest.raises(ValueError, match=message):
        eyring_kramers(double_well, *points, args.pop("temperature"), **args)


def test_flat_and_doubly_unstable_points_are_refused():
    with pytest.raises(ValueError, match="got 2 and 0"):
        eyring_kramers(lambda x: ((x**2 - 1) ** 2).sum(), point(1, 1), point(0, 0), 0.05)
    with pytest.raises(ValueError, match="got 0 and 1"):
        eyring_kramers(lambda x: x[0] ** 2 + 0 * x[1], point(0, 0), point(0, 0), 0.05)


def test_cost_of_isotropic_noise_is_the_height():
    """V = 2 Delta L / s² over η: for a ball the softest direction, H its Hessian."""
    H, eta, s2, R = torch.diag(point(3.0, 0.5, 2.0)), 0.01, 0.4, 1.3
    cost = escape_cost(H, eta * s2 / 2 * torch.eye(3).double(), Ball((0.0, 0.0, 0.0), R))
    assert cost.status == "converged"
    assert cost.value == pytest.approx(2 * (0.5 * R**2 / 2) / (s2 * eta), rel=1e-9)
    assert cost.place.abs().tolist() == pytest.approx([0, R, 0], abs=1e-6)


def test_cost_of_a_plane_under_correlated_noise():
    """offset² / (2 n' S n), with S by S_ij = 2 D_ij / (l_i + l_j); noise, not slope, decides."""
    H, D = torch.diag(point(1.0, 4.0)), torch.tensor([[0.1, 0.15], [0.15, 0.5]]).double()
    S = 2 * D / point(1.0, 4.0).reshape(2, 1).add(point(1.0, 4.0))
    n, b = point(0.3, -1.0), 0.7
    cost = escape_cost(H, D, HalfSpace(n.tolist(), b))
    assert cost.value == pytest.approx(b**2 / (2 * float(n @ S @ n)), rel=1e-12)
    assert float(n @ cost.place) == pytest.approx(b, rel=1e-12)
    by_search = escape_cost(H, D, lambda x: b - x @ n)
    assert by_search.value == pytest.approx(cost.value, rel=1e-6)
    box = escape_cost(H, D, Box((-math.inf, -0.6), (0.9, 0.5)), center=point(0.1, 0.0))
    walls = [0.8**2 / (2 * S[0, 0]), 0.5**2 / (2 * S[1, 1]), 0.6**2 / (2 * S[1, 1])]
    assert box.value == pytest.approx(float(min(walls)), rel=1e-12)


def test_cost_is_the_slope_of_log_time():
    """Freidlin and Wentzell: T log tau against quadrature, with the limit T -> 0."""
    limit = []
    for T in (0.01, 0.005):
        exact = mean_first_passage_1d(lambda x: 1.5 * (x**2).sum(), T, 0.0, 1.0)
        limit.append(exact.log_value)
    per = [escape_cost(3 * torch.eye(1), T * torch.eye(1), HalfSpace((1.0,), 1.0)).value
           for T in (0.01, 0.005)]  # fmt: skip
    assert limit[1] - limit[0] == pytest.approx(per[1] - per[0], rel=0.01)
    assert per == pytest.approx([150, 300])


@pytest.mark.parametrize(
    ("H", "D", "region", "message"),
    [
        (-torch.eye(2), torch.eye(2), Ball((0.0, 0.0), 1.0), "positive real parts"),
        (torch.eye(2), torch.diag(point(1, 0)), Ball((0.0, 0.0), 1.0), "reach all directions"),
        (torch.eye(2), torch.eye(3), Ball((0.0, 0.0), 1.0), "square alike"),
        (torch.eye(2), torch.eye(2), Ball((3.0, 0.0), 1.0), "center must be inside"),
        (torch.eye(2), torch.eye(2), lambda x: 1 + 0 * x.sum(), "must end somewhere"),
    ],
)
def test_cost_refusals(H, D, region, message):
    with pytest.raises(ValueError, match=message):
        escape_cost(H, D, region)
