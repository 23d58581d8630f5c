"""Values that a kernel could mistake: views that negate, infinite parameters."""

import contextlib

import pytest
import torch

from heatgrad.optim import DiffusionNesterov, DiffusionSGD, velocity

BUILDS = {
    "chain": lambda params, **options: DiffusionSGD(params, lr=1.0, diffusion=0.1, **options),
    "rows": lambda params, **options: DiffusionNesterov(params, lr=1.0, dims=0, **options),
    "slabs": lambda params, **options: DiffusionNesterov(params, lr=1.0, **options),
    "still": lambda params, **options: DiffusionNesterov(
        [{"params": params, "dims": ()}], lr=1.0, **options
    ),
}


def stepped(build, start, grad, **options):
    param = torch.nn.Parameter(start.clone())
    param.grad = grad
    build([param], **options).step()
    return param.detach()


@pytest.mark.parametrize("name", BUILDS)
def test_a_view_that_negates_is_read_as_what_it_is(name):
    """Its memory holds the other sign."""
    grad = torch._neg_view(torch.arange(6.0).view(3, 2))
    ours, plain = (
        stepped(BUILDS[name], torch.zeros(3, 2), grad, fused=fused) for fused in (None, False)
    )
    torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("width", [2, 1100])
def test_an_infinite_parameter_stays_infinite_without_decay(name, maximize, width):
    """Zero times infinity is not a number."""
    start = torch.ones(3, width)
    start[0, 1] = -torch.inf
    found = [
        stepped(BUILDS[name], start, torch.ones(3, width), fused=fused, maximize=maximize)
        for fused in (True, False)
    ]
    assert not found[0].isnan().any()
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("fused", [None, True])
@pytest.mark.parametrize("size", [(2, 3), (3, 1), (30, 2)])
def test_a_buffer_of_another_shape_is_refused_and_its_memory_left(name, fused, size):
    """As after a checkpoint of another network: the kernels would go by the parameter's size."""
    param = torch.nn.Parameter(torch.zeros(3, 2))
    param.grad = torch.ones(3, 2)
    optimizer = BUILDS[name]([param], fused=fused, momentum=0.9)
    memory = torch.full((100,), 7.0)
    count = torch.Size(size).numel()
    optimizer.state[param]["momentum_buffer"] = memory[:count].view(size)
    with pytest.raises(RuntimeError, match=r"size|shape"):
        optimizer.step()
    assert torch.equal(memory[count:], torch.full((100 - count,), 7.0))


@pytest.mark.parametrize("name", BUILDS)
def test_a_gradient_of_another_shape_is_refused(name):
    """It was made before `param.data` was replaced."""
    param = torch.nn.Parameter(torch.zeros(4, 2))
    param.grad = torch.ones(4, 2)
    param.data = torch.zeros(3000, 2)
    with pytest.raises(RuntimeError, match=r"size|shape"):
        BUILDS[name]([param]).step()


def test_a_compiled_step_refuses_a_buffer_of_another_shape():
    """The same rule, asked while the step is traced."""
    param = torch.nn.Parameter(torch.zeros(10))
    param.grad = torch.ones(10)
    optimizer = DiffusionSGD([param], lr=0.1, momentum=0.9, diffusion=0.2)
    memory = torch.full((20,), 7.0)
    optimizer.state[param]["momentum_buffer"] = memory[:5]
    with pytest.raises(Exception, match=r"size|shape|dimension"):
        torch.compile(optimizer.step, fullgraph=False)()
    assert torch.equal(memory[5:], torch.full((15,), 7.0))


@pytest.fixture
def untraced(monkeypatch):
    """Keep the checks of types, which the tests put around it, out of what is compiled."""
    plain = torch.compiler.disable(velocity.apply_stencil)
    monkeypatch.setattr(velocity, "apply_stencil", plain)


