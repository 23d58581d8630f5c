"""Surfaces of known functions, and the directions that they are drawn along."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from heatgrad.landscape.directions import filter_normalised, project, random_plane
from heatgrad.landscape.objective import DataLoss
from heatgrad.landscape.surface import surface


def rosenbrock(m):
    x, y = m.x
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


AXES = tuple([torch.eye(2, dtype=torch.float64)[k]] for k in (0, 1))


def test_rosenbrocks_valley(point):
    """At every place the function itself, around its minimum."""
    found = surface(point([1.0, 1.0]), rosenbrock, AXES, reach=2.0, points=11)
    x, y = np.meshgrid(1 + found.across, 1 + found.up)
    np.testing.assert_allclose(found.losses, (1 - x) ** 2 + 100 * (y - x**2) ** 2, rtol=1e-12)
    assert found.center == 0
    assert (found.kind, found.statistics, found.num_holes) == ("given", "frozen", 0)
    assert found.cosine == 0


def test_places_that_are_not_finite_are_holes(point):
    """They are counted, not raised."""

    def log(m):
        return torch.log(m.x[0]) ** 2 + m.x[1] ** 2

    found = surface(point([1.0, 0.0]), log, AXES, reach=2.0, points=5)
    assert found.num_holes == 5 + 5  # x = -1 is no number, x = 0 infinite, x = -1 again none
    assert np.isfinite(found.losses[:, 2:]).all()


def test_the_steepest_walls_are_those_of_the_hessian(point):
    """A quadratic: along its two largest eigenvectors, of unit length."""
    q, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    values = torch.tensor([-1.0, 0.0, 1.0, 2.0, 5.0, 9.0], dtype=torch.float64)

    def bowl(m):
        return (values * (q.T @ m.x) ** 2).sum() / 2

    found = surface(point([0.0] * 6), bowl, "hessian", points=5)
    a, b = np.meshgrid(found.across, found.up)
    np.testing.assert_allclose(found.losses, (9 * a**2 + 5 * b**2) / 2, atol=1e-8)
    assert abs(found.cosine) < 1e-10


def test_filters_of_a_direction_have_the_networks_lengths(net):
    params = list(net.parameters())
    first, second, cosine = random_plane(params, seed=3)
    for direction in (first, second):
        for part, param in zip(direction, params, strict=True):
            if param.dim() < 2:
                assert not part.any()
            else:
                torch.testing.assert_close(part.norm(dim=1), param.detach().norm(dim=1))
    inner = sum((a * b).sum() for a, b in zip(first, second, strict=True))
    lengths = [torch.sqrt(sum((a * a).sum() for a in d)) for d in (first, second)]
    assert cosine == pytest.approx(float(inner / (lengths[0] * lengths[1])))
    assert abs(cosine) < 0.5
    moved = filter_normalised([torch.ones_like(p) for p in params], params, vectors=True)
    torch.testing.assert_close(moved[1].norm(), params[1].detach().norm())


def test_a_plane_through_a_rescaled_network_is_the_same(net, data):
    """Rows before batch norm times 5, eps along: the filter-normalised surface does not feel it."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight.mul_(5)
        other[0].bias.mul_(5)
    other[1].eps *= 25
    loss = DataLoss(cross_entropy, data)
    first, second = (surface(m, loss, points=5, seed=1).losses for m in (net, other))
    np.testing.assert_allclose(first, second, atol=1e-10)


def test_a_trajectory_in_a_plane(point):
    """Places and what the plane does not hold, by hand; the solution lies at the origin."""
    solution = point([1.0, 2.0, 3.0])
    basis = [[torch.tensor([2.0, 0, 0]).double()], [torch.tensor([1.0, 1.0, 0]).double()]]
    states = [
        {"x": torch.tensor(x, dtype=torch.float64)} for x in ([4.0, 3, 3], [1.0, 2, 5], [1.0, 2, 3])
    ]
    found = project(states, solution, *basis)
    torch.testing.assert_close(found.places, torch.tensor([[1.0, 1], [0, 0], [0, 0]]).double())
    torch.testing.assert_close(
        found.residuals, torch.tensor([0.0, 1, 0]).double(), atol=1e-12, rtol=0
    )


def test_the_principal_plane_holds_a_flat_trajectory(point):
    """All of it: no residual, and the surface reaches as far as it does."""
    solution = point([0.0, 0, 0])
    states = [
        {"x": torch.tensor([a, b, a + b], dtype=torch.float64)}
        for a, b in ((3.0, 1.0), (2.0, 2.0), (1.0, 0.5), (0.0, 0.1))
    ]
    found = surface(solution, lambda m: (m.x**2).sum(), "pca", points=5, trajectory=states)
    assert found.held == pytest.approx(1)
    assert float(found.trajectory.residuals.max()) < 1e-10
    assert found.across[-1] == pytest.approx(float(found.trajectory.places.abs().max()))
    a, b = np.meshgrid(found.across, found.up)
    np.testing.assert_allclose(found.losses, a**2 + b**2, atol=1e-10)


def test_the_network_is_left_as_it_was(net, data):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    surface(net, DataLoss(cross_entropy, data), points=3)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 4}, "points must be odd and at least 3, got 4"),
        ({"reach": 0.0}, "reach must be a positive number, got 0.0"),
        ({"directions": "random"}, "one of filter, pca, hessian, or two lists of tensors"),
        ({"directions": "pca"}, "a trajectory must hold at least two networks, got 0"),
        ({"directions": ([torch.ones(2)], [torch.ones(3)])}, "a tensor for each of 1 parameters"),
    ],
)
def test_bad_options(options, message, point):
    with pytest.raises(ValueError, match=message):
        surface(point([1.0, 1.0]), rosenbrock, **options)
