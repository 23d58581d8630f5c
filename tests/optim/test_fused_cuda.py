"""The triton kernels against the plain path: on a GPU, else in triton's interpreter."""

import os

import pytest
import torch

from heatgrad.optim import DiffusionNesterov, DiffusionSGD, fused, fused_cuda
from heatgrad.optim.drop_in import ActiveGroup
from heatgrad.optim.sharded import ChainNeighbours

pytest.importorskip("triton")

CHAIN = ((3, 4), (), (37,), (0, 3), (2, 3, 5), (1,), (32,))
# A fused multiply-add rounds once where the plain path rounds twice; of half types the kernels
# round what they store, the plain path each operation, and triton's interpreter cuts digits off.
CLOSE = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-13},
    torch.float32: {"rtol": 3e-5, "atol": 3e-6},
    torch.bfloat16: {"rtol": 4e-2, "atol": 6e-2},
}


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """Return where the tests run, with blocks so small that borders are everywhere."""
    from heatgrad.optim.kernels import chain_cuda, velocity_cuda

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if request.param == "interpreter":
        if os.environ.get("TRITON_INTERPRET") != "1":
            pytest.skip("a CUDA device is here; `pytest -m gpu` runs these tests on it")
        for name in ("step_chain", "step_velocity", "can_diffuse_velocity"):
            monkeypatch.setattr(fused, name, getattr(fused_cuda, name))
        monkeypatch.setattr(fused, "is_safe", lambda groups, buffers: True)
    monkeypatch.setattr(chain_cuda, "BLOCK", 16)
    monkeypatch.setattr(chain_cuda, "LANES", 8)
    monkeypatch.setattr(velocity_cuda, "TILE", 64)
    monkeypatch.setattr(velocity_cuda, "LONGEST_CUT", 4)
    monkeypatch.setattr(velocity_cuda, "LANES", 32)
    return torch.device("cpu" if request.param == "interpreter" else "cuda")


@pytest.fixture
def compare(draw, device):
    """Return a function that steps the kernel and the plain path side by side."""

    def compare_(build, shapes, dtype=torch.float64, steps=2, missing=(2,)):
        ends = []
        for is_fused in (True, False):
            params = [torch.nn.Parameter(value.to(device)) for value in draw(shapes, dtype)]
            optimizer = build(params, is_fused)
            for step in range(steps):
                grads = [grad.to(device) for grad in draw(shapes, dtype, 1000 + step)]
                for place, (param, grad) in enumerate(zip(params, grads, strict=True)):
                    param.grad = None if step == 0 and place in missing else grad.clone()
                optimizer.step()
                for place, (param, grad) in enumerate(zip(params, grads, strict=True)):
                    assert param.grad is None or torch.equal(param.grad, grad), place
            ends.append([*params, *(optimizer.state[p].get("momentum_buffer") for p in params)])
        for ours, theirs in zip(*ends, strict=True):
            if theirs is not None:
                torch.testing.assert_close(ours, theirs, **CLOSE[dtype])

    return compare_


@pytest.fixture
def compare_chains(compare):
    """Return `compare` for a `DiffusionSGD` with some options."""

    def compare_(dtype=torch.float64, **options):
        options = {"lr": 0.1, "diffusion": 0.2} | options
        compare(
            lambda params, is_fused: DiffusionSGD(params, fused=is_fused, **options), CHAIN, dtype
        )

    return compare_


@pytest.fixture
def compare_velocities(compare):
    """Return `compare` for a `DiffusionNesterov` with some options."""

    def compare_(shapes, dtype=torch.float64, **options):
        options = {"lr": 0.1, "diffusion": 0.9} | options
        compare(
            lambda params, is_fused: DiffusionNesterov(params, fused=is_fused, **options),
            shapes,
            dtype,
        )

    return compare_


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_chain_equals_the_plain_path(compare_chains, boundary, max_norm):
    """A parameter that gets its gradient late, an empty one, odd sizes, decay and ascent."""
    compare_chains(
        momentum=0.9, weight_decay=0.1, maximize=True, boundary=boundary, max_norm=max_norm
    )


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.0},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "nesterov": True, "max_norm": 1e9},
        {"momentum": 0.9, "diffusion": 0.0},
    ],
    ids=str,
)
def test_chain_takes_every_option(compare_chains, options):
    compare_chains(**options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_chain_of_other_types(compare_chains, dtype, max_norm):
    compare_chains(dtype, momentum=0.9, weight_decay=0.1, max_norm=max_norm)


def test_chain_of_groups_of_their_own(compare):
    """Each element uses its own group's numbers, across the groups' border too."""

    def build(params, is_fused):
        groups = [
            {"params": params[:3], "lr": 0.5, "momentum": 0.0, "diffusion": 0.1},
            {"params": params[3:5], "weight_decay": 0.2, "diffusion": 0.0},
            {"params": params[5:], "nesterov": True, "maximize": True},
        ]
        return DiffusionSGD(groups, lr=0.1, momentum=0.9, diffusion=0.25, fused=is_fused)

    compare(build, CHAIN)


def test_chain_of_parts(draw, device, boundary):
    """Two halves that are told what lies beside them are stepped as the whole chain is."""
    sizes, cut = (20, 37, 5), 2
    ends = []
    for is_cut in (False, True):
        params = [torch.nn.Parameter(value.to(device)) for value in draw([(n,) for n in sizes])]
        for param, grad in zip(params, draw([(n,) for n in sizes], seed=1), strict=True):
            param.grad = grad.to(device)
        options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "diffusion": 0.2}
        options |= {"dampening": 0.0, "nesterov": False, "maximize": False, "max_norm": None}
        group = ActiveGroup(options | {"params": params, "boundary": boundary, "fused": True})
        buffers = [torch.zeros_like(param) for param in params]
        if is_cut:
            d = torch.cat([p.grad + 0.1 * p.detach() for p in params])
            d = torch.cat(
                [{"neumann": d[:1], "periodic": d[-1:], "dirichlet": 0 * d[:1]}[boundary], d]
            )
            d = torch.cat(
                [d, {"neumann": d[-1:], "periodic": d[1:2], "dirichlet": 0 * d[:1]}[boundary]]
            )
            starts = [0, 20, 57]
            beside = torch.stack([d[[s, s + n + 1]] for s, n in zip(starts, sizes, strict=True)])
            both = (slice(0, cut), slice(cut, None))
            for part in both:
                mine = ActiveGroup(group.options | {"params": params[part]})
                told = ChainNeighbours(beside[part].reshape(-1), [1] * len(mine.params))
                fused_cuda.step_chain([mine], [(buffers[part], [])], told)
        else:
            fused_cuda.step_chain([group], [(buffers, [])])
        ends.append(params)
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE[torch.float64])


