"""Stationary laws against Gibbs, Lyapunov's equation and each pitfall of wide stencils."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import solve_continuous_lyapunov

from heatgrad.fokker_planck.grid.equation import FokkerPlanck
from heatgrad.fokker_planck.grid.richardson import richardson
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.sgd import SGDDiffusion


def linear(hessian, diffusion):
    """The process dX = -H X dt + noise."""
    h = torch.as_tensor(np.asarray(hessian, dtype=np.float64))
    d = torch.as_tensor(np.asarray(diffusion, dtype=np.float64))
    return Ito(lambda x: -h @ x, d)


def cov(chain, masses):
    x, m = chain.grid.centers(), masses.ravel()
    away = x - m @ x
    return (away.T * m) @ away


def linear_error(hessian, diffusion, n, *, half_width=None):
    exact = solve_continuous_lyapunov(hessian, 2 * diffusion)
    side = half_width or 6 * math.sqrt(exact.diagonal().max())
    low = np.full(len(exact), -side)
    chain = FokkerPlanck(linear(hessian, diffusion), low, -low, n)
    law = chain.stationary()
    error = np.linalg.norm(cov(chain, law.masses) - exact) / np.linalg.norm(exact)
    return error, law, chain


def slope(sizes, errors):
    return -np.polyfit(np.log(sizes), np.log(errors), 1)[0]


SKEW = torch.tensor([[1.0, 0.8], [0.8, 0.7]], dtype=torch.float64)


def nonconvex(x):
    return (x[0] ** 2 - 1) ** 2 + 0.5 * x[1] ** 2 + 0.3 * x[0] * x[1] + torch.sin(3 * x[1])


def skewed():
    return Ito(
        lambda x: -SKEW @ torch.func.grad(nonconvex)(x),
        SKEW,
        scaled_potential=nonconvex,
        is_reversible=True,
    )


@pytest.mark.parametrize("n", [41, 80])
def test_gibbs_is_exact(n):
    """e^-V at the centres, for a full D and a nonconvex V, is what the linear solve finds."""
    chain = FokkerPlanck(skewed(), (-3.0, -4.5), (3.0, 4.5), n)
    solved = chain.stationary(method="solve")
    x = torch.from_numpy(chain.grid.centers())
    gibbs = torch.exp(-torch.func.vmap(nonconvex)(x)).numpy().reshape(n, n)
    gibbs /= gibbs.sum()
    scale = gibbs.max()
    assert np.abs(solved.masses - gibbs).max() < 1e-12 * scale
    assert np.abs(chain.stationary().masses - gibbs).max() < 1e-12 * scale
    assert chain.stationary().has_detailed_balance
    assert not solved.has_detailed_balance
    assert chain.diagnostics().balance_defect < 1e-13
    assert chain.generator.width > 1  # the links are not only to neighbours


def test_gibbs_by_drift_alone():
    """A drift that is linear has exact differences of V, so its Gibbs law is exact, too."""
    hessian = np.diag([1.0, 3.0])
    chain = FokkerPlanck(linear(hessian, 0.5 * np.eye(2)), (-5.0, -5.0), (5.0, 5.0), 40)
    x = chain.grid.centers()
    gibbs = np.exp(-np.einsum("np,pq,nq->n", x, hessian, x))
    law = chain.stationary().masses.ravel()
    np.testing.assert_allclose(law, gibbs / gibbs.sum(), atol=1e-13)


def test_order_of_linear_covariance():
    """Lyapunov's equation; order 2 in the spacing while the cell Péclet number is below 1."""
    hessian = np.array([[1.0, 0.5], [-0.5, 2.0]])
    diffusion = np.array([[0.5, 0.1], [0.1, 0.4]])
    sizes = (56, 80, 112)
    found = [linear_error(hessian, diffusion, n) for n in sizes]
    assert found[0][2].diagnostics().peclet < 1
    assert slope(sizes, [error for error, *_ in found]) == pytest.approx(2, abs=0.1)
    assert all(law.status == "converged" for _, law, _ in found)


# Errors of an independent prototype of the scheme, at 61 and 121 cells a side.
PROTOTYPE = [
    (math.pi / 6, 0.1, 2.8e-4, 7.0e-5),
    (math.pi / 6, 0.01, 6.1e-3, 1.5e-3),
    (math.pi / 6, 0.001, 0.24, 0.061),
    (0.0, 0.1, 2.4e-3, 6.2e-4),
    (0.0, 0.01, 1.4e-2, 5.6e-3),
    (0.0, 0.001, 1.9e-2, 8.6e-3),
]


