"""One of several processes that step the same optimizers on cut and on whole tensors.

Run as `python worker.py RANK WORLD FOLDER [all]`; the first process writes what it finds to
FOLDER/found.json: for each case the largest difference to whole tensors on one process, and the
bytes that were sent.
"""

import itertools
import json
import sys
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from meeting import leave, meet
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard

from heatgrad.optim import (
    DiffusionNesterov,
    DiffusionSGD,
    LaplacianSmoothingSGD,
    LayoutDiffusionSGD,
    LRMatchedSGD,
    NormMatchedSGD,
    SobolevSGD,
    diffuse_gradients,
)
from heatgrad.optim.sharded import Exchange

# Uneven over 2, 3 and 4, smaller than the world, without elements, with one, long kernels.
SHAPES = ((7, 3, 3, 3), (7,), (1,), (2, 5), (0, 3), (), (5, 4, 2), (13, 2), (3,), (3, 1))
# Other types, and the factor that brings their rounding to that of float64.
DTYPES = {torch.float32: 1e-7, torch.complex64: 1e-7, torch.bfloat16: 1e-11}
NARROW = ("chain-neumann-False", "chain-all-dirichlet-None", "velocity-0-neumann-False", "layer")
BOUNDARIES = ("neumann", "periodic", "dirichlet")
STEPS = 3
MOMENTUM = {"lr": 0.1, "momentum": 0.9}
EVERYTHING = {
    **MOMENTUM,
    "weight_decay": 0.1,
    "nesterov": True,
    "max_norm": 0.5,
    "maximize": True,
}


def cases(*, thorough):
    """Name and constructor of each optimizer under test."""
    pairs = list(itertools.product(BOUNDARIES, (False, True, None)))
    for boundary, foreach in pairs if thorough else (pairs[0], pairs[4], pairs[8]):
        ends = {"boundary": boundary, "foreach": foreach}
        tag = f"{boundary}-{foreach}"
        yield f"chain-{tag}", partial(DiffusionSGD, **MOMENTUM, diffusion=0.2, **ends)
        yield f"chain-all-{tag}", partial(DiffusionSGD, **EVERYTHING, diffusion=0.25, **ends)
        for dims in (0, -1, None):
            options = {"dims": dims, "diffusion": 0.9, "weight_decay": 0.1}
            yield f"velocity-{dims}-{tag}", partial(velocity, **options, **ends)
    yield "off and on", off_and_on
    for mode in ("layer", "layer_literal", "centralize", "centralize_channel"):
        strength = 1.0 if mode.startswith("centralize") else 0.3
        options = {"mode": mode, "diffusion": strength, "max_norm": 1.0}
        yield mode, partial(DiffusionSGD, **MOMENTUM, **options)
    yield "refined", partial(velocity, dims=0, diffusion=2.0)
    yield "norm-matched", partial(NormMatchedSGD, **MOMENTUM, diffusion=0.2, weight_decay=0.1)
    yield "lr-matched", partial(LRMatchedSGD, **EVERYTHING, diffusion=0.2)
    for boundary, foreach in pairs if thorough else (pairs[0], pairs[4], pairs[8]):
        ends = {"boundary": boundary, "foreach": foreach}
        layout = partial(LayoutDiffusionSGD, **EVERYTHING, diffusion=0.2, **ends)
        yield f"layout-{boundary}-{foreach}", layout
    pairs = list(itertools.product(BOUNDARIES, (0.1, 1.0, 30.0)))
    for boundary, sigma in pairs if thorough else (pairs[1], pairs[3], pairs[8]):
        options = {"boundary": boundary, "diffusion": sigma}
        for kind in (LaplacianSmoothingSGD, SobolevSGD):
            yield f"{kind.__name__}-{boundary}-{sigma}", partial(kind, **MOMENTUM, **options)
    for mode in ("global", "layer", "centralize_channel", "stencil", "implicit"):
        yield f"hook-{mode}", partial(hooked, mode=mode)


def off_and_on(params):
    """Of a column cut along its one cell one process holds all: the others go another way."""
    chosen = [p for p in params if p.dim() == 1 or p.shape[1:] == (1,)]
    return DiffusionSGD(chosen, **MOMENTUM, diffusion=0.2, fused=True)


def velocity(params, **options):
    """A scalar has no axis to diffuse along."""
    return DiffusionNesterov([p for p in params if p.dim() > 0], **MOMENTUM, **options)