def test_chain_of_nothing(compare):
    compare(lambda params, is_fused: DiffusionSGD(params, diffusion=0.1, fused=is_fused), ((0, 3),))


# With tiles of 64 cells, of 32 where rows are not of whole fours, and at most 4 rows: lines that
# fit; lines cut into rows of columns, aligned or not; narrow lines cut, aligned or not.
ROWS = ((3, 4), (2,), (9, 20), (0, 3), (5, 17), (40,), (20, 3), (10, 8), (1, 4), (2, 1), ())
INNER = ((2, 9, 20), (3, 11, 3), (1, 45, 1), (2, 2, 3, 1))
SEVERAL = ((2, 4, 3, 3), (5, 2, 1, 3), (1, 1, 4, 4), (2, 2, 1, 1))


def test_velocity_along_the_first_axis(compare_velocities, boundary):
    dims = (0,)
    compare_velocities([s for s in ROWS if s], dims=dims, boundary=boundary, weight_decay=0.1)


def test_velocity_along_an_inner_axis(compare_velocities, boundary):
    compare_velocities(INNER, dims=1, boundary=boundary, maximize=True)


def test_velocity_along_several_axes(compare_velocities, boundary):
    """The last two; and all axes, with plain tensors between them."""
    compare_velocities(SEVERAL, dims=(2, 3), boundary=boundary, weight_decay=0.1)
    compare_velocities(((), (3, 2), (4, 2, 3), (1,)), boundary=boundary, momentum=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_velocity_of_other_types(compare_velocities, dtype):
    compare_velocities(((9, 20), (5, 17), (20, 3)), dtype, dims=0, weight_decay=0.1)


def test_velocity_above_the_bound(compare_velocities):
    """Refined learning rate and momentum; and momentum without any diffusion."""
    compare_velocities(((9, 4), (5, 3)), dims=0, diffusion=2.0)
    compare_velocities(((9, 4), (5, 3)), dims=0, diffusion=0.0)


@pytest.mark.parametrize("name", ["_chain_plan", "_velocity_plan"])
def test_the_order_of_programs_changes_nothing(
    name, compare_chains, compare_velocities, monkeypatch
):
    """What a program needs of its neighbours it must not find changed by one that ran before it."""
    plan_ = getattr(fused_cuda, name)

    def backwards(*arguments):
        plan = plan_(*arguments)
        return plan._replace(**{plan._fields[0]: plan[0].flip(0)})

    monkeypatch.setattr(fused_cuda, name, backwards)
    if name == "_chain_plan":
        compare_chains(momentum=0.9, weight_decay=0.1, boundary="periodic", max_norm=0.5)
    else:
        compare_velocities(((9, 20), (5, 17), (20, 3)), dims=0, boundary="periodic")


def test_a_slab_that_is_too_long_goes_the_plain_way(device, monkeypatch):
    calls = []
    step = fused.step_velocity
    monkeypatch.setattr(fused, "step_velocity", lambda *a, **k: (calls.append(1), step(*a, **k)))
    for shape, taken in (((4, 8), 1), ((6, 6), 0)):
        calls.clear()
        param = torch.nn.Parameter(torch.ones(shape, device=device))
        param.grad = torch.ones_like(param)
        DiffusionNesterov([param], fused=True).step()
        assert len(calls) == taken


def test_nothing_but_its_own_tensors_is_written(device):
    """Windows into a larger memory, not aligned: the rest stays, versions are bumped."""
    memory = torch.full((100,), 7.0, device=device)
    for build in (
        lambda params: DiffusionNesterov(params, lr=0.1, dims=0, fused=True),
        lambda params: DiffusionSGD(params, lr=0.1, diffusion=0.1, weight_decay=0.1, fused=True),
    ):
        param = torch.nn.Parameter(memory[21:81].view(3, 20))
        param.grad = torch.ones_like(param)
        optimizer = build([param])
        before = param._version, param.grad._version
        for _ in range(2):
            optimizer.step()
        assert param._version > before[0]
        assert param.grad._version == before[1]
        assert torch.equal(memory[:21], torch.full_like(memory[:21], 7.0))
        assert torch.equal(memory[81:], torch.full_like(memory[81:], 7.0))
        assert torch.equal(param.grad, torch.ones_like(param))


def test_bad_gradients_stay_where_they_are(device):
    """One bad gradient reaches its neighbours and no further."""
    param = torch.nn.Parameter(torch.zeros(40, device=device))
    param.grad = torch.ones_like(param)
    param.grad[16] = float("nan")
    DiffusionSGD([param], lr=1.0, diffusion=0.2, fused=True).step()
    assert param.isnan().nonzero().flatten().tolist() == [15, 16, 17]
