"""Exit times, committors and slow modes against quadrature and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import cumulative_simpson, quad

from heatgrad.fokker_planck.grid.equation import FokkerPlanck
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Langevin
from heatgrad.fokker_planck.processes.region import Ball, Box

RIGHT = (("reflect", "absorb"),)


def slope(sizes, errors):
    return -np.polyfit(np.log(sizes), np.log(np.abs(errors)), 1)[0]


def double_well(x):
    return (x**2 - 1) ** 2


def passage(potential, temperature, low, start, end, count=200_001):
    """First and second moment: nested quadrature by Simpson's rule, on a fine line."""
    y = np.linspace(low, end, count)
    u = potential(y) / temperature
    u -= u.min()
    up = np.exp(u)

    def solve(right):
        inner = cumulative_simpson(right * np.exp(-u), x=y, initial=0)
        outer = cumulative_simpson(up * inner, x=y, initial=0)
        return (outer[-1] - outer) / temperature

    first = solve(np.ones(count))
    second = solve(2 * first)
    return np.interp(start, y, first), np.interp(start, y, second)


def well_exit(n, temperature=0.25, moments=2):
    process = Langevin(lambda x: double_well(x).sum(), temperature)
    return FokkerPlanck(process, -2.5, 1.0, n, boundary=RIGHT).mean_exit_time(moments=moments)


def test_double_well():
    """Quadrature: within 1e-4 at 800 cells, order 2, both moments."""
    first, second = passage(double_well, 0.25, -2.5, -1.0, 1.0)
    sizes = (100, 200, 400, 800)
    found = [well_exit(n) for n in sizes]
    errors = [f.at(-1.0) / first - 1 for f in found]
    assert abs(errors[-1]) < 1e-4
    assert slope(sizes, errors) == pytest.approx(2, abs=0.1)
    seconds = [f.grid.interpolate(f.second, np.array([[-1.0]]))[0] / second - 1 for f in found]
    assert abs(seconds[-1]) < 2e-4
    assert slope(sizes, seconds) == pytest.approx(2, abs=0.1)
    spread = math.sqrt(second - first**2)
    assert found[-1].std[found[-1].grid.cell_of(-1.0)] == pytest.approx(spread, rel=1e-3)
    assert found[-1].status == "converged"


def test_drift_alone():
    """The same without the potential's help: the drift by its values."""
    first, _ = passage(double_well, 0.25, -2.5, -1.0, 1.0)
    sizes = (200, 400, 800)
    errors = []
    for n in sizes:
        process = Ito(lambda x: -4 * x * (x**2 - 1), 0.25 * torch.eye(1, dtype=torch.float64))
        chain = FokkerPlanck(process, -2.5, 1.0, n, boundary=RIGHT)
        errors.append(chain.mean_exit_time().at(-1.0) / first - 1)
    assert abs(errors[-1]) < 1e-4
    assert slope(sizes, errors) == pytest.approx(2, abs=0.1)


def test_state_dependent_noise():
    """Tau = int e^-phi int e^phi / D with phi = int b / D, D = 1 + sin(2x) / 2: order 2."""
    y = np.linspace(-6, 1.5, 400_001)
    d = 1 + np.sin(2 * y) / 2
    phi = cumulative_simpson(-y / d, x=y, initial=0)
    inner = cumulative_simpson(np.exp(phi) / d, x=y, initial=0)
    outer = cumulative_simpson(np.exp(-phi) * inner, x=y, initial=0)
    exact = outer[-1] - np.interp(0.0, y, outer)
    sizes = (200, 400, 800)
    errors = []
    for n in sizes:
        process = Ito(lambda x: -x, lambda x: (1 + torch.sin(2 * x) / 2).reshape(1, 1))
        chain = FokkerPlanck(process, -6.0, 1.5, n, boundary=RIGHT)
        errors.append(chain.mean_exit_time().at(0.0) / exact - 1)
    assert abs(errors[-1]) < 1e-4
    assert slope(sizes, errors) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("temperature", [0.1, 0.04])
