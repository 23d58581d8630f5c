"""Without diffusion, `DiffusionNesterov` is torch's SGD with Nesterov's momentum, bit for bit."""

import copy
import itertools

import pytest
import torch

from heatgrad.optim import DiffusionNesterov

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.complex64)
LEARNING_RATES = {
    "float": lambda: 0.1,
    "0-d": lambda: torch.tensor(0.1),
    "one element": lambda: torch.tensor([0.1]),
    "requires_grad": lambda: torch.tensor(0.1, requires_grad=True),
}
WEIGHT_DECAYS = {
    "none": lambda: 0.0,
    "float": lambda: 0.05,
    "tensor": lambda: torch.tensor(0.05),
}


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("lr", LEARNING_RATES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_without_diffusion_is_torch_nesterov(assert_equal_runs, dtype, lr, foreach):
    """torch.optim.SGD(nesterov=True), and plain SGD at momentum 0, on both of its eager paths."""
    for momentum, decay, maximize in itertools.product((0.9, 0.0), WEIGHT_DECAYS, (False, True)):
        options = {
            "lr": LEARNING_RATES[lr](),
            "momentum": momentum,
            "weight_decay": WEIGHT_DECAYS[decay](),
            "maximize": maximize,
            "foreach": foreach,
        }
        assert_equal_runs(
            lambda params, o=options: DiffusionNesterov(params, diffusion=0, **copy.deepcopy(o)),
            lambda params, o=options: torch.optim.SGD(
                params, nesterov=o["momentum"] > 0, **copy.deepcopy(o)
            ),
            dtype,
        )


@pytest.mark.parametrize("stability", ["refine", "error", "off"])
def test_whatever_the_axes_and_the_policy(assert_equal_runs, boundary, stability):
    """Diffusion 0 moves nothing along any axis."""
    for dims in (None, (), 0):
        shapes = ((3, 4), (5,), (2, 1, 3))
        how = {"dims": dims, "boundary": boundary, "stability": stability}
        assert_equal_runs(
            lambda params, h=how: DiffusionNesterov(params, lr=0.1, diffusion=0.0, **h),
            lambda params: torch.optim.SGD(
                params, lr=0.1, momentum=0.9, nesterov=True, foreach=False
            ),
            torch.float64,
            shapes=shapes,
        )


def test_no_axes_is_torch_nesterov_at_any_diffusion(assert_equal_runs):
    """With nothing to diffuse the bound is infinite."""
    assert_equal_runs(
        lambda params: DiffusionNesterov(params, lr=0.1, diffusion=1.0, dims=()),
        lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True, foreach=False),
        torch.float64,
    )


def test_checkpoints_go_both_ways(parameters, give_gradients):
    """A plain SGD's state is taken up, and ours by a plain SGD: then the runs are the same."""
    torch_params, our_params = parameters(), parameters()
    theirs = torch.optim.SGD(torch_params, lr=0.1, momentum=0.9, nesterov=True, foreach=False)
    give_gradients(torch_params, 0)
    theirs.step()
    ours = DiffusionNesterov(our_params, lr=0.3, diffusion=0.0)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    with torch.no_grad():
        for mine, other in zip(our_params, torch_params, strict=True):
            mine.copy_(other)
    for step in (1, 2):
        for params, optimizer in ((torch_params, theirs), (our_params, ours)):
            give_gradients(params, step)
            optimizer.step()
        if step == 1:
            theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
            theirs.param_groups[0]["nesterov"] = True
    assert all(torch.equal(a, b) for a, b in zip(our_params, torch_params, strict=True))
    assert ours.param_groups[0]["lr"] == 0.1
    assert ours.param_groups[0]["diffusion"] == 0.0


@pytest.mark.parametrize("dims", [0, -1, (0, 1), None])
def test_multi_tensor_path_is_the_plain_path(boundary, dims, draw, give_gradients, untouched):
    """Neighbours accumulated in place, on lines of one, two and more cells, empty ones too."""
    shapes = ((3, 4), (5, 1, 2), (0, 3), (1, 6), (2, 2), (4, 3, 2, 2))
    ends = []
    for foreach in (False, True):
        params = [torch.nn.Parameter(value) for value in draw(shapes, torch.float64)]
        optimizer = DiffusionNesterov(
            params, lr=0.1, dims=dims, boundary=boundary, weight_decay=0.1, foreach=foreach
        )
        for step in range(4):
            give_gradients(params, step, missing=(1,) if step == 0 else ())
            with untouched(params):
                optimizer.step()
        ends.append([*params, *(optimizer.state[p]["momentum_buffer"] for p in params)])
    for plain, ours in zip(*ends, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-13)


def test_checkpoints_go_to_torch_and_back(parameters, give_gradients):
    """Without diffusion either goes on from the other's checkpoint as its maker would have."""
    ours, theirs = parameters(), parameters()
    first = DiffusionNesterov(ours, lr=0.1, diffusion=0.0)
    second = torch.optim.SGD(theirs, lr=0.1, momentum=0.9, nesterov=True)
    for params, optimizer in ((ours, first), (theirs, second)):
        give_gradients(params, 0)
        optimizer.step()
    states = first.state_dict(), second.state_dict()
    first.load_state_dict(states[1])
    second = torch.optim.SGD(theirs, lr=0.5)
    second.load_state_dict(states[0])
    for params, optimizer in ((ours, first), (theirs, second)):
        give_gradients(params, 1)
        optimizer.step()
        assert optimizer.param_groups[0]["nesterov"] is True
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_heavy_balls_checkpoint_is_continued_with_nesterov(parameters):
    params = parameters(((3, 4), (5,)))
    state = torch.optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.5).state_dict()
    optimizer = DiffusionNesterov(params, dims=[0])
    optimizer.load_state_dict(state)
    group = optimizer.param_groups[0]
    assert (group["nesterov"], group["dampening"], group["dims"]) == (True, 0.0, (0,))