@pytest.mark.parametrize(("angle", "extra", "coarse", "fine"), PROTOTYPE)
def test_errors_of_nearly_degenerate_noise(angle, extra, coarse, fine):
    """At most 3 times a prototype's, whose drift was not shared: D = eta/2 (g g' + eps I)."""
    g = np.array([math.cos(angle), math.sin(angle)])
    diffusion = 0.05 * (np.outer(g, g) + extra * np.eye(2))
    hessian = np.array([[2.0, 0.5], [0.5, 1.0]])
    for n, expected in ((61, coarse), (121, fine)):
        error, _, chain = linear_error(hessian, diffusion, n)
        assert expected / 50 < error < 3 * expected
        assert chain.diagnostics().added_diffusion == 0


def test_wide_stencils_cut_corners_off():
    """Pitfall 1: corner cells have no link at all; Gibbs holds on the others, by LU, too."""
    g = np.array([math.cos(math.pi / 6), 0.5])
    diffusion = torch.from_numpy(0.05 * (np.outer(g, g) + 1e-3 * np.eye(2)))
    process = Ito(
        lambda x: -8 * diffusion @ x,
        diffusion,
        scaled_potential=lambda x: 4 * (x**2).sum(),
        is_reversible=True,
    )
    chain = FokkerPlanck(process, (-2.0, -2.0), (2.0, 2.0), 61)
    law = chain.stationary(method="solve")
    assert chain.diagnostics().num_cut_off == law.num_cut_off > 0
    assert law.status == "converged"
    gibbs = np.exp(-4 * (chain.grid.centers() ** 2).sum(axis=1)).reshape(61, 61)
    gibbs[law.masses == 0] = 0
    np.testing.assert_allclose(law.masses, gibbs / gibbs.sum(), atol=1e-14)


def anisotropic(*, is_reversible):
    """V = |x|² / 5 in noise that is 552 times as strong along one line as across it."""
    axes = np.linalg.qr(np.array([[1, 0.37], [0.37, -1]]))[0]
    D = torch.from_numpy(axes @ np.diag([1.0, 1 / 552]) @ axes.T)
    D = (D + D.T) / 2
    known = {"scaled_potential": lambda x: (x**2).sum() / 5, "is_reversible": True}
    return Ito(lambda x: -0.4 * D @ x, D, **(known if is_reversible else {}))


@pytest.mark.parametrize("n", [20, 40])
def test_corners_that_hold_mass(n):
    """Gibbs on every cell where V is known, isolated ones, too; else they lack it, and it is said.

    The box's walls are of the problem: nothing beyond them would make the corners negligible.
    """
    box = ((-2.0, -2.0), (2.0, 2.0), n)
    chain = FokkerPlanck(anisotropic(is_reversible=True), *box, walls=True)
    law = chain.stationary()
    gibbs = np.exp(-(chain.grid.centers() ** 2).sum(axis=1) / 5).reshape(n, n)
    gibbs /= gibbs.sum()
    assert chain.diagnostics().num_cut_off > 0
    np.testing.assert_allclose(law.masses, gibbs, rtol=1e-12)
    assert law.status == "converged"
    assert law.isolated_mass == law.num_cut_off == 0
    values = chain.spectrum(2).values  # of the cells that are joined: one zero only
    assert values[1] > 1e3 * abs(values[0])

    for other, method in ((chain, "solve"), (False, "auto")):
        bare = other or FokkerPlanck(anisotropic(is_reversible=False), *box, walls=True)
        lacking = bare.stationary(method=method)
        assert lacking.status == "isolated"
        assert lacking.isolated_mass == pytest.approx(gibbs[lacking.masses == 0].sum(), rel=0.2)
    wider = FokkerPlanck(anisotropic(is_reversible=False), *box).stationary()
    assert wider.status == "cut"


def test_one_way_corners_are_left_out():
    """With a drift the corners empty into the rest and get nothing back."""
    g = np.array([math.cos(math.pi / 6), 0.5])
    diffusion = 0.05 * (np.outer(g, g) + 1e-3 * np.eye(2))
    _, law, _ = linear_error(np.array([[2.0, 0.5], [0.5, 1.0]]), diffusion, 61)
    assert law.num_cut_off > 0
    assert law.residual < 1e-13


def test_pinned_cell_is_dense():
    """Pitfall 2: a law that falls below the smallest number toward all corners is found whole."""
    hessian = np.array([[1.0, 0.3], [-0.3, 1.5]])
    error, law, _ = linear_error(hessian, 0.05 * np.eye(2), 80, half_width=12.0)
    assert law.masses.min() < 1e-300
    assert law.status == "converged"
    assert np.isfinite(law.masses).all()
    assert error < 0.3  # the law is narrower than two cells