def test_high_barrier(temperature):
    """Barriers of 10 and 25 T: the scale by detailed balance keeps what rounding would take."""
    first, second = passage(double_well, temperature, -2.0, -1.0, 1.0)
    process = Langevin(lambda x: double_well(x).sum(), temperature)
    found = FokkerPlanck(process, -2.0, 1.0, 800, boundary=RIGHT).mean_exit_time(moments=2)
    assert found.at(-1.0) == pytest.approx(first, rel=1e-3)
    assert found.second[found.grid.cell_of(-1.0)] == pytest.approx(second, rel=1e-3)
    assert found.is_balanced


def test_separable():
    """A second coordinate that does not matter changes nothing, even with hardly any noise."""
    exact, _ = passage(double_well, 0.5, -2.5, -1.0, 1.0)
    noise = torch.diag(torch.tensor([0.5, 1e-6], dtype=torch.float64))
    processes = [
        Langevin(lambda x: double_well(x[0]) + x[1] ** 2 / 2, 0.5),
        Ito(lambda x: torch.stack([-4 * x[0] * (x[0] ** 2 - 1), -x[1]]), noise),
    ]
    for process in processes:
        sizes = (25, 51, 101)
        errors = []
        for n in sizes:
            chain = FokkerPlanck(
                process, (-2.5, -3.0), (1.0, 3.0), (n, 20), boundary=(RIGHT[0], "reflect")
            )
            errors.append(chain.mean_exit_time().at((-1.0, 0.1)) / exact - 1)
        assert abs(errors[-1]) < 4e-3
        assert slope(sizes, errors) == pytest.approx(2, abs=0.2)


def disc_errors(matrix, sizes):
    """Exit of noise without drift from x' D^-1 x < 1: tau = (1 - x' D^-1 x) / 2p."""
    inverse = torch.linalg.inv(matrix)
    errors = []
    for n in sizes:
        chain = FokkerPlanck(
            Ito(lambda x: 0 * x, matrix),
            (-1.1, -1.1),
            (1.1, 1.1),
            n,
            region=lambda x: 1 - x @ inverse @ x,
        )
        found = chain.mean_exit_time()
        x = chain.grid.centers()
        exact = (1 - np.einsum("np,pq,nq->n", x, inverse.numpy(), x)) / 4
        exact = np.maximum(exact, 0).reshape(found.mean.shape)
        errors.append(np.abs(found.mean - exact).max() / exact.max())
        assert (found.mean >= 0).all()
        assert found.status == "converged"
    return errors


@pytest.mark.parametrize(
    "matrix", [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.8], [0.8, 0.7]], [[1.0, -0.3], [-0.3, 0.2]]]
)
def test_disc_and_ellipses(matrix):
    """Cut links, wide ones too: order 2 in the largest error."""
    sizes = (25, 50, 100)
    errors = disc_errors(torch.tensor(matrix, dtype=torch.float64), sizes)
    assert slope(sizes, errors) > 1.6
    assert errors[-1] < 2e-3


def test_ball_with_a_potential():
    """Radial U in the plane: tau(0) = int 1/r e^(U/T)/T int s e^(-U/T)."""
    t = 0.5

    def inner(r):
        return t * (1 - math.exp(-(r**2) / 2 / t))

    exact, _ = quad(lambda r: math.exp(r**2 / 2 / t) / t * inner(r) / r if r else 0, 0, 1.5)
    sizes = (31, 61, 121)
    errors = []
    for n in sizes:
        chain = FokkerPlanck(
            Langevin(lambda x: (x**2).sum() / 2, t),
            (-1.6, -1.6),
            (1.6, 1.6),
            n,
            region=Ball((0.0, 0.0), 1.5),
        )
        errors.append(chain.mean_exit_time().at((0.0, 0.0)) / exact - 1)
    assert abs(errors[-1]) < 1e-3
    assert slope(sizes, errors) > 1.6


