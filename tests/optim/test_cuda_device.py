"""On a GPU alone: which path is taken, no waiting for the device, graphs, real sizes."""

import pytest
import torch

from heatgrad.optim import DiffusionNesterov, DiffusionSGD, fused_cuda

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SHAPES = ((300, 64, 3, 3), (300,), (64, 3, 7, 7), (5, 4097), (2100, 9), (1,))
CLOSE = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.bfloat16: {"rtol": 4e-2, "atol": 6e-2},
}
BUILDS = {
    "DiffusionSGD": lambda params, **options: DiffusionSGD(
        params, momentum=0.9, weight_decay=0.01, **{"lr": 0.1, "diffusion": 0.2} | options
    ),
    "clipped": lambda params, **options: DiffusionSGD(
        params, momentum=0.9, max_norm=1.0, **{"lr": 0.1, "diffusion": 0.2} | options
    ),
    "DiffusionNesterov": lambda params, **options: DiffusionNesterov(
        params, dims=0, weight_decay=0.01, **{"lr": 0.1, "diffusion": 0.9} | options
    ),
}


def parameters(shapes=SHAPES, dtype=torch.float32):
    """Return parameters with gradients, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape in shapes:
        value, grad = torch.randn((2, *shape), generator=generator).to("cuda", dtype)
        params.append(torch.nn.Parameter(value.clone()))
        params[-1].grad = grad.clone()
    return params


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("name", BUILDS)
def test_equals_the_plain_path_at_real_sizes(name, dtype, boundary):
    """Many programs at once, on tensors that are cut along rows and across them."""
    ends = []
    for is_fused in (True, False):
        params = parameters(dtype=dtype)
        optimizer = BUILDS[name](params, boundary=boundary, fused=is_fused)
        for _ in range(5):
            optimizer.step()
        ends.append([*params, *(optimizer.state[p]["momentum_buffer"] for p in params)])
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE[dtype])


@pytest.mark.parametrize("name", BUILDS)
def test_repeats_bit_for_bit(name):
    """Programs run in any order; no result may depend on it."""
    ends = []
    for _ in range(5):
        params = parameters()
        optimizer = BUILDS[name](params)
        for _ in range(5):
            optimizer.step()
        ends.append(params)
    for other in ends[1:]:
        assert all(torch.equal(a, b) for a, b in zip(ends[0], other, strict=True))


@pytest.fixture
def launches(monkeypatch):
    """Return the list that grows with every fused step."""
    calls = []
    for name in ("step_chain", "step_velocity"):
        step = getattr(fused_cuda, name)
        monkeypatch.setattr(
            fused_cuda, name, lambda *a, step=step, **k: (calls.append(1), step(*a, **k))
        )
    return calls


@pytest.mark.parametrize("name", BUILDS)
def test_the_default_takes_it_where_something_diffuses(launches, name):
    for options, is_taken in (
        ({}, True),
        ({"fused": True}, True),
        ({"fused": False}, False),
        ({"foreach": True}, False),
        ({"diffusion": 0.0}, False),
        ({"lr": torch.tensor(0.1, device="cuda")}, True),
        ({"lr": torch.tensor(0.1)}, True),
    ):
        launches.clear()
        BUILDS[name](parameters(), **options).step()
        assert bool(launches) is is_taken, options


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_real_type_takes_it(launches, dtype):
    BUILDS["DiffusionSGD"](parameters(dtype=dtype)).step()
    assert launches


def test_memory_it_cannot_take_goes_the_other_way(launches):
    transposed = torch.nn.Parameter(torch.ones(4, 3, device="cuda").t())
    transposed.grad = torch.ones_like(transposed)
    on_host = torch.nn.Parameter(torch.ones(3))
    on_host.grad = torch.ones(3)
    DiffusionSGD([transposed], lr=0.1, diffusion=0.1).step()
    DiffusionSGD([*parameters(), on_host], lr=0.1, diffusion=0.1).step()
    assert not launches


@pytest.mark.parametrize("kind", ["floats", "tensors"])
@pytest.mark.parametrize("name", BUILDS)
def test_nothing_waits_for_the_device(name, kind):
    dials = {"lr": 0.1, "diffusion": 0.2}
    if kind == "tensors":
        dials = {key: torch.tensor(value, device="cuda") for key, value in dials.items()}
    optimizer = BUILDS[name](parameters(), **dials)
    optimizer.step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", BUILDS)
def test_a_graph_replays_the_step(name):
    """Replays read learning rate and diffusion from the device, so a schedule may turn them."""
    ends = []
    for is_captured in (True, False):
        params = parameters()
        dials = {
            "lr": torch.tensor(0.1, device="cuda"),
            "diffusion": torch.tensor(0.2, device="cuda"),
        }
        optimizer = BUILDS[name](params, **dials)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            optimizer.step()  # buffers are made, kernels compiled
        torch.cuda.current_stream().wait_stream(stream)
        step = optimizer.step
        if is_captured:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                optimizer.step()
            step = graph.replay
            other = BUILDS[name](parameters())
        for _ in range(4):
            step()
            dials["lr"].mul_(0.9)
            dials["diffusion"].mul_(0.8)
            if is_captured:
                other.step()  # what it brings to the device must not be what the graph reads
        ends.append(params)
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