AWKWARD = {
    "half": lambda memory: memory.bfloat16()[64:128].view(8, 8),
    "double": lambda memory: memory.double()[64:128].view(8, 8),
    "strided": lambda memory: memory[64:192].view(8, 16)[:, ::2],
    "transposed": lambda memory: memory[64:128].view(8, 8).t(),
}


def _step(optimizer, *, compiled):
    step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
    step()


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", AWKWARD)
def test_a_buffer_that_lies_otherwise_is_stepped_as_the_plain_path_does(
    name, compiled, kind, untraced
):
    """Nothing beside it is written to, compiled or not; the kernels go by the parameter."""
    torch.compiler.reset()
    found = []
    for fused in (None, False):
        param = torch.nn.Parameter(torch.arange(64.0).view(8, 8))
        param.grad = torch.sin(param.detach())
        optimizer = BUILDS[name]([param], fused=fused, momentum=0.5)
        buffer = AWKWARD[kind](torch.linspace(0.0, 1.0, 256))
        optimizer.state[param]["momentum_buffer"] = buffer
        whole = torch.empty(0, dtype=buffer.dtype).set_(buffer.untyped_storage())
        is_ours = torch.zeros_like(whole, dtype=torch.bool)
        is_ours.as_strided(buffer.shape, buffer.stride(), buffer.storage_offset()).fill_(True)
        before = whole.clone()
        try:
            _step(optimizer, compiled=compiled and fused is None)
        except RuntimeError as error:
            found.append(str(error)[:30])
        else:
            found.append(param.detach())
        assert torch.equal(whole[~is_ours], before[~is_ours])
    if isinstance(found[1], str):
        assert isinstance(found[0], str)
    else:
        torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["chain", "rows"])
def test_a_network_that_turns_double_between_compiled_steps(name, untraced):
    """Its momentum stays single: the kernel would write eight bytes into four.

    Torch does not always compile a step anew for that, so the kernel's operator has to look.
    """
    torch.compiler.reset()
    found, refusals = [], []
    for compiled in (True, False):
        param = torch.nn.Parameter(torch.sin(torch.arange(4900.0)).view(70, 70))
        param.grad = torch.ones_like(param)
        optimizer = BUILDS[name]([param], fused=None if compiled else False, momentum=0.9)
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        step()
        param.data = param.data.double()
        param.grad = None
        param.grad = torch.ones_like(param)
        try:
            step()
        except RuntimeError as error:
            refusals.append(str(error))
            torch.compiler.reset()
            step()
        found += [param.detach(), optimizer.state[param]["momentum_buffer"]]
    assert all("call torch.compiler.reset()" in text for text in refusals)
    for ours, plain in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", BUILDS)
def test_what_has_no_memory_is_not_read(name):
    """A buffer on the meta device, a gradient of zeros that are not stored: no address."""
    found = []
    for fused in (None, False):
        param = torch.nn.Parameter(torch.ones(8, 8))
        param.grad = torch.ones(8, 8)
        optimizer = BUILDS[name]([param], fused=fused, momentum=0.9)
        optimizer.state[param]["momentum_buffer"] = torch.empty(8, 8, device="meta")
        with contextlib.suppress(RuntimeError, NotImplementedError):
            optimizer.step()  # torch takes some operations on both kinds, and does nothing then
        found.append(param.detach().clone())
    assert torch.equal(*found)
    zeros = torch._efficientzerotensor((8, 8))
    assert torch.equal(stepped(BUILDS[name], torch.ones(8, 8), zeros), torch.ones(8, 8))


@pytest.mark.parametrize("name", BUILDS)
def test_memory_that_is_shared_is_left_to_the_plain_path(name):
    """A gradient that is the parameter: its neighbours would be read when they are stepped."""
    found = []
    for fused in (None, False):
        param = torch.nn.Parameter(torch.sin(torch.arange(64.0)).view(8, 8))
        param.grad = param.detach()
        BUILDS[name]([param], fused=fused, momentum=0.9).step()
        found.append(param.detach().clone())
    torch.testing.assert_close(*found)
