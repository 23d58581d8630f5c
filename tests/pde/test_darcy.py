"""Flow through media: manufactured solutions, sparse LU, adjoints, the weak residual."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import RectBivariateSpline
from torch.autograd import gradcheck, gradgradcheck

from heatgrad.core.errors import HeatgradWarning
from heatgrad.pde import Darcy, Grid, Poisson
from heatgrad.pde.darcy.conjugate import conjugate_gradients, solve_faces
from heatgrad.pde.darcy.faces import apply_faces, face_means
from heatgrad.pde.darcy.reference import solve_directly
from heatgrad.pde.darcy.residual import element_form, energy_dual_norm
from heatgrad.pde.darcy.spline import spline_between

PI = math.pi


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def slope(sizes, errors):
    return -np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def smooth(n):
    """A smooth medium, u = sin(pi x) sin(2 pi y) e^x, and the source by autograd."""
    x, y = Grid(n).points().unbind(-1)
    x, y = x.clone().requires_grad_(True), y.clone().requires_grad_(True)
    a = 2 + torch.sin(3 * x + y) + x * y
    u = torch.sin(PI * x) * torch.sin(2 * PI * y) * torch.exp(x)
    ux, uy = torch.autograd.grad(u.sum(), (x, y), create_graph=True)
    (by_x,) = torch.autograd.grad((a * ux).sum(), x, retain_graph=True)
    (by_y,) = torch.autograd.grad((a * uy).sum(), y)
    return a.detach(), u.detach(), -(by_x + by_y)


@pytest.mark.parametrize("face_mean", ["arithmetic", "harmonic"])
def test_manufactured_solution(face_mean):
    """Second order in h with a smooth medium, whatever the mean."""
    sizes, errors = (17, 33, 65), []
    for n in sizes:
        a, u, f = smooth(n)
        found = Darcy(n, face_mean=face_mean).solve(a, f)
        errors.append(float((found - u).abs().max()))
    assert slope(sizes, errors) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("face_mean", ["arithmetic", "harmonic"])
def test_against_sparse_lu(face_mean):
    """Conjugate gradients for a batch, SciPy's LU for each; five media of the law, one smooth."""
    problem = Darcy(33, face_mean=face_mean)
    a = problem.sample(5, stream())["a"]
    a = torch.cat([a, smooth(33)[0][None]])
    found = problem.solve(a)
    one = torch.ones(33, 33)
    truth = torch.stack([solve_directly(medium, one, face_mean) for medium in a])
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-12 * float(truth.max()))
    single = problem.solve(a.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), truth, rtol=0, atol=1e-5 * float(truth.max()))
    assert problem.solve(a[:0]).shape == (0, 33, 33)
    torch.testing.assert_close(problem.solve(a.reshape(2, 3, 33, 33)).flatten(0, 1), found)


def test_a_constant_medium_is_poisson():
    """- 3 Lap u = 1; scaled and transposed media scale and transpose u; u is positive inside."""
    problem = Darcy(17)
    one = torch.ones(17, 17, dtype=torch.float64)
    torch.testing.assert_close(problem.solve(3 * one), -Poisson(17).solve(one) / 3)
    fields = problem.sample(3, stream())
    a, u = fields["a"], fields["u"]
    torch.testing.assert_close(problem.solve(5 * a), u / 5)
    torch.testing.assert_close(problem.solve(a.mT), u.mT)
    assert (u[:, 1:-1, 1:-1] > 0).all()  # the maximum principle
    assert a.unique().tolist() == [3, 12]


