"""The modes that know only the mean."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.optim import DiffusionSGD
from heatgrad.optim.operators import LAYER_MODES, diffuse_layer


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    lam=st.floats(0, 2),
    reverse=st.booleans(),
)
def test_layer_gains(draw, shape, lam, reverse):
    """The mean has gain 1; deviations have 1 - lam, or 1 + lam as [Ray] B.1 is printed."""
    (grad,) = draw([tuple(shape)])
    if reverse:
        grad = grad.permute(*reversed(range(grad.dim())))
    mean = grad.mean()
    for mode, gain in (("layer", 1 - lam), ("layer_literal", 1 + lam)):
        result = diffuse_layer(grad, lam, mode)
        expected = grad if grad.numel() == 1 else mean + gain * (grad - mean)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-13)


def test_layer_at_its_bounds(draw):
    """Lam = 1 leaves the mean alone; lam = 2 reflects in it and keeps the norm."""
    (grad,) = draw([(4, 5)])
    mean = grad.mean()
    assert torch.allclose(diffuse_layer(grad, 1.0, "layer"), mean.expand(4, 5), atol=1e-15)
    reflected = diffuse_layer(grad, 2.0, "layer")
    torch.testing.assert_close(reflected, 2 * mean - grad)
    assert reflected.norm().item() == pytest.approx(grad.norm().item(), rel=1e-14)


def test_layer_is_the_implicit_step_over_a_complete_graph(draw):
    """Toward the mean = diffusion where every element is a neighbour of every other, over n."""
    (grad,) = draw([(6,)])
    laplacian = torch.ones(6, 6, dtype=torch.float64) - 6 * torch.eye(6, dtype=torch.float64)
    expected = grad + 0.3 / 6 * (laplacian @ grad)
    torch.testing.assert_close(diffuse_layer(grad, 0.3, "layer"), expected)


@pytest.mark.parametrize("shape", [(2, 3), (4, 3, 2, 2), (3, 1), (1, 5)])
def test_centralize_removes_means(draw, shape):
    """Means over the tensor, or over each output channel (Yong et al. 2020), become zero."""
    (grad,) = draw([shape])
    whole = diffuse_layer(grad, 1.0, "centralize")
    assert abs(whole.mean()) < 1e-15
    torch.testing.assert_close(whole, grad - grad.mean())
    channels = diffuse_layer(grad, 1.0, "centralize_channel")
    if shape == (3, 1):  # one element per channel: its mean is all there is
        assert channels is grad
    else:
        assert channels.flatten(1).mean(1).abs().max() < 1e-15
        kept = grad.flatten(1) - grad.flatten(1).mean(1, keepdim=True)
        torch.testing.assert_close(channels.flatten(1), kept)


def test_centralize_is_a_projection(draw):
    """Removing a mean twice removes it once; it is orthogonal to what was removed."""
    (grad,) = draw([(3, 4)])
    for mode in ("centralize", "centralize_channel"):
        once = diffuse_layer(grad, 1.0, mode)
        torch.testing.assert_close(diffuse_layer(once, 1.0, mode), once, rtol=0, atol=1e-15)
        assert abs((once * (grad - once)).sum()) < 1e-14


@pytest.mark.parametrize("mode", LAYER_MODES)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (0, 3), (3, 0)])
def test_one_element_or_none_is_left_alone(mode, shape):
    """A single element is its own mean: it must neither vanish nor become NaN."""
    grad = torch.full(shape, 2.0)
    assert diffuse_layer(grad, 1.0, mode) is grad


def test_centralize_channel_leaves_vectors_alone(draw):
    """Rank 1 has one element per channel (Yong et al. 2020 skip it)."""
    (grad,) = draw([(5,)])
    assert diffuse_layer(grad, 1.0, "centralize_channel") is grad


@pytest.mark.parametrize("mode", LAYER_MODES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_types_are_rounded_once(draw, mode, dtype):
    """The float32 result, rounded once."""
    (grad,) = draw([(5, 7)], dtype)
    expected = diffuse_layer(grad.float(), 1.0, mode).to(dtype)
    assert torch.equal(diffuse_layer(grad, 1.0, mode), expected)


@pytest.mark.parametrize("mode", LAYER_MODES)
def test_complex_parts_are_apart(draw, mode):
    """The mean is linear: real and imaginary parts do not mix."""
    (grad,) = draw([(3, 4)], torch.complex128)
    expected = torch.complex(
        diffuse_layer(grad.real.clone(), 1.0, mode), diffuse_layer(grad.imag.clone(), 1.0, mode)
    )
    torch.testing.assert_close(diffuse_layer(grad, 1.0, mode), expected)


@pytest.mark.parametrize("mode", LAYER_MODES)
@pytest.mark.parametrize("foreach", [False, True])
def test_step_follows_the_operator(parameters, give_gradients, mode, foreach):
    """Without momentum the step is -lr times the operator, tensor by tensor."""
    params = parameters(((3, 4), (5,), (2, 3, 2)))
    optimizer = DiffusionSGD(params, lr=0.5, diffusion=1.0, mode=mode, foreach=foreach)
    give_gradients(params, 0)
    expected = [p - 0.5 * diffuse_layer(p.grad, 1.0, mode) for p in params]
    optimizer.step()
    torch.testing.assert_close([p.detach() for p in params], expected, rtol=0, atol=1e-15)


def test_modes_may_differ_between_groups(draw, chain_matrix, concatenate):
    """Layer groups stand outside the chain: the global groups around them become adjacent."""
    first, layer, last = (torch.nn.Parameter(v) for v in draw(((3,), (4,), (2, 2))))
    groups = [
        {"params": [first], "diffusion": 0.2},
        {"params": [layer], "diffusion": 0.5, "mode": "layer", "boundary": "periodic"},
        {"params": [last], "diffusion": 0.1},
    ]
    optimizer = DiffusionSGD(groups, lr=1.0)
    for param, grad in zip((first, layer, last), draw(((3,), (4,), (2, 2)), seed=1), strict=True):
        param.grad = grad
    before, after = optimizer.gradient_directions()
    matrix = chain_matrix([0.2] * 3 + [0.1] * 4, "neumann")
    expected = matrix @ concatenate([before[0], before[2]])
    assert concatenate([after[0], after[2]]) == pytest.approx(expected, abs=1e-14)
    torch.testing.assert_close(after[1], 0.5 * layer.grad + 0.5 * layer.grad.mean())
