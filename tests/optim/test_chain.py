"""The chain operator against a dense matrix, and its edge cases."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.optim import DiffusionSGD
from heatgrad.optim.operators import diffuse_chain, diffuse_chain_foreach

PATHS = (diffuse_chain, diffuse_chain_foreach)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64)


@st.composite
def chains(draw):
    """Draw shapes, an order of memory for each, coefficients, and which gradients are missing."""
    shapes = draw(st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=5))
    orders = [draw(st.permutations(range(len(shape)))) for shape in shapes]
    lams = [draw(st.sampled_from([0.0, 0.05, 0.2, 0.5])) for _ in shapes]
    return shapes, orders, lams, [draw(st.booleans()) for _ in shapes]


def in_memory_order(tensor, order):
    """Return an equal tensor whose memory follows the axes in `order`."""
    inverse = np.argsort(order).tolist() if len(order) else []
    return tensor.permute(order).contiguous().permute(inverse)


@settings(max_examples=30, deadline=None)
@given(chain=chains(), ends=st.sampled_from(["neumann", "periodic", "dirichlet"]))
def test_operator_equals_the_dense_matrix(draw, chain_matrix, concatenate, chain, ends):
    """I + diag(lam) Lap on the concatenation, accumulated neighbour by neighbour."""
    shapes, orders, lams, _ = chain
    grads = [in_memory_order(g, o) for g, o in zip(draw(shapes), orders, strict=True)]
    per_element = np.repeat(lams, [g.numel() for g in grads])
    expected = chain_matrix(per_element, ends) @ concatenate(grads)
    for diffuse in PATHS:
        diffused = diffuse(grads, lams, ends)
        assert [d.shape for d in diffused] == [g.shape for g in grads]
        # Four additions of numbers of order one.
        np.testing.assert_allclose(concatenate(diffused), expected, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(chain=chains(), ends=st.sampled_from(["neumann", "periodic", "dirichlet"]))
def test_step_equals_the_dense_matrix(draw, chain_matrix, concatenate, chain, ends):
    """The optimizer's chain crosses group borders; missing gradients make others adjacent."""
    shapes, orders, lams, present = chain
    values = [in_memory_order(v, o) for v, o in zip(draw(shapes), orders, strict=True)]
    params = [torch.nn.Parameter(v) for v in values]
    for param, grad, has_grad in zip(params, draw(shapes, seed=1), present, strict=True):
        param.grad = grad if has_grad else None
    groups = [{"params": [p], "diffusion": lam} for p, lam in zip(params, lams, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lam = 1/2 turns the sign of the highest frequencies
        optimizer = DiffusionSGD(groups, lr=1.0, boundary=ends)
    before = [p.detach().clone() for p in params]
    active = [(p, lam) for p, lam in zip(params, lams, strict=True) if p.grad is not None]
    optimizer.step()
    per_element = np.repeat([lam for _, lam in active], [p.numel() for p, _ in active])
    matrix = chain_matrix(per_element, ends)
    expected = matrix @ concatenate([p.grad for p, _ in active])
    moved = [b - p.detach() for p, b in zip(params, before, strict=True) if p.grad is not None]
    # The difference of two numbers of order one.
    np.testing.assert_allclose(concatenate(moved), expected, atol=4e-15)
    for param, old in zip(params, before, strict=True):
        assert param.grad is not None or torch.equal(param, old)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_foreach_equals_the_loop_bit_for_bit(parameters, give_gradients, boundary, dtype, momentum):
    """Two paths, one result, over several steps, groups, modes and options."""
    ends = []
    for foreach in (False, True):
        params = parameters(dtype=dtype)
        groups = [
            {"params": params[:2], "diffusion": 0.1},
            {"params": params[2:3], "mode": "layer", "diffusion": 0.7},
            {"params": params[3:]},
        ]
        optimizer = DiffusionSGD(
            groups,
            lr=0.1,
            momentum=momentum,
            nesterov=momentum > 0,
            weight_decay=0.01,
            diffusion=0.25,
            boundary=boundary,
            max_norm=1.0,
            foreach=foreach,
        )
        for step in range(4):
            give_gradients(params, step, missing=(1,) if step == 1 else ())
            optimizer.step()
        ends.append(params)
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("diffuse", PATHS)
def test_half_types_are_diffused_in_float32(draw, boundary, dtype, diffuse):
    """The float32 result, rounded once."""
    grads = draw(dtype=dtype)
    lams = [0.2] * len(grads)
    expected = diffuse_chain([g.float() for g in grads], lams, boundary)
    for ours, wide in zip(diffuse(grads, lams, boundary), expected, strict=True):
        assert torch.equal(ours, wide.to(dtype))


@pytest.mark.parametrize("diffuse", PATHS)
def test_complex_parts_diffuse_apart(draw, boundary, diffuse):
    """A complex chain is two real chains."""
    shapes, lams = ((3, 2), (1,), (4,)), [0.1, 0.2, 0.25]
    grads = draw(shapes, torch.complex128)
    whole = diffuse(grads, lams, boundary)
    real = diffuse([g.real.clone() for g in grads], lams, boundary)
    imag = diffuse([g.imag.clone() for g in grads], lams, boundary)
    for z, x, y in zip(whole, real, imag, strict=True):
        assert torch.equal(z, torch.complex(x, y))


@pytest.mark.parametrize("diffuse", PATHS)
def test_dtypes_may_be_mixed(diffuse):
    """By hand: into a real tensor only the real part of a complex neighbour crosses."""
    grads = [
        torch.tensor([1.0, 2.0]),
        torch.tensor([4.0 + 8.0j], dtype=torch.complex128),
        torch.tensor([6.0], dtype=torch.float64),
    ]
    first, middle, last = diffuse(grads, [0.25] * 3, "neumann")
    assert first.tolist() == [1.25, 2.25]
    assert middle.tolist() == [4.0 + 4.0j]
    assert last.tolist() == [5.5]
    assert [first.dtype, middle.dtype, last.dtype] == [g.dtype for g in grads]


@pytest.mark.parametrize("diffuse", PATHS)
def test_order_is_logical_not_that_of_memory(draw, diffuse):
    """Channels-last, transposed, strided and expanded storage give the numbers of contiguous."""
    (image,) = draw([(2, 3, 4, 5)])
    (matrix,) = draw([(4, 6)])
    views = [
        image.contiguous(memory_format=torch.channels_last),
        matrix.t(),
        matrix[::2, 1::2],
        matrix[0].expand(3, 6),
    ]
    plain = [view.clone(memory_format=torch.contiguous_format) for view in views]
    lams = [0.2] * 4
    for ours, expected in zip(
        diffuse(views, lams, "periodic"), diffuse(plain, lams, "periodic"), strict=True
    ):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("diffuse", PATHS)
def test_short_chains(diffuse):
    """By hand: one element, two on a ring (the neighbour counts twice), and none."""
    one, two = torch.tensor(3.0), torch.tensor([2.0, 3.0])
    assert diffuse([one], [0.25], "neumann")[0].item() == 3.0
    assert diffuse([one], [0.25], "periodic")[0].item() == 3.0
    assert diffuse([one], [0.25], "dirichlet")[0].item() == 1.5
    assert diffuse([two], [0.25], "periodic")[0].tolist() == [2.5, 2.5]
    assert diffuse([two], [0.25], "neumann")[0].tolist() == [2.25, 2.75]
    assert diffuse([], [], "neumann") == []
    empty = torch.empty(0, 2)
    assert diffuse([empty], [0.25], "periodic")[0] is empty


def mode_and_eigenvalue(boundary, n, m):
    """Return eigenvector m of the chain's Laplacian, and 4 sin^2 of half its frequency."""
    j = np.arange(n)
    frequency = {"neumann": m / n, "periodic": 2 * m / n, "dirichlet": (m + 1) / (n + 1)}[boundary]
    omega = np.pi * frequency
    vector = {
        "neumann": np.cos(omega * (j + 0.5)),
        "periodic": np.cos(omega * j),
        "dirichlet": np.sin(omega * (j + 1)),
    }[boundary]
    return vector, 4 * np.sin(omega / 2) ** 2


@pytest.mark.parametrize("m", [0, 1, 7, 12, 23])
def test_gain_of_every_mode(boundary, m):
    """Theory: an eigenvector of the chain is multiplied by 1 - lam s, whatever the cuts."""
    vector, s = mode_and_eigenvalue(boundary, 24, m)
    pieces = [p.clone() for p in torch.tensor(vector).split([1, 10, 6, 7])]
    pieces[1] = pieces[1].view(2, 5)
    for diffuse in PATHS:
        diffused = torch.cat([p.ravel() for p in diffuse(pieces, [0.2] * 4, boundary)])
        np.testing.assert_allclose(diffused.numpy(), (1 - 0.2 * s) * vector, atol=1e-14)


def test_highest_frequency_at_both_bounds():
    """On a ring s = 4: lam = 1/4 removes the alternating mode, 1/2 turns its sign."""
    alternating = torch.tensor([1.0, -1.0] * 4)
    assert diffuse_chain([alternating], [0.25], "periodic")[0].abs().max() == 0
    assert torch.equal(diffuse_chain([alternating], [0.5], "periodic")[0], -alternating)


def test_sum_is_conserved(draw, boundary):
    """Neumann and periodic ends let nothing out; Dirichlet ends lose lam (first + last)."""
    grads = draw(((4, 3), (5,)))
    total = sum(g.sum() for g in grads)
    diffused = sum(g.sum() for g in diffuse_chain(grads, [0.2, 0.2], boundary))
    lost = 0.2 * (grads[0][0, 0] + grads[-1][-1]) if boundary == "dirichlet" else 0.0
    assert (total - diffused).item() == pytest.approx(float(lost), abs=1e-14)


def test_descent_survives_borders_between_groups(chain_matrix, boundary):
    """Theory (Gershgorin): the symmetric part of G is semidefinite up to lam = 1/4 anywhere."""
    generator = np.random.default_rng(0)
    for _ in range(50):
        matrix = chain_matrix(generator.choice([0.0, 0.1, 0.25], size=12), boundary)
        assert np.linalg.eigvalsh(matrix + matrix.T).min() > -1e-14
        eigenvalues = np.linalg.eigvals(matrix)
        # Real up to the square root of rounding, where two coincide.
        assert abs(eigenvalues.imag).max() < 1e-7
        assert -1e-7 < eigenvalues.real.min() <= eigenvalues.real.max() < 1 + 1e-7