def test_layers_in_series():
    """Across a jump half way between nodes the harmonic mean is exact, the arithmetic is not.

    In one dimension: u is linear in each layer with one flux; the operator applied to it at the
    inner nodes along a line is 0 in x.
    """
    n = 9
    x = Grid(n).axis()
    a = torch.where(x < 0.4375, 3.0, 12.0)[:, None].expand(n, n).double()
    u = torch.where(x < 0.4375, x / 3, 0.4375 / 3 + (x - 0.4375) / 12)[:, None].expand(n, n)
    for mean, exact in (("harmonic", True), ("arithmetic", False)):
        across_x, _ = face_means(a, mean)
        flux = across_x * torch.diff(u[:, 1:-1], dim=0) * (n - 1)
        assert bool(((flux - 1).abs() < 1e-12).all()) == exact


@pytest.mark.parametrize("face_mean", ["arithmetic", "harmonic"])
def test_gradients_are_adjoints(face_mean):
    """Against finite differences, in the medium and the source; second derivatives too."""
    problem = Darcy(6, face_mean=face_mean)
    a = (2 + torch.rand(2, 6, 6, generator=stream(), dtype=torch.float64)).requires_grad_(True)
    f = torch.rand(2, 6, 6, generator=stream(1), dtype=torch.float64).requires_grad_(True)
    assert gradcheck(problem.solve, (a, f), fast_mode=True)
    assert gradcheck(problem.solve, (a[:1].detach().requires_grad_(True),))
    assert gradgradcheck(problem.solve, (a[:1].detach().requires_grad_(True),), fast_mode=True)


def test_nothing_of_the_iterations_is_kept():
    """The graph holds the faces and u: five tensors of n x n or fewer, not some per iteration."""
    problem, kept = Darcy(33), []
    a = problem.sample(1, stream())["a"].requires_grad_(True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (kept.append(t.numel()), t)[1], lambda t: t
    ):
        problem.solve(a).sum()
    assert sum(kept) <= 5 * 33**2


@pytest.mark.parametrize("n", [17, 65])
def test_iterations_depend_on_the_contrast_alone(n):
    """2 (1/3)^i sqrt(kappa) <= 1e-12 at i = 27 for kappa = 12 / 3, on any grid; 12 are too few."""
    a = Darcy(n).sample(2, stream())["a"]
    f = torch.ones(2, n - 2, n - 2, dtype=torch.float64) / (n - 1) ** 2
    faces = face_means(a)
    u = conjugate_gradients(*faces, f, rtol=1e-12, max_iterations=28)
    torch.testing.assert_close(
        apply_faces(*faces, u), f, rtol=0, atol=1e-12 * n**2 * float(f.max())
    )
    with pytest.raises(RuntimeError, match=r"must fall to 1.0e-12, got .* after 12 iterations"):
        conjugate_gradients(*faces, f, rtol=1e-12, max_iterations=12)


def test_a_right_side_of_zero_and_one_that_is_solved_at_once():
    """Nothing is divided by 0: f = 0 gives 0; constant media take one iteration, beside others."""
    f = torch.ones(3, 15, 15, dtype=torch.float64)
    f[0] = 0
    c = torch.ones(3, 16, 15, dtype=torch.float64)
    c[2, :8] = 4
    u = solve_faces(c, c.mT.contiguous(), f, rtol=1e-12)
    assert not u[0].any()
    torch.testing.assert_close(apply_faces(c, c.mT, u), f, rtol=0, atol=1e-10)


def test_a_medium_that_is_refined():
    """One medium with a curved jump on nested grids: first order, as a jump allows."""

    def medium(n):
        x, y = Grid(n).points().unbind(-1)
        return torch.where((x - 0.4) ** 2 + (y - 0.55) ** 2 < 0.0901, 12.0, 3.0).double()

    truth = solve_directly(medium(257), torch.ones(257, 257))
    sizes, errors = (17, 33, 65), []
    for n in sizes:
        step = 256 // (n - 1)
        gap = Darcy(n).solve(medium(n)) - truth[::step, ::step]
        errors.append(float(gap.norm() / truth[::step, ::step].norm()))
    assert slope(sizes, errors) > 0.7
    assert errors[-1] < 0.02


