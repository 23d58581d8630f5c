"""What processes and regions refuse, each in one line."""

import math

import pytest
import torch

from heatgrad.fokker_planck.ensembles.exits import exit_times
from heatgrad.fokker_planck.ensembles.sgd import sgd_exit_times, simulate_sgd
from heatgrad.fokker_planck.ensembles.simulate import simulate
from heatgrad.fokker_planck.escape.saddle import find_minimum
from heatgrad.fokker_planck.grid.equation import FokkerPlanck
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.region import Ball, Box, HalfSpace
from heatgrad.fokker_planck.processes.sgd import SGDDiffusion

REGIONS = [Ball((0.0, 0.0), 2.0), HalfSpace((1.0, 0.0), 1.0), Box((-1.0, -1.0), (1.0, 1.0))]
LINE = Langevin(lambda x: (x**2).sum() / 2, 1.0)


@pytest.mark.parametrize("region", REGIONS)
def test_regions_of_another_dimension(region):
    """Alone, mapped over points, on a grid and in an ensemble: none broadcasts."""
    message = f"the process's 1 coordinates, got {type(region).__name__}.*, which has 2$"
    for call in (
        lambda: region(torch.zeros(1)),
        lambda: torch.func.vmap(region)(torch.zeros(3, 1)),
        lambda: FokkerPlanck(LINE, -3.0, 3.0, 20, region=region),
        lambda: exit_times(LINE, torch.zeros(1), region, dt=0.1, t_max=1.0, replicas=2),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert float(region(torch.zeros(2))) > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ball((0.0,), math.inf), "radius must be positive and finite, got inf"),
        (lambda: Ball((math.nan,), 1.0), "center must be finite, got nan"),
        (lambda: HalfSpace((math.nan,), 1.0), "normal must be finite, got nan"),
        (lambda: HalfSpace((1.0,), math.nan), "offset must be a number, or infinity, got nan"),
        (lambda: Box((0.0,), (math.nan,)), "low must be below high"),
        (lambda: Box((0.0,), (1.0, 2.0)), "as many coordinates, got 1 and 2"),
    ],
)
def test_regions_that_are_none(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_must_be_a_scalar():
    """A potential, region or set that gives a vector is named, with the shape that it gives."""
    vector = lambda x: x**2  # noqa: E731
    box = (-1.0, 1.0, 8)
    plane = torch.zeros(2)
    for name, call in (
        ("potential", lambda: FokkerPlanck(Langevin(vector, 1.0), *box)),
        ("potential", lambda: Langevin(vector, 1.0).drift(torch.zeros(1, 1))),
        ("potential", lambda: Kinetic(vector, 1.0, 1.0).drift(torch.zeros(1, 2))),
        ("potential", lambda: find_minimum(vector, torch.zeros(1))),
        ("region", lambda: FokkerPlanck(LINE, *box, region=lambda x: 1 - vector(x))),
        ("a", lambda: FokkerPlanck(LINE, *box).committor(vector, vector)),
        (
            "scaled_potential",
            lambda: Ito(lambda x: -x, 1.0, scaled_potential=vector).scaled_potential(
                plane[:1, None]
            ),
        ),
    ):
        with pytest.raises(ValueError, match=rf"^{name} must return a scalar, got shape \(1,\)"):
            call()
    with pytest.raises(ValueError, match=r"region must return a scalar, got shape \(2,\)"):
        exit_times(LINE, plane, lambda x: 1 - vector(x), dt=0.1, t_max=1.0)


def test_the_loss_of_a_sample_must_be_a_scalar():
    """Two entries, whose mean would be half of their sum: refused by SGD and by its diffusion."""
    given = {"data": (torch.ones(3, 2),), "lr": 0.1, "batch_size": 1}
    start, region = torch.zeros(2), HalfSpace((1.0, 0.0), 1.0)
    for loss, message in (
        (lambda theta, x: (theta - x) ** 2, r"loss must return a scalar, got shape \(2,\); sum it"),
        (0.5, "loss must be a function of the parameters and one sample, got 0.5"),
    ):
        for call in (
            lambda f=loss: simulate_sgd(f, theta0=start, steps=5, **given),
            lambda f=loss: sgd_exit_times(f, theta0=start, region=region, steps=5, **given),
            lambda f=loss: SGDDiffusion(f, **given).drift(start.unsqueeze(0)),
            lambda f=loss: SGDDiffusion(f, **given).mean_loss(start),
        ):
            with pytest.raises(ValueError, match=message):
                call()


def test_a_number_is_a_diffusion_of_one_coordinate():
    process = Ito(lambda x: -x, 0.5)
    assert process.dim == 1
    assert process.diffusion(torch.zeros(2, 1)).tolist() == [[[0.5]], [[0.5]]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Ito(lambda x: -x, [[0.5]]), "diffusion must be a matrix"),
        (lambda: Ito(lambda x: -x, -0.5), "diffusion must be positive semidefinite"),
        (lambda: Ito(0.5, 0.5), "drift must be a function of one point, got 0.5"),
        (lambda: Langevin(LINE.potential, None), "temperature must be positive and finite"),
        (lambda: Langevin(None, 1.0), "potential must be a function of one point, got None"),
        (
            lambda: exit_times(LINE, [-1.0], REGIONS[0], dt=0.1, t_max=1.0),
            r"x0 must be a tensor, got list",
        ),
        (
            lambda: simulate(LINE, torch.zeros(1), dt=0.1, times=1.0, replicas=10.5),
            "replicas must be an integer of at least 1, got 10.5",
        ),
    ],
)
def test_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.0}, "lr must be positive"),
        ({"extra_noise": -1.0}, "extra_noise must be at least 0"),
        ({"data": ()}, "data must be tensors of as many samples"),
    ],
)
def test_sgd_and_its_diffusion_refuse_the_same(change, message):
    given = {"data": (torch.ones(2),), "lr": 0.1, "batch_size": 1} | change
    data = given.pop("data")

    def loss(theta, s):
        return (theta * s).sum()

    with pytest.raises(ValueError, match=message):
        SGDDiffusion(loss, data, **given)
    with pytest.raises(ValueError, match=message):
        sgd_exit_times(loss, data, torch.zeros(1), HalfSpace((1.0,), 1.0), steps=2, **given)
