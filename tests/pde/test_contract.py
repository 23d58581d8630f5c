"""What every problem keeps."""

import math

import pytest
import torch

from heatgrad.laplacian import BOUNDARIES
from heatgrad.pde import Darcy, Grid, Helmholtz, NavierStokes, Poisson

PROBLEMS = [
    Poisson(17),
    Helmholtz(17),
    Helmholtz(17, zero_border=True),
    Darcy(17),
    Darcy.published(17),
    NavierStokes(16),
    NavierStokes(16, scheme="heun"),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
def test_sampling(problem):
    """Names, shapes, float64; one seed one draw, for the law as for the problem; none is fine."""
    fields = problem.sample(3, torch.Generator().manual_seed(1))
    n = problem.grid.n
    assert tuple(fields) == problem.names
    assert set(problem.boundaries) == set(problem.names)
    assert all(boundary in BOUNDARIES for boundary in problem.boundaries.values())
    for field in fields.values():
        assert field.shape == (3, n, n)
        assert field.dtype == torch.float64
        assert field.isfinite().all()
    again = problem.sample(3, torch.Generator().manual_seed(1))
    assert all(torch.equal(fields[name], again[name]) for name in fields)
    empty = problem.sample(0, torch.Generator())
    assert all(field.shape == (0, n, n) for field in empty.values())
    assert problem.residual(fields).shape == (3,)
    assert problem.residual(empty).shape == (0,)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
def test_residual_of_a_batch(problem):
    """One by one as all together; float32 fields are judged in float32, and differentiably."""
    fields = problem.sample(3, torch.Generator().manual_seed(1))
    together = problem.residual(fields)
    alone = [problem.residual({name: f[i : i + 1] for name, f in fields.items()}) for i in range(3)]
    torch.testing.assert_close(torch.cat(alone), together)
    single = problem.residual({name: f.float() for name, f in fields.items()})
    assert single.dtype == torch.float32
    assert (single < together + 2e-3).all()
    second = problem.names[1]
    free = fields[second].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(problem.residual(fields | {second: free}).sum(), free)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
def test_linearity_is_as_claimed(problem):
    """Whether solve(a + b) is solve(a) + solve(b), and solve(2 a) twice solve(a)."""
    a, b = problem.sample(2, torch.Generator().manual_seed(2))[problem.names[0]]
    whole, parts = problem.solve(a + b), problem.solve(a) + problem.solve(b)
    gap = float((whole - parts).norm() / whole.norm())
    assert (gap < 1e-12) == problem.is_linear


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
def test_bad_fields(problem):
    """Unknown, missing, NaN: one line that names the field."""
    fields = problem.sample(2, torch.Generator())
    first, second = problem.names
    with pytest.raises(ValueError, match=f"fields must be {first}, {second}, got {first}"):
        problem.residual({first: fields[first]})
    with pytest.raises(ValueError, match=f"got {first}, {second}, extra"):
        problem.residual(fields | {"extra": fields[first]})
    with pytest.raises(ValueError, match=f"{second} must be finite, got"):
        problem.residual(fields | {second: fields[second] * math.nan})
    with pytest.raises(ValueError, match="num must be at least 0"):
        problem.sample(-1, torch.Generator())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
def test_on_a_device(problem):
    """The same draws, solutions, residuals and gradients there as on the CPU."""
    here = problem.sample(3, torch.Generator().manual_seed(1))
    there = problem.sample(3, torch.Generator().manual_seed(1), device="cuda")
    for name, field in there.items():
        assert field.device.type == "cuda"
        torch.testing.assert_close(field.cpu(), here[name], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        problem.residual(there).cpu(), problem.residual(here), rtol=1e-4, atol=1e-9
    )
    gradients = []
    for fields in (here, there):
        free = fields[problem.names[0]].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(problem.solve(free).square().sum(), free)
        gradients.append(gradient.cpu())
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


def test_values():
    """Problems are values: equal, hashable, unchangeable."""
    assert Poisson(17) == Poisson(17)
    assert len({Darcy(17), Darcy(17), Darcy(33)}) == 2
    with pytest.raises(AttributeError):
        Poisson(17).n = 5


@pytest.mark.parametrize(
    ("kind", "first", "h"), [("nodes", 0, 1 / 4), ("cells", 0.1, 0.2), ("torus", 0, 0.2)]
)
def test_grids(kind, first, h):
    """Coordinates k / (n - 1), (k + 1/2) / n and k / n; axis -2 is x."""
    grid = Grid(5, kind)
    assert grid.h == pytest.approx(h)
    assert grid.shape == (5, 5)
    points = grid.points()
    truth = first + h * torch.arange(5, dtype=torch.float64)
    torch.testing.assert_close(points[:, 2, 0], truth)
    torch.testing.assert_close(points[2, :, 1], truth)
    with pytest.raises(ValueError, match="n must be at least 2 points a side, got 1"):
        Grid(1)
    with pytest.raises(ValueError, match="kind must be nodes, cells or torus, got 'hexagons'"):
        Grid(4, "hexagons")