def test_the_element_form():
    """For a = 1 the form is the 9-point stencil (8, -1) / 3; it is symmetric, kills constants."""
    n = 7
    u = torch.randn(n, n, generator=stream(), dtype=torch.float64)
    around = torch.nn.functional.unfold(u[None, None], 3).reshape(9, n - 2, n - 2)
    truth = (9 * around[4] - around.sum(0)) / 3
    torch.testing.assert_close(element_form(torch.ones(n, n).double(), u), truth)
    a = torch.rand(n, n, generator=stream(1), dtype=torch.float64)
    assert float(element_form(a, torch.ones_like(u)).abs().max()) < 1e-14
    v = torch.zeros_like(u)
    v[1:-1, 1:-1] = torch.randn(n - 2, n - 2, generator=stream(2), dtype=torch.float64)
    w = torch.zeros_like(u)
    w[1:-1, 1:-1] = u[1:-1, 1:-1]
    one = (element_form(a, v) * w[1:-1, 1:-1]).sum()
    two = (element_form(a, w) * v[1:-1, 1:-1]).sum()
    assert float(one) == pytest.approx(float(two), abs=1e-13)
    # r = K v has the norm of v in energy.
    r = element_form(torch.ones_like(u), v)
    energy = float((r * v[1:-1, 1:-1]).sum()) ** 0.5
    assert float(energy_dual_norm(r[None])) == pytest.approx(energy, rel=1e-12)


def test_residual_of_truth():
    """Smooth media: h^2. Media of the law: the jumps leave about the root of h, 1 to 2 percent.

    Two discretisations differ by O(1) in the cells that a jump crosses, a share h of the square.
    """
    sizes, errors, jumps, harmonic = (17, 33, 65, 129), [], [], []
    for n in sizes:
        problem = Darcy(n)
        a, _, f = smooth(n)
        load = f[1:-1, 1:-1] / (n - 1) ** 2
        weak = element_form(a, problem.solve(a, f)) - load
        errors.append(float(energy_dual_norm(weak[None]) / energy_dual_norm(load[None])))
        fields = problem.sample(8, stream())
        jumps.append(float(problem.residual(fields).mean()))
        other = Darcy(n, face_mean="harmonic").solve(fields["a"])
        harmonic.append(float(problem.residual({"a": fields["a"], "u": other}).mean()))
    assert slope(sizes, errors) == pytest.approx(2, abs=0.2)
    assert 0.2 < slope(sizes, jumps) < 0.8
    assert jumps[2] < 0.016  # how small, at 65 nodes
    assert harmonic[2] > 3 * jumps[2]  # another reading of the jumps shows


def test_residual_of_what_is_wrong():
    """A factor 1 + d leaves d, u = 0 leaves 1, a swapped medium or a wrong border leave much."""
    problem = Darcy(65)
    fields = problem.sample(4, stream())
    a, u = fields["a"], fields["u"]
    assert ((problem.residual({"a": a, "u": 1.2 * u}) - 0.2).abs() < 0.01).all()
    ones = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(problem.residual({"a": a, "u": 0 * u}), ones)
    assert (problem.residual({"a": a, "u": u.flip(0)}) > 0.1).all()
    assert (problem.residual({"a": a, "u": u + 0.01}) > 0.1).all()
    scaled = problem.residual({"a": 10 * a, "u": u / 10})  # other units
    torch.testing.assert_close(scaled, problem.residual(fields))


def test_splines_are_those_of_fitpack():
    """Not-a-knot bicubic: against SciPy's RectBivariateSpline where that does not extrapolate."""
    n = 12
    values = torch.randn(2, n, n, generator=stream(), dtype=torch.float64)
    centres, nodes = Grid(n, "cells").axis().numpy(), Grid(n).axis().numpy()[1:-1]
    found = spline_between(values, "cells", "nodes")
    for one, field in zip(found, values, strict=True):
        truth = RectBivariateSpline(centres, centres, field.numpy(), s=0)(nodes, nodes)
        np.testing.assert_allclose(one[1:-1, 1:-1].numpy(), truth, atol=1e-12)
    x, y = Grid(n, "cells").points().unbind(-1)
    cubic = x**3 * y - 2 * y**3 + x  # kept, beyond the centres too
    p, q = Grid(n).points().unbind(-1)
    torch.testing.assert_close(spline_between(cubic, "cells", "nodes"), p**3 * q - 2 * q**3 + p)