def hooked(params, mode):
    """AdamW on diffused gradients."""
    optimizer = torch.optim.AdamW([p for p in params if p.dim() > 0], lr=0.1, foreach=False)
    strength = 1.0 if mode == "centralize_channel" else 0.2
    diffuse_gradients(optimizer, strength, mode=mode, dims=0)
    return optimizer


def layouts(world):
    """Name and `(number, shape) -> mesh and placements, or None` of each way to cut tensors."""
    line = init_device_mesh("cpu", (world,))

    def shard(axis):
        return lambda k, shape: (line, [Shard(axis)]) if len(shape) > axis else None

    yield "fsdp", shard(0)
    if world < 4:
        yield "columns", shard(1)
        yield "some", lambda k, shape: [shard(0)(k, shape), None, (line, [Replicate()])][k % 3]
        return
    grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("first", "second"))

    def on_grid(first, second):
        return lambda k, shape: (grid, [first, second]) if len(shape) > 1 else None

    yield "replicas", on_grid(Replicate(), Shard(0))
    yield "both axes", on_grid(Shard(0), Shard(1))
    yield "one axis twice", on_grid(Shard(0), Shard(0))
    yield "fsdp over rows", on_grid(_StridedShard(0, split_factor=2), Shard(0))
    yield (
        "a mesh each",
        lambda k, shape: (
            on_grid(Replicate(), Shard(len(shape) - 1))(k, shape)
            if k % 2
            else (grid["first"], [Shard(0)])
            if shape
            else None
        ),
    )


def nowhere(k, shape):
    """Cut nothing."""


def normal(shapes, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    wide = torch.promote_types(dtype, torch.float64)
    return [torch.randn(shape, generator=generator, dtype=wide).to(dtype) for shape in shapes]


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def cut(tensor, place):
    return tensor if place is None else distribute_tensor(tensor, *place, src_data_rank=None)


def run(build, where, dtype=torch.float64):
    """Return parameters and momentum buffers after some steps, whole."""
    places = [where(k, shape) for k, shape in enumerate(SHAPES)]
    params = [
        torch.nn.Parameter(cut(value, place))
        for value, place in zip(normal(SHAPES, 0, dtype), places, strict=True)
    ]
    optimizer = build(params)
    for step in range(STEPS):
        for k, (param, grad) in enumerate(
            zip(params, normal(SHAPES, 1 + step, dtype), strict=True)
        ):
            param.grad = None if step == 0 and k == 3 else cut(grad, places[k])
        strength = optimizer.param_groups[0].get("diffusion")
        if step == 1 and optimizer.defaults.get("fused"):  # nothing diffuses in between
            optimizer.param_groups[0]["diffusion"] = 0.0
        optimizer.step()
        if strength is not None:
            optimizer.param_groups[0]["diffusion"] = strength
    state = [optimizer.state[p].get("momentum_buffer") for p in params if p in optimizer.state]
    for param, place in zip(params, places, strict=True):
        buffer = optimizer.state.get(param, {}).get("momentum_buffer")
        if place is not None and buffer is not None:
            assert buffer.placements == param.placements
    return [whole(x.detach()) for x in [*params, *(s for s in state if s is not None)]]


def error(ours, theirs):
    assert len(ours) == len(theirs)
    return max(
        ((a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True) if a.numel()),
        default=0.0,
    )


def main(rank, world, folder, *, thorough):
    meet(rank, world, folder)
    found = {}
    builds = dict(cases(thorough=thorough))
    wholes = {name: run(build, nowhere) for name, build in builds.items()}
    for how, where in layouts(world):
        for name, build in builds.items():
            Exchange.sent.clear()
            ours = run(build, where)
            found[f"{how}: {name}"] = (error(ours, wholes[name]), sum(Exchange.sent))
            for dtype in DTYPES if how == "fsdp" and name in NARROW else ():
                ours, theirs = (run(build, there, dtype) for there in (where, nowhere))
                distance = error(ours, theirs) * DTYPES[dtype]
                found[f"{how}: {name} {dtype}"] = (distance, sum(Exchange.sent))
    every = [None] * world
    dist.all_gather_object(every, found)
    if rank == 0:
        (Path(folder) / "found.json").write_text(json.dumps(every))
    leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], thorough="all" in sys.argv)
