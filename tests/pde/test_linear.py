"""Poisson and Helmholtz: manufactured solutions, SciPy's sparse LU, orders of the residual."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve

from heatgrad.core.errors import HeatgradWarning
from heatgrad.pde import Grid, Helmholtz, Poisson
from heatgrad.pde.differences import dual_norm, fourth_order_laplacian

PI = math.pi
PROBLEMS = [Poisson(17), Helmholtz(17, 1.0), Helmholtz(17, 7.5)]


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def slope(sizes, errors):
    return -np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def manufactured(n, k=0.0):
    """Return u = sin(pi x) e^y sin(2 pi y) and a = Lap u + k^2 u, in closed form."""
    x, y = Grid(n).points().unbind(-1)
    s, e = torch.sin(PI * x), torch.exp(y)
    sy, cy = torch.sin(2 * PI * y), torch.cos(2 * PI * y)
    u = s * e * sy
    second_y = s * e * ((1 - 4 * PI**2) * sy + 4 * PI * cy)
    return -(PI**2) * u + second_y + k**2 * u, u


@pytest.mark.parametrize("k", [0.0, 1.0, 7.5])
def test_manufactured_solution(k):
    """Second order in h; 7.5 lies between the eigenvalues 5 pi^2 and 8 pi^2: a true wave."""
    sizes, errors = (33, 65, 129), []
    for n in sizes:
        problem = Helmholtz(n, k) if k else Poisson(n)
        a, u = manufactured(n, k)
        errors.append(float((problem.solve(a) - u).abs().max()))
    assert slope(sizes, errors) == pytest.approx(2, abs=0.1)
    # h^2 / 12 of the fourth derivative, amplified near resonance.
    assert errors[-1] < (4e-4 if k < 2 else 3e-3)


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_against_sparse_lu(problem):
    """The 5-point matrix written out, solved by SciPy."""
    n = problem.n
    a = torch.randn(n, n, generator=stream(), dtype=torch.float64)
    line = sparse.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(n - 2, n - 2)) * (n - 1) ** 2
    matrix = sparse.kronsum(line, line) + getattr(problem, "k", 0.0) ** 2 * sparse.identity(
        (n - 2) ** 2
    )
    truth = spsolve(sparse.csc_matrix(matrix), a[1:-1, 1:-1].numpy().ravel())
    found = problem.solve(a)
    np.testing.assert_allclose(found[1:-1, 1:-1].numpy().ravel(), truth, rtol=0, atol=1e-13)
    edge = torch.ones(n, n, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert not found[edge].any()
    # What stands on the border of a does not matter.
    assert torch.equal(problem.solve(torch.where(edge, 99.0, a)), found)


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_batch_types_and_gradients(problem):
    """A batch is its members; float32 follows float64; the gradient is the adjoint solve."""
    a = torch.randn(2, 3, 17, 17, generator=stream(), dtype=torch.float64)
    found = problem.solve(a)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(found[i, j], problem.solve(a[i, j]), rtol=0, atol=1e-15)
    single = problem.solve(a.float())
    assert single.dtype == torch.float32
    scale = float(found.abs().max())
    torch.testing.assert_close(single.double(), found, rtol=0, atol=1e-5 * scale)
    assert problem.solve(a[:, :0]).shape == (2, 0, 17, 17)
    small = type(problem)(6) if isinstance(problem, Poisson) else Helmholtz(6, 1.0)
    b = torch.randn(6, 6, generator=stream(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(small.solve, b)
    g = torch.randn(6, 6, generator=stream(2), dtype=torch.float64)
    (adjoint,) = torch.autograd.grad(small.solve(b), b, g)
    torch.testing.assert_close(adjoint, small.solve(g), rtol=0, atol=1e-15)  # it is symmetric


def test_fourth_order_up_to_the_border():
    """exp(x) cos(3 y) has Laplacian -8 of itself; order 4, the inner nodes of the border too."""
    sizes, errors, near = (17, 33, 65), [], []
    for n in sizes:
        x, y = Grid(n).points().unbind(-1)
        u = torch.exp(x) * torch.cos(3 * y)
        gap = (fourth_order_laplacian(u) + 8 * u[1:-1, 1:-1]).abs()
        errors.append(float(gap.max()))
        near.append(float(gap[0].max()))
    assert slope(sizes, errors) > 3.8
    assert slope(sizes, near) > 3.8
    with pytest.raises(ValueError, match="at least 6 nodes, got 5"):
        fourth_order_laplacian(torch.zeros(5, 5))


def test_the_dual_norm_is_the_error_in_energy():
    """For r = Lap e of a sum of sine modes: |r|_-1 = |grad e|, sum pi^2 |k|^2 e_k^2."""
    x, y = Grid(33).points()[1:-1, 1:-1].unbind(-1)
    r = -5 * PI**2 * torch.sin(PI * x) * torch.sin(2 * PI * y)
    r = r - 0.3 * 18 * PI**2 * torch.sin(3 * PI * x) * torch.sin(3 * PI * y)
    energy = math.sqrt((5 * PI**2 + 0.3**2 * 18 * PI**2) / 4)
    assert float(dual_norm(r[None])) / 32 == pytest.approx(energy, rel=1e-12)


@pytest.mark.parametrize("k", [0.0, 1.0])
def test_residual_of_truth(k):
    """Fourth differences of 5-point solutions fall with h.

    With h^2 where a is smooth. On the law's rough a, whose coefficients fall like k^-2, with h^2
    in the dual norm and with h in the plain one.
    """
    sizes, smooth, weak, strong = (33, 65, 129), [], [], []
    for n in sizes:
        problem = Helmholtz(n, k) if k else Poisson(n)
        a, _ = manufactured(n, k)
        smooth.append(float(problem.residual({"a": a[None], "u": problem.solve(a)[None]})))
        fields = problem.sample(20, stream())
        weak.append(float(problem.residual(fields).mean()))
        strong.append(float(problem.strong_residual(fields).mean()))
    assert slope(sizes, smooth) == pytest.approx(2, abs=0.15)
    assert slope(sizes, weak) == pytest.approx(1.9, abs=0.2)
    assert slope(sizes, strong) == pytest.approx(1.05, abs=0.25)
    assert weak[-1] < 5e-4  # how small, at 129 nodes
    assert strong[-1] < 8e-3


@pytest.mark.parametrize("problem", [Poisson(65), Helmholtz(65)], ids=str)
def test_residual_of_what_is_wrong(problem):
    """Relative, blind to amplitude: u (1 + d) leaves d, u = 0 leaves 1, 1e-6 of both the same."""
    fields = problem.sample(5, stream())
    a, u = fields["a"], fields["u"]
    truth = problem.residual(fields)
    for factor in (1e-6, 1e3):
        torch.testing.assert_close(problem.residual({"a": factor * a, "u": factor * u}), truth)
    off = problem.residual({"a": a, "u": 1.1 * u})
    assert ((off - 0.1).abs() < 5e-3).all()
    assert torch.equal(problem.residual({"a": a, "u": 0 * u}), torch.ones(5).double())
    lifted = problem.residual({"a": a, "u": u + 0.01})  # a wrong border is seen
    assert (lifted > 0.1).all()


def test_resonance_is_refused():
    """Close to pi^2 (m^2 + n^2) there is no solution to trust; nor on a grid that is too coarse."""
    for m, n in ((1, 1), (1, 2), (2, 2)):
        with pytest.raises(ValueError, match=rf"close to an eigenvalue.*π² · {m * m + n * n}"):
            Helmholtz(33, PI * math.sqrt(m * m + n * n) * (1 + 2e-4))
    mu = 2 * (2 / math.sin(PI / 2) * 32 * math.sin(PI / 64)) ** 2  # the grid's own eigenvalue
    with pytest.raises(ValueError, match="close to an eigenvalue"):
        Helmholtz(33, math.sqrt(mu))
    with pytest.raises(ValueError, match="raise n"):
        Helmholtz(17, 0.995 * PI * math.sqrt(18))  # below 18 pi^2, above what the grid has
    Helmholtz(65, 0.995 * PI * math.sqrt(18))
    with pytest.raises(ValueError, match="k must be finite and at least 0, got -1"):
        Helmholtz(17, -1.0)


def test_helmholtz_with_k_zero_is_poisson():
    a = torch.randn(17, 17, generator=stream(), dtype=torch.float64)
    torch.testing.assert_close(Helmholtz(17, 0.0).solve(a), Poisson(17).solve(a), rtol=0, atol=0)


def test_the_published_grid_works_and_says_that_it_is_slow():
    """128 nodes: one warning each, where the problem is made, that names 129; rms u about .004."""
    with pytest.warns(HeatgradWarning, match="254 has the prime factor 127; n = 129 is fast") as w:
        problem = Poisson()
    fields = problem.sample(20, stream())  # any further warning would be an error
    assert len(w) == 1
    assert w[0].filename == __file__
    assert 0.003 < float(fields["u"].std()) < 0.006
    assert (problem.residual(fields) < 1e-3).all()
    with pytest.warns(HeatgradWarning, match="slow"):
        published = Helmholtz.published()
    drawn = published.sample(2, stream())["a"]
    assert (published.k, drawn[:, 0].abs().max()) == (1.0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Poisson(129)
        Helmholtz(65)


def test_input_is_checked():
    problem = Poisson(9)
    good = torch.zeros(2, 9, 9)
    with pytest.raises(ValueError, match=r"a must have shape \(..., 9, 9\), got \(8, 8\)"):
        problem.solve(torch.zeros(8, 8))
    with pytest.raises(ValueError, match="a must be finite, got 1 values that are NaN"):
        problem.solve(torch.where(torch.arange(81).reshape(9, 9) == 40, math.nan, 0.0))
    with pytest.raises(TypeError, match=r"a must be float32 or float64, got torch.int64"):
        problem.solve(torch.zeros(9, 9, dtype=torch.long))
    with pytest.raises(TypeError, match="a must be a tensor, got list"):
        problem.solve([[0.0]])
    with pytest.raises(ValueError, match="fields must be a, u, got a, w"):
        problem.residual({"a": good, "w": good})
    with pytest.raises(ValueError, match=r"all have shape \(num, 9, 9\), got a: .* u: \(1, 9, 9\)"):
        problem.residual({"a": good, "u": good[:1]})
    with pytest.raises(ValueError, match="n must be at least 6, got 5"):
        Poisson(5)
    with pytest.raises(TypeError, match=r"n must be a whole number, got 9\.0"):
        Poisson(9.0)
