"""The controls of a study: what they share with the method, and what they do not."""

import copy
import pickle

import numpy as np
import pytest
import torch

from heatgrad.core.vectors import cosine, norm
from heatgrad.optim import DiffusionSGD, NormMatchedSGD, PlaceboDiffusionSGD


def placebo_matrix(size, boundary, diffusion, seed=0):
    """Return the placebo's operator as a matrix, column by column."""
    params = [torch.nn.Parameter(torch.zeros(n, dtype=torch.float64)) for n in (3, size - 3)]
    optimizer = PlaceboDiffusionSGD(params, diffusion=diffusion, boundary=boundary, seed=seed)
    columns = []
    for unit in torch.eye(size, dtype=torch.float64):
        for param, piece in zip(params, unit.split([3, size - 3]), strict=True):
            param.grad = piece.clone()
        columns.append(torch.cat(optimizer.gradient_directions()[1]))
    return torch.stack(columns, dim=1).numpy()


@pytest.mark.parametrize("mode", ["global", "layer", "layer_literal", "centralize"])
@pytest.mark.parametrize("foreach", [False, True])
def test_norm_matched_has_the_length_of_one_and_the_direction_of_the_other(
    parameters, give_gradients, mode, foreach
):
    """The norm comes from `DiffusionSGD` on the same gradient, the direction from the gradient."""
    params = parameters(((3, 4), (5,), (2, 1, 3)))
    options = {"diffusion": 0.2 if mode != "centralize" else 1.0, "mode": mode, "foreach": foreach}
    matched = NormMatchedSGD(params, weight_decay=0.3, **options)
    method = DiffusionSGD(params, weight_decay=0.3, **options)
    give_gradients(params, 0)
    before, after = matched.gradient_directions()
    assert cosine(before, after).item() == pytest.approx(1, abs=1e-15)
    assert norm(after).item() == pytest.approx(norm(method.gradient_directions()[1]).item())
    for param, grad in zip(params, before, strict=True):
        torch.testing.assert_close(grad, param.grad + 0.3 * param.detach())


def test_norm_matched_on_one_mode_is_the_method_itself():
    """An eigenvector of the chain is only scaled, by 1 - lam s, so matching its length is it."""
    vector = torch.cos(torch.pi * 2 * (torch.arange(9, dtype=torch.float64) + 0.5) / 9)
    ends = []
    for build in (NormMatchedSGD, DiffusionSGD):
        param = torch.nn.Parameter(torch.zeros(9, dtype=torch.float64))
        param.grad = vector.clone()
        build([param], lr=0.1, diffusion=0.25).step()
        ends.append(param.detach())
    torch.testing.assert_close(*ends, rtol=0, atol=1e-16)


@pytest.mark.parametrize("build", [NormMatchedSGD, PlaceboDiffusionSGD])
def test_zero_gradient_stays_zero(build):
    """Zero divided by zero must not appear."""
    param = torch.nn.Parameter(torch.ones(4))
    param.grad = torch.zeros(4)
    build([param], lr=1.0, diffusion=0.2, max_norm=1.0).step()
    assert torch.equal(param.detach(), torch.ones(4))


@pytest.mark.parametrize("size", [6, 9])
def test_placebo_is_similar_to_the_method(chain_matrix, boundary, size):
    """P^T (I + lam Lap) P: a permutation of the dense matrix, with the same eigenvalues."""
    placebo = placebo_matrix(size, boundary, 0.23)
    real = chain_matrix([0.23] * size, boundary)
    np.testing.assert_allclose(placebo, placebo.T, atol=1e-15)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(placebo), np.linalg.eigvalsh(real), rtol=0, atol=1e-14
    )
    assert np.abs(placebo - real).max() > 0.2
    # The same entries, elsewhere.
    np.testing.assert_allclose(np.sort(placebo.ravel()), np.sort(real.ravel()), atol=1e-15)


def test_placebo_depends_on_its_seed_alone(boundary):
    """The same seed gives the same permutation, another seed another one."""
    first = placebo_matrix(8, boundary, 0.2, seed=3)
    assert np.array_equal(first, placebo_matrix(8, boundary, 0.2, seed=3))
    assert not np.array_equal(first, placebo_matrix(8, boundary, 0.2, seed=4))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    placebo_matrix(8, boundary, 0.2, seed=99)
    assert torch.equal(torch.get_rng_state(), before)


def test_placebo_uses_each_groups_own_diffusion(chain_matrix):
    """Row i of the operator is scaled by the diffusion of element i's group."""
    params = [torch.nn.Parameter(torch.zeros(3, dtype=torch.float64)) for _ in range(2)]
    groups = [{"params": params[:1], "diffusion": 0.1}, {"params": params[1:]}]
    optimizer = PlaceboDiffusionSGD(groups, diffusion=0.25, seed=1)
    columns = []
    for unit in torch.eye(6, dtype=torch.float64):
        params[0].grad, params[1].grad = unit[:3].clone(), unit[3:].clone()
        columns.append(torch.cat(optimizer.gradient_directions()[1]))
    matrix = torch.stack(columns, 1).numpy() - np.eye(6)
    lap = placebo_matrix(6, "neumann", 0.25, seed=1) - np.eye(6)
    np.testing.assert_allclose(matrix[:3], lap[:3] * 0.4, atol=1e-15)
    np.testing.assert_allclose(matrix[3:], lap[3:], atol=1e-15)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_placebo_survives_copies_and_checkpoints(parameters, give_gradients, copier):
    """An unbroken run and a copied one end at the same bits; the seed travels along."""
    params = parameters()
    optimizer = PlaceboDiffusionSGD(params, lr=0.1, momentum=0.9, diffusion=0.2, seed=7)
    give_gradients(params, 0)
    optimizer.step()
    twin = copier(optimizer)
    twins = twin.param_groups[0]["params"]
    loaded_params = [torch.nn.Parameter(p.detach().clone()) for p in params]
    loaded = PlaceboDiffusionSGD(loaded_params, lr=1.0, seed=8)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # torch shares the buffers
    assert twin.param_groups[0]["seed"] == loaded.param_groups[0]["seed"] == 7
    for some in (params, twins, loaded_params):
        give_gradients(some, 1)
    for some in (optimizer, twin, loaded):
        some.step()
    for ours, theirs, others in zip(params, twins, loaded_params, strict=True):
        assert torch.equal(ours, theirs)
        assert torch.equal(ours, others)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64], ids=str)
def test_placebo_of_other_dtypes(parameters, give_gradients, dtype):
    """Against the same step in double precision, within the rounding of the dtype."""
    wide = torch.complex128 if dtype.is_complex else torch.float64
    params = parameters(dtype=dtype)
    doubles = [torch.nn.Parameter(p.detach().to(wide)) for p in params]
    give_gradients(params, 0)
    for param, double in zip(params, doubles, strict=True):
        double.grad = param.grad.to(wide)
    for some in (params, doubles):
        PlaceboDiffusionSGD(some, lr=0.1, diffusion=0.2, seed=2).step()
    eps = torch.finfo(dtype).eps
    for param, double in zip(params, doubles, strict=True):
        torch.testing.assert_close(param.detach().to(wide), double.detach(), rtol=eps, atol=eps)


def test_placebo_without_gradients_does_nothing(parameters):
    """No gradient, no step, no error."""
    params = parameters()
    before = [p.detach().clone() for p in params]
    PlaceboDiffusionSGD(params, diffusion=0.2).step()
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))