def test_region_between_centres():
    """A region that ends anywhere in a cell: Brownian motion on (a, b) has (x - a)(b - x) / 2."""
    for end in (0.9001, 0.93, 0.9499, 0.97):
        chain = FokkerPlanck(
            Ito(lambda x: 0 * x, torch.eye(1)), -1.0, 1.0, 80, region=Box((-end,), (end,))
        )
        assert chain.mean_exit_time().at(0.0) == pytest.approx(end**2 / 2, rel=2e-3)


@pytest.mark.parametrize(("speed", "leaves"), [(0.5, True), (1.0, False), (1.5, False)])
def test_fichera(speed, leaves):
    """For b = c - x, D = x zero is met iff c < 1, as n.(b - div D) = 1 - c > 0 there says."""
    process = Ito(lambda x: speed - x, lambda x: x.reshape(1, 1))
    chain = FokkerPlanck(process, 0.0, 15.0, 200, boundary=(("absorb", "reflect"),))
    found = chain.mean_exit_time()
    assert (found.status == "converged") == leaves
    if not leaves:
        assert found.status == "never"
        assert found.num_never == 200
        assert (found.mean == math.inf).all()


def test_fichera_by_drift():
    """Without noise across a side, drift outward absorbs there and drift inward does not."""
    noise = torch.diag(torch.tensor([1.0, 0.0]))
    for sign, leaves in ((1.0, True), (-1.0, False)):
        process = Ito(lambda x, s=sign: torch.stack([-x[0], s + 0 * x[1]]), noise)
        chain = FokkerPlanck(
            process,
            (-4.0, 0.0),
            (4.0, 1.0),
            (20, 40),
            boundary=("reflect", ("reflect", "absorb")),
            walls=True,
        )
        found = chain.mean_exit_time()
        assert (found.status == "converged") == leaves
        if leaves:  # the time of travel; the upwind link at the end counts half a cell too much
            assert found.at((0.3, 0.25)) == pytest.approx(0.75, abs=0.02)


def test_points_that_cannot_leave():
    """Half of the box drifts to the side, half to a point: infinite there, and said."""
    process = Ito(lambda x: torch.where(x > 0, 1.0, -1.0).to(x), lambda x: 0 * x.reshape(1, 1))
    chain = FokkerPlanck(process, -1.0, 1.0, 40, boundary=RIGHT)
    found = chain.mean_exit_time()
    assert found.status == "not everywhere"
    assert found.num_never == 20
    assert np.isinf(found.mean[:20]).all()
    assert np.isfinite(found.mean[20:]).all()


def test_committor():
    """1-D: q(x) = int_a^x e^(U/T) / int_a^b e^(U/T)."""
    process = Langevin(lambda x: double_well(x).sum(), 0.3)
    errors = []
    for n in (100, 200):
        chain = FokkerPlanck(process, -2.0, 2.0, n)
        found = chain.committor(lambda x: -0.8 - x[0], lambda x: x[0] - 0.8)
        h = 4.0 / n
        a, b = -0.8 - h / 2, 0.8 + h / 2  # centres of the last cells of both sets
        x = chain.grid.axis(0)
        y = np.linspace(a, b, 20_001)
        part = cumulative_simpson(np.exp(double_well(y) / 0.3), x=y, initial=0)
        exact = np.interp(x, y, part / part[-1])
        errors.append(np.abs(found.value - exact).max())
        assert found.status == "converged"
        assert found.num_stuck == 0
    assert errors[1] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)


def test_committor_refusals():
    chain = FokkerPlanck(Langevin(lambda x: double_well(x).sum(), 0.3), -2.0, 2.0, 40)
    none = np.zeros(40, dtype=bool)
    some = none.copy()
    some[3] = True
    with pytest.raises(ValueError, match="must not overlap"):
        chain.committor(some, some)
    with pytest.raises(ValueError, match="a must hold"):
        chain.committor(none, some)
    with pytest.raises(ValueError, match="b must be a function"):
        chain.committor(some, some[:5])