def test_published_placement():
    """At cell centres by splines; half of the published media have negative faces, ours none.

    Cut at 3 and 12 they give u that differ by about half a percent from the published ones.
    """
    problem = Darcy.published(65)
    fields = problem.sample(20, stream())
    assert problem.grid.kind == "cells"
    nodes = spline_between(fields["a"], "cells", "nodes")
    negative = [(c <= 0).flatten(1).any(1) for c in face_means(nodes)]
    share = float((negative[0] | negative[1]).double().mean())
    assert 0.25 < share < 0.8
    one = torch.ones(65, 65)
    gaps = []
    for medium, u in zip(nodes, fields["u"], strict=True):
        published = spline_between(solve_directly(medium, one), "nodes", "cells")
        gaps.append(float((u - published).norm() / published.norm()))
    assert np.median(gaps) < 0.012
    assert (problem.residual(fields) < 0.03).all()
    with pytest.warns(HeatgradWarning, match="n = 129 is fast"):
        Darcy.published()


def test_cells_converge_to_the_smooth_solution():
    """The manufactured solution at cell centres: second order through both splines."""
    sizes, errors = (17, 33, 65), []
    for n in sizes:
        grid = Grid(n, "cells").points()
        x, y = (part.clone().requires_grad_(True) for part in grid.unbind(-1))
        a, u = 2 + torch.sin(3 * x + y), torch.sin(PI * x) * torch.sin(PI * y)
        ux, uy = torch.autograd.grad(u.sum(), (x, y), create_graph=True)
        (by_x,) = torch.autograd.grad((a * ux).sum(), x, retain_graph=True)
        (by_y,) = torch.autograd.grad((a * uy).sum(), y)
        found = Darcy(n, placement="cells").solve(a.detach(), -(by_x + by_y))
        errors.append(float((found - u.detach()).abs().max()))
    assert slope(sizes, errors) == pytest.approx(2, abs=0.2)


def test_nearest_media():
    problem = Darcy(9)
    a = torch.tensor([[3.2, 7.4, 7.6, -1.0]])
    assert problem.nearest_medium(a).tolist() == [[3, 3, 12, 3]]
    assert problem.wrong_share(a, torch.tensor([[3.0, 12.0, 12.0, 12.0]])).item() == 0.5
    reverse = Darcy(9, high=0.1, low=0.7)
    assert reverse.nearest_medium(a.double() / 10).tolist() == [[0.1, 0.7, 0.7, 0.1]]


def test_input_is_checked():
    problem, one = Darcy(9), torch.ones(9, 9)
    with pytest.raises(ValueError, match=r"a must be positive, got -1; use nearest_medium"):
        problem.solve(-one)
    with pytest.raises(ValueError, match="a must be finite, got 81 values"):
        problem.solve(one * math.nan)
    with pytest.raises(ValueError, match=r"a must have shape \(..., 9, 9\), got \(3, 9\)"):
        problem.solve(one[:3])
    with pytest.raises(ValueError, match="source must be finite"):
        problem.solve(one, math.inf)
    with pytest.raises(ValueError, match="low must be finite and positive, got 0"):
        Darcy(9, low=0.0)
    with pytest.raises(ValueError, match=r"face_mean must be one of .* got 'geometric'"):
        Darcy(9, face_mean="geometric")
    with pytest.raises(ValueError, match="placement must be one of nodes, cells, got 'torus'"):
        Darcy(9, placement="torus")
