"""Boxes, laws on them, and what the chain of any process keeps: mass and sign."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.fokker_planck.grid.cells import make_grid
from heatgrad.fokker_planck.grid.equation import FokkerPlanck
from heatgrad.fokker_planck.grid.laws import Gaussian
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Langevin
from heatgrad.fokker_planck.processes.region import Ball


def well(x):
    return (x**2).sum() / 2


@given(st.floats(0, math.pi), st.floats(0, 4), st.floats(-3, 3), st.floats(-4, 4))
@settings(max_examples=25, deadline=None)
def test_mass_and_sign_for_every_diffusion(angle, digits, spin, log_dt):
    """Any definite D of condition up to 1e4, any step: mass to 1e-13, no mass below zero."""
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    diffusion = torch.from_numpy(turn @ np.diag([1.0, 10.0**-digits]) @ turn.T)
    spiral = torch.tensor([[1.0, spin], [-spin, 1.0]], dtype=torch.float64)
    chain = FokkerPlanck(
        Ito(lambda x: -spiral @ x, (diffusion + diffusion.T) / 2), (-5.0, -5.0), (5.0, 5.0), 20
    )
    run = chain.evolve((1.0, -2.0), 10.0**log_dt * np.arange(1, 4), steps=2)
    assert run.mass_defect <= 1e-13
    assert run.least >= -1e-15
    assert np.abs(run.masses.sum(axis=(1, 2)) - 1).max() <= 1e-13
    assert (chain.generator.rates - _diagonal(chain.generator.rates)).data.min() >= 0
    assert chain.diagnostics(run.masses[-1]).mass_defect < 1e-14


def _diagonal(matrix):
    from scipy import sparse

    return sparse.diags(matrix.diagonal())


def test_three_dimensions():
    """The same in space, with noise of condition 1000 along a slope."""
    g = np.array([1.0, 0.6, -0.3])
    diffusion = torch.from_numpy(np.outer(g, g) + 1e-3 * np.eye(3))
    chain = FokkerPlanck(Ito(lambda x: -x, diffusion), (-4.0,) * 3, (4.0,) * 3, 12)
    run = chain.evolve((1.0, 0.0, 1.0), [0.1, 1.0], steps=3)
    assert run.mass_defect <= 1e-13
    assert run.least >= -1e-15


def test_generator_acts_as_the_process():
    """Q f -> b . grad f + D : Hess f at interior cells, for a smooth f: order 2."""
    diffusion = torch.tensor([[1.0, 0.6], [0.6, 0.8]], dtype=torch.float64)
    errors = []
    for n in (20, 40, 80):
        chain = FokkerPlanck(Ito(lambda x: torch.sin(x).flip(0), diffusion), (-2, -2), (2, 2), n)
        x, y = chain.grid.centers().T
        value = np.cos(x + 2 * y)
        exact = -(np.sin(y) + 2 * np.sin(x)) * np.sin(x + 2 * y)
        exact -= (1.0 + 4 * 0.6 + 4 * 0.8) * value
        inner = (np.abs(x) < 1) & (np.abs(y) < 1)
        errors.append(np.abs(chain.generator.rates @ value - exact)[inner].max())
    assert errors[0] / errors[2] == pytest.approx(16, rel=0.2)


def test_units():
    """Another unit along each axis changes no mass: cells are what counts."""
    hessian = torch.tensor([[1.0, 0.4], [0.1, 2.0]], dtype=torch.float64)
    diffusion = torch.tensor([[1.0, 0.5], [0.5, 0.6]], dtype=torch.float64)
    unit = torch.tensor([1.0, 100.0], dtype=torch.float64)
    plain = FokkerPlanck(Ito(lambda x: -hessian @ x, diffusion), (-5, -4), (5, 4), 20)
    other = FokkerPlanck(
        Ito(lambda x: -unit * (hessian @ (x / unit)), torch.outer(unit, unit) * diffusion),
        (-5, -400),
        (5, 400),
        20,
    )
    np.testing.assert_allclose(
        plain.stationary().masses, other.stationary().masses, rtol=1e-8, atol=1e-15
    )


def test_laws():
    """A point goes to its cell, a Gaussian has its moments, masses stay."""
    chain = FokkerPlanck(Langevin(well, 1.0), (-6.0, -6.0), (6.0, 6.0), 60)
    point = chain.law((0.1, -0.1))
    assert point[30, 29] == point.sum() == 1
    cov = ((0.5, 0.2), (0.2, 0.7))
    masses = chain.law(Gaussian((0.3, -0.4), cov))
    mean = chain.mean(masses, lambda x: x)
    np.testing.assert_allclose(mean, [0.3, -0.4], atol=1e-9)
    second = chain.mean(masses, lambda x: torch.outer(x, x))
    np.testing.assert_allclose(second - np.outer(mean, mean), cov, atol=1e-9)
    np.testing.assert_array_equal(chain.law(masses), masses)
    assert (chain.density(masses) * chain.grid.volume).sum() == pytest.approx(1)


def test_mean_in_one_dimension():
    """Under the law of the double well at T = 0.2: int x^2 e^(-U/T) / int e^(-U/T)."""
    from scipy.integrate import quad

    top, _ = quad(lambda x: x**2 * math.exp(-((x * x - 1) ** 2) / 0.2), -3, 3)
    bottom, _ = quad(lambda x: math.exp(-((x * x - 1) ** 2) / 0.2), -3, 3)
    chain = FokkerPlanck(Langevin(lambda x: ((x**2 - 1) ** 2).sum(), 0.2), -2.0, 2.0, 100)
    found = chain.mean(chain.stationary().masses, lambda x: x[0] ** 2)
    assert float(found) == pytest.approx(top / bottom, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, -1.0, 20), "low must be below high"),
        ((0.0, math.inf, 20), "both finite"),
        ((-1.0, 1.0, 3), "at least 4"),
        ((-1.0, 1.0, 20.0), "one integer"),
        (((-1.0, -1.0), (1.0, 1.0), (20,)), "one per axis"),
        (((-1.0,) * 4, (1.0,) * 4, 5), "1 to 3 coordinates"),
        (((-1.0, -1.0), 1.0, 5), "same 1 to 3"),
    ],
)
def test_boxes_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FokkerPlanck(Langevin(well, 1.0), *arguments)


@pytest.mark.parametrize(
    ("boundary", "message"),
    [
        ("open", "boundary must be one of"),
        (("reflect", "absorb", "reflect"), "2 of them"),
        ((("periodic", "reflect"), "reflect"), "at both sides"),
    ],
)
def test_boundaries_refused(boundary, message):
    with pytest.raises(ValueError, match=message):
        make_grid((-1.0, -1.0), (1.0, 1.0), 8, boundary)


def test_processes_refused():
    box = ((-1.0, -1.0), (1.0, 1.0), 8)
    bad = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="positive semidefinite"):
        Ito(lambda x: -x, bad)
    with pytest.raises(ValueError, match="positive semidefinite, got an eigenvalue"):
        FokkerPlanck(Ito(lambda x: -x, lambda x: bad + 0 * x[0]), *box)
    with pytest.raises(ValueError, match="symmetric"):
        FokkerPlanck(Ito(lambda x: -x, lambda x: torch.tensor([[1.0, 0.5], [0.0, 1.0]])), *box)
    with pytest.raises(ValueError, match="process's 1 coordinates"):
        FokkerPlanck(Ito(lambda x: -x, torch.eye(1)), *box)
    with pytest.raises(ValueError, match="drift must be finite"):
        FokkerPlanck(Ito(lambda x: torch.log(x), torch.eye(2)), *box)
    with pytest.raises(ValueError, match="region must hold"):
        FokkerPlanck(Langevin(well, 1.0), *box, region=Ball((9.0, 9.0), 1.0))


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ((3.0, 0.0), "in the box"),
        ((0.0,), "a law must be"),
        (np.full((8, 8), 0.5), "sum to 1"),
        (Gaussian((0.0, 0.0), ((1.0, 0.0), (0.0, -1.0))), "positive definite"),
        (Gaussian((0.0,), ((1.0,),)), "mean of 2"),
    ],
)
def test_laws_refused(law, message):
    chain = FokkerPlanck(Langevin(well, 1.0), (-1.0, -1.0), (1.0, 1.0), 8)
    with pytest.raises(ValueError, match=message):
        chain.law(law)