def test_spectrum_of_linear_drift():
    """Eigenvalues k1 l1 + k2 l2 whatever the noise, with and without detailed balance."""
    spiral = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    chain = FokkerPlanck(
        Ito(lambda x: -spiral @ x, 0.5 * torch.eye(2, dtype=torch.float64)), (-4, -4), (4, 4), 70
    )
    modes = chain.spectrum(3)
    assert modes.status == "converged"
    np.testing.assert_allclose(modes.values[0], 0, atol=1e-9)
    np.testing.assert_allclose(np.sort(modes.values[1:].imag), [-1, 1], rtol=0.01)
    np.testing.assert_allclose(modes.values[1:].real, 1, rtol=0.02)

    line = FokkerPlanck(Langevin(lambda x: (x**2).sum() / 2, 1.0), -6.0, 6.0, 200)
    modes = line.spectrum(4)
    np.testing.assert_allclose(modes.values, [0, 1, 2, 3], atol=5e-3)
    x = line.grid.axis(0)
    bulk = np.abs(x) < 3
    np.testing.assert_allclose(np.abs(modes.functions[0]), 1, rtol=1e-6)
    ratio = modes.functions[1][bulk] / x[bulk]
    np.testing.assert_allclose(ratio, ratio[0], rtol=5e-3)


def test_spectrum_of_brownian_motion():
    """(k pi)^2 under absorption at both ends of (0, 1); the shift stays off zero."""
    chain = FokkerPlanck(Ito(lambda x: 0 * x, torch.eye(1)), 0.0, 1.0, 200, boundary="absorb")
    values = np.sort(chain.spectrum(3).values.real)
    np.testing.assert_allclose(values, (math.pi * np.arange(1, 4)) ** 2, rtol=1e-3)
    assert chain.spectrum(1).status == "converged"
    with pytest.raises(ValueError, match="k must be"):
        chain.spectrum(0)


def test_modes_on_few_cells():
    """Cosines, exact on a uniform chain: cos(k pi x) at the centres; residuals of rounding."""
    free = FokkerPlanck(Langevin(lambda x: 0 * x.sum(), 1.0), 0.0, 1.0, 10)
    modes = free.spectrum(6)
    assert modes.status == "converged"
    assert modes.residuals.max() < 1e-9
    for k, function in enumerate(modes.functions):
        exact = np.cos(k * math.pi * free.grid.axis(0))
        exact /= exact[np.argmax(np.abs(function))]
        np.testing.assert_allclose(function, exact, atol=1e-8)


@pytest.mark.parametrize(("end", "n", "rtol"), [(6.0, 50, 0.04), (9.0, 240, 0.006)])
def test_hermite_polynomials(end, n, rtol):
    """Modes of OU are Hermite's polynomials; heights up to 18 T, and to 40 T: tails are solved."""
    line = FokkerPlanck(Langevin(lambda x: (x**2).sum() / 2, 1.0), -end, end, n)
    modes = line.spectrum(6)
    assert modes.status == "converged"
    assert modes.residuals.max() < 1e-9
    np.testing.assert_allclose(modes.values, np.arange(6), atol=5 * rtol)
    x = line.grid.axis(0)
    weight = np.exp(-(x**2) / 2)
    for k, function in enumerate(modes.functions[:4]):
        exact = np.polynomial.hermite_e.hermeval(x, np.eye(4)[k])
        both = (weight * exact * function).sum()
        lengths = (weight * exact**2).sum() * (weight * function**2).sum()
        assert both**2 / lengths == pytest.approx(1, abs=rtol**2)
        tail = np.abs(x) > end - 1  # no rounding is left there: smooth, of one sign
        signs = np.sign(function[tail & (x > 0)])
        assert (signs == signs[0]).all()