def test_numerical_diffusion_is_reported():
    """Pitfall 5: |b| h / 2 along the axis without noise, and Richardson removes it."""
    sizes = (40, 80, 160)
    values, reported = [], []
    for n in sizes:
        ball = Kinetic(lambda q: (q**2).sum() / 2, temperature=0.5, friction=1.0)
        chain = FokkerPlanck(ball, (-5.0, -5.0), (5.0, 5.0), n)
        masses = chain.stationary().masses
        values.append(float(chain.mean(masses, lambda x: x[0] ** 2)))
        found = chain.diagnostics()
        mean_speed = float(chain.mean(masses, lambda x: x[1].abs()))
        assert found.peclet == math.inf
        reported.append(found.numerical_diffusion / (mean_speed * 10.0 / n / 2))
    # The rest is from friction along the other axis, of order 2.
    assert reported[-1] == pytest.approx(1, abs=0.1)
    better = richardson(sizes, values, order=1)
    assert abs(better.value - 0.5) < 0.15 * abs(values[-1] - 0.5)
    assert richardson(sizes, values).order == pytest.approx(1, abs=0.3)


def test_kinetic_law():
    """The hypoelliptic law is Gibbs, diag(T / H, T), to first order."""
    sizes = (40, 80, 160)
    errors = []
    for n in sizes:
        ball = Kinetic(lambda q: (q**2).sum(), temperature=0.5, friction=1.0)
        chain = FokkerPlanck(ball, (-3.5, -5.0), (3.5, 5.0), n)
        errors.append(np.abs(cov(chain, chain.stationary().masses) - np.diag([0.25, 0.5])).max())
    assert 0.9 < slope(sizes, errors) < 1.3
    assert errors[-1] < 0.05


@pytest.mark.parametrize("angle", [math.pi / 6, math.pi / 4])
def test_noise_along_one_line(angle):
    """Pitfall 6: rank-one D, also along a slope that no offset has, at first order or better."""
    g = np.array([math.cos(angle), math.sin(angle)])
    hessian = np.array([[2.0, 0.5], [0.5, 1.0]])
    sizes = (40, 80, 160)
    errors = [linear_error(hessian, 0.05 * np.outer(g, g), n)[0] for n in sizes]
    assert slope(sizes, errors) > 0.8
    assert errors[-1] < 0.03


def test_state_dependent_noise():
    """Flux form in 1-D: pi = exp(int b/D) / D, Pearson's law for D = (1 + x^2) / 2 and b = -2x."""
    sizes = (50, 100, 200)
    errors = []
    for n in sizes:
        process = Ito(lambda x: -2 * x, lambda x: ((1 + x**2) / 2).reshape(1, 1))
        chain = FokkerPlanck(process, -30.0, 30.0, 2 * n)
        x = chain.grid.axis(0)
        exact = (1 + x**2) ** -3.0
        law = chain.stationary().masses
        errors.append(np.abs(law - exact / exact.sum()).max() / law.max())
    assert slope(sizes, errors) == pytest.approx(2, abs=0.2)


def test_state_dependent_noise_in_the_plane():
    """A turning full D(x) with b = div D - D grad V has the law e^-V, at order 2."""

    def diffusion(x):
        c, s = torch.cos(x[0] + x[1]), torch.sin(x[0] + x[1])
        g = torch.stack([c, s])
        return 0.5 * torch.eye(2, dtype=x.dtype) + torch.outer(g, g)

    def drift(x):
        slope_of = torch.func.jacfwd(diffusion)(x)
        return torch.einsum("ijj->i", slope_of) - diffusion(x) @ (x * torch.tensor([1.0, 2.0]))

    sizes = (40, 80, 160)
    errors = []
    for n in sizes:
        chain = FokkerPlanck(Ito(drift, diffusion), (-5.0, -4.0), (5.0, 4.0), n)
        law = chain.stationary()
        errors.append(np.abs(cov(chain, law.masses) - np.diag([1.0, 0.5])).max())
        assert law.status in ("converged", "cut")
    assert slope(sizes, errors) > 1.7


