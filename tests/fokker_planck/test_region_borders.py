"""Borders of regions through the centres of cells, and within rounding of them."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from heatgrad.fokker_planck.grid.equation import FokkerPlanck
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.region import Box, HalfSpace

T = 0.2
LEFT = HalfSpace((1.0,), 0.0)
WELLS = Langevin(lambda x: ((x**2 - 1) ** 2).sum() / 4, T)
DRIFT = Ito(lambda x: x - x**3, T)


def wells(x):
    return (x**2 - 1) ** 2 / 4


def passage(potential, temperature, low, start, end):
    """Nested quadrature: int e^(U/T) / T int_low e^(-U/T)."""

    def outer(y):
        inner = quad(lambda z: np.exp(-potential(z) / temperature), low, y, epsrel=1e-10)[0]
        return np.exp(potential(y) / temperature) * inner / temperature

    return quad(outer, start, end, epsrel=1e-9)[0]


EXACT = passage(wells, T, -4.0, -1.0, 0.0)


def test_a_box_whose_sides_are_centres():
    """By symmetry the mean time from 0 to ±1 is that of a half line that reflects at 0."""
    bowl = Langevin(lambda x: (x**2).sum() / 2, 0.3)
    found = FokkerPlanck(bowl, -1.5, 1.5, 45, region=Box((-1.0,), (1.0,))).mean_exit_time()
    assert found.status == "converged"
    exact = passage(lambda x: x**2 / 2, 0.3, 0.0, 0.0, 1.0)
    assert found.at([0.0]) == pytest.approx(exact, rel=2e-3)  # order 2: h² = 4e-3


@pytest.mark.parametrize("process", [WELLS, DRIFT])
@pytest.mark.parametrize(("low", "high", "n"), [(-3, 1, 50), (-2.5, 0.5, 45), (-2.2, 1, 120)])
def test_a_saddle_on_a_centre(process, low, high, n):
    """Quadrature, with a potential and by the drift alone; errors of order 2 in the spacing."""
    found = FokkerPlanck(process, low, high, n, region=LEFT).mean_exit_time()
    assert found.status == "converged"
    assert found.at([-1.0]) == pytest.approx(EXACT, rel=1.6 * ((high - low) / n) ** 2)


@pytest.mark.parametrize("beyond", [-1e-9, -1e-12, -1e-15, -1e-17, 1e-17, 1e-15, 1e-12, 1e-9])
def test_within_rounding_of_a_centre(beyond):
    """On both sides of the centre the time is quadrature's, and no rounding is claimed."""
    for process in (WELLS, DRIFT):
        chain = FokkerPlanck(process, -2.2, 1.0, 232, region=HalfSpace((1.0,), beyond))
        found = chain.mean_exit_time()
        assert found.status == "converged"
        assert found.rounding < 1e-10
        assert found.at([-1.0]) == pytest.approx(EXACT, rel=3e-4)  # order 2: h² = 1.8e-4


@pytest.mark.parametrize("normal", [(1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("beyond", [-1e-15, 0.0, 1e-15])
def test_in_the_plane_across_wide_jumps(normal, beyond):
    """The coordinate that leaves knows nothing of the other, however their noises correlate."""
    noise = torch.tensor([[T, 0.15], [0.15, T]], dtype=torch.float64)
    k = normal.index(1.0)

    def drift(x):
        both = [-x, -x]
        both[k] = x - x**3
        return torch.stack([both[0][0], both[1][1]])

    low, high, n = [-2.8, -2.8], [2.8, 2.8], [52, 52]
    low[k], high[k], n[k] = -2.2, 1.0, 72
    chain = FokkerPlanck(
        Ito(drift, noise), low, high, n, region=HalfSpace(normal, beyond), walls=True
    )
    found = chain.mean_exit_time()
    centres = [chain.grid.axis(j) for j in (0, 1)]
    assert np.abs(centres[k]).min() < 1e-12
    assert chain.generator.width > 1
    start = [0.0, 0.0]
    start[k] = -1.0
    assert found.status == "converged"
    assert found.at(start) == pytest.approx(EXACT, rel=4e-3)  # order 2: h² = 2e-3


def test_kinetic():
    """Cells on either side of the border differ by order 1 in the spacing: as its neighbours do."""
    process = Kinetic(lambda q: ((q**2 - 1) ** 2).sum() / 4, T, 1.0)
    found = [
        FokkerPlanck(
            process, (-2.2, -1.8), (1.0, 1.8), n, region=HalfSpace((1.0, 0.0), 0.0), walls=True
        ).mean_exit_time()
        for n in (119, 120, 121)
    ]
    assert [f.status for f in found] == ["converged"] * 3
    before, here, after = (f.at([-1.0, 0.0]) for f in found)
    assert here == pytest.approx((before + after) / 2, rel=2e-2)  # half a cell of the well's 1


@pytest.mark.parametrize("high", [0.1, 0.3, 0.7])
def test_along_a_side_of_the_box(high):
    """The region's border absorbs, though rounding may move the side before or beyond it."""
    exact = passage(wells, T, -4.0, -1.0, high)
    for end in (np.nextafter(high, -1), high, np.nextafter(high, 1)):
        found = FokkerPlanck(WELLS, -2.3, high, 150, region=HalfSpace((1.0,), float(end)))
        assert found.mean_exit_time().at([-1.0]) == pytest.approx(exact, rel=1e-3)