def test_a_box_that_cuts():
    """The flat half line is never left in the mean; in a box of length L it takes (L² - x²) / 2."""
    for process in (Ito(lambda x: 0 * x, 1.0), Langevin(lambda x: 0 * x.sum(), 1.0)):
        box = (process, -3.0, 1.0, 40)
        found = FokkerPlanck(*box, boundary=RIGHT).mean_exit_time()
        assert found.status == "unconfined"
        assert found.boundary_mass == pytest.approx(math.pi / 2 / 40, rel=0.03)  # a cosine's
        assert FokkerPlanck(*box, boundary=RIGHT).quasi_stationary().status == "unconfined"
        # The same box as the problem itself: half of Brownian motion on (-7, 1).
        real = FokkerPlanck(*box, boundary=RIGHT, walls=True)
        assert real.mean_exit_time().status == "converged"
        assert real.mean_exit_time().at(-3.0) == pytest.approx(8.0, rel=1e-3)
        assert real.quasi_stationary().status == "converged"
        assert real.quasi_stationary().time == pytest.approx(64 / math.pi**2, rel=1e-3)
    assert FokkerPlanck(process, -3.0, 1.0, 40).stationary().status == "unconfined"
    assert FokkerPlanck(process, -3.0, 1.0, 40, walls=True).stationary().status == "converged"
    with pytest.raises(ValueError, match="walls must be True or False"):
        FokkerPlanck(process, -3.0, 1.0, 40, walls="reflect")


def test_parts_of_a_region_are_looked_at_one_by_one():
    """Two wells, one of them cut at a tenth of its width: the other's share does not hide it."""
    process = Langevin(lambda x: 10 * double_well(x).sum(), 1.0)
    for low, status in ((-1.03, "cut"), (-1.8, "converged")):
        chain = FokkerPlanck(process, low, 1.8, 120, region=lambda x: x[0] ** 2 - 0.04)
        assert chain.mean_exit_time().status == status
        assert chain.mean_exit_time().boundary_mass < 0.5


def test_quasi_stationary():
    """1 / lambda is the mean exit time, from the densest cell where escape is metastable."""
    process = Langevin(lambda x: double_well(x).sum(), 0.1)
    chain = FokkerPlanck(process, -2.0, 1.0, 300, boundary=RIGHT)
    found = chain.quasi_stationary()
    assert found.status == "converged"
    assert found.ratio == pytest.approx(1, abs=0.01)
    assert found.masses.sum() == pytest.approx(1)
    assert float(chain.spectrum(1).values[0]) == pytest.approx(found.rate, rel=1e-6)
    shallow = FokkerPlanck(Langevin(lambda x: (x**2).sum() / 2, 1.0), -1, 1, 50, boundary="absorb")
    assert abs(shallow.quasi_stationary().ratio - 1) > 0.1


def test_in_space():
    """Brownian motion in a ball: (R^2 - r^2) / 6, by factorisation and by iteration."""
    for n, tolerance in ((16, 0.03), (28, 0.01)):
        chain = FokkerPlanck(
            Ito(lambda x: 0 * x, torch.eye(3)),
            (-1.1,) * 3,
            (1.1,) * 3,
            n,
            region=Ball((0.0,) * 3, 1.0),
        )
        found = chain.mean_exit_time()
        assert found.status == "converged"
        assert found.at((0.0, 0.0, 0.0)) == pytest.approx(1 / 6, rel=tolerance)


def test_refusals():
    chain = FokkerPlanck(Langevin(lambda x: (x**2).sum() / 2, 1.0), -2.0, 2.0, 20)
    with pytest.raises(ValueError, match="need an absorbing set"):
        chain.mean_exit_time()
    with pytest.raises(ValueError, match="need an absorbing set"):
        chain.quasi_stationary()
    absorbing = FokkerPlanck(
        Langevin(lambda x: (x**2).sum() / 2, 1.0), -2.0, 2.0, 20, boundary="absorb"
    )
    with pytest.raises(ValueError, match="moments must be"):
        absorbing.mean_exit_time(moments=3)
    with pytest.raises(ValueError, match="moments=2"):
        _ = absorbing.mean_exit_time().std
    with pytest.raises(ValueError, match="loses no mass"):
        absorbing.entropy(absorbing.law((0.0,)))