def test_noise_of_sgd():
    """Two samples make rank-one noise that turns with the parameters; the law is a law."""
    x = torch.tensor([[1.0, 0.3], [0.2, 1.0], [1.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    sgd = SGDDiffusion(lambda w, x, y: (x @ w - y) ** 2 / 2, (x, y), lr=0.2, batch_size=1)
    center = torch.linalg.lstsq(x, y).solution.numpy()
    chain = FokkerPlanck(sgd, center - 4, center + 4, 60)
    law = chain.stationary()
    assert law.masses.min() >= 0
    assert law.masses.sum() == pytest.approx(1, abs=1e-13)
    # The mean of a linear drift is the minimiser, whatever the noise.
    mean = chain.mean(law.masses, lambda x: x)
    np.testing.assert_allclose(mean, center, atol=0.02)


def test_interpolating_minimum_absorbs():
    """Noise that vanishes at the minimum leaves all mass in the cells there."""
    process = Ito(lambda x: -x, lambda x: (0.1 * x**2).reshape(1, 1))
    law = FokkerPlanck(process, -1.0, 1.0, 51).stationary()
    assert law.masses[25] == pytest.approx(1, abs=1e-4)


def test_ring_with_a_force():
    """Constant drift on a circle has a uniform law and a current b / length, V or none."""
    process = Ito(
        lambda x: 0 * x + 1.5,
        torch.eye(1),
        scaled_potential=lambda x: -1.5 * x[0],  # does not close
        is_reversible=True,
    )
    chain = FokkerPlanck(process, 0.0, 2.0, 20, boundary="periodic")
    law = chain.stationary()
    assert not law.has_detailed_balance
    np.testing.assert_allclose(law.masses, 1 / 20, rtol=1e-12)
    np.testing.assert_allclose(chain.current(law.masses)[:, 0], 0.75, rtol=1e-12)


def test_ring_with_a_potential():
    """A periodic potential keeps its Gibbs law across the seam."""
    well = Langevin(lambda x: torch.cos(math.pi * x).sum(), temperature=0.3)
    chain = FokkerPlanck(well, 0.3, 2.3, 30, boundary="periodic")
    law = chain.stationary(method="solve")
    gibbs = np.exp(-np.cos(math.pi * chain.grid.axis(0)) / 0.3)
    np.testing.assert_allclose(law.masses, gibbs / gibbs.sum(), atol=1e-14)
    assert law.boundary_mass == 0


def test_in_space():
    """Three dimensions: Lyapunov's equation, by factorisation and, larger, by iteration."""
    hessian = np.array([[1.0, 0.3, 0.0], [-0.3, 1.5, 0.2], [0.0, -0.2, 2.0]])
    diffusion = np.array([[0.5, 0.1, 0.0], [0.1, 0.4, -0.1], [0.0, -0.1, 0.6]])
    errors = []
    for n in (13, 26):
        error, law, _ = linear_error(hessian, diffusion, n, half_width=4.5)
        errors.append(error)
        assert law.status in ("converged", "cut")
        assert law.residual < 1e-12
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize(
    ("process", "low", "high", "status"),
    [
        (Langevin(lambda x: (x**2).sum() / 2, 1.0), -2.0, 2.0, "cut"),
        (Langevin(lambda x: -(x**2).sum() / 2, 1.0), -2.0, 2.0, "unconfined"),
        (Langevin(lambda x: 0 * x.sum(), 1.0), -2.0, 2.0, "unconfined"),
        (Langevin(lambda x: (x**2).sum() / 2, 1.0), -7.0, 7.0, "converged"),
    ],
)
def test_box_that_cuts_the_mass(process, low, high, status):
    """A box that is too small, or no confinement, is said, with the mass at the sides."""
    law = FokkerPlanck(process, low, high, 60).stationary()
    assert law.status == status
    assert (law.boundary_mass > 1e-6) == (status != "converged")
    assert law.boundary_mass == pytest.approx(law.masses[0] + law.masses[-1])


def test_law_that_is_not_unique():
    """Noise and drift along one axis alone: every line keeps its mass."""
    process = Ito(lambda x: torch.stack([-x[0], 0 * x[1]]), torch.diag(torch.tensor([1.0, 0.0])))
    assert FokkerPlanck(process, (-6.0, 0.0), (6.0, 1.0), 20).stationary().status == "not unique"
    along = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    for n in (20, 400):  # thin lines, each of which holds a small share
        flat = Ito(
            lambda x: -along @ x,
            along,
            scaled_potential=lambda x: (along @ x @ x) / 2,
            is_reversible=True,
        )
        law = FokkerPlanck(flat, (-6.0, 0.0), (6.0, 1.0), (20, n)).stationary()
        assert law.status == "not unique"


def test_high_barrier_without_balance():
    """Where the time between wells passes what rounding resolves, the solve says so."""
    well = Langevin(lambda x: 20 * ((x**2 - 1) ** 2).sum() + x.sum(), temperature=0.5)
    chain = FokkerPlanck(well, -2.0, 2.0, 200)
    assert chain.stationary().status == "converged"
    assert chain.stationary(method="solve").status == "ill conditioned"


def test_refusals():
    well = Langevin(lambda x: (x**2).sum() / 2, 1.0)
    absorbing = FokkerPlanck(well, -2.0, 2.0, 20, boundary="absorb")
    with pytest.raises(ValueError, match="loses no mass"):
        absorbing.stationary()
    with pytest.raises(ValueError, match="method must be"):
        FokkerPlanck(well, -2.0, 2.0, 20).stationary(method="power")
