"""One of several processes that step the same optimizers on cut and on whole tensors.

Run as `python worker.py RANK WORLD FOLDER`; the first process writes what it finds to
FOLDER/found.json: for each case the largest difference to whole tensors on one process, and the
bytes that were sent.
"""

import itertools
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from heatgrad.optim import (
    DiffusionNesterov,
    DiffusionSGD,
    LaplacianSmoothingSGD,
    NormMatchedSGD,
    SobolevSGD,
    diffuse_gradients,
)
from heatgrad.optim.sharded import Exchange

# Uneven over 2, 3 and 4, smaller than the world, without elements, with one, long kernels.
SHAPES = ((7, 3, 3, 3), (7,), (1,), (2, 5), (0, 3), (), (5, 4, 2), (13, 2), (3,))
BOUNDARIES = ("neumann", "periodic", "dirichlet")
STEPS = 4
MOMENTUM = {"lr": 0.1, "momentum": 0.9}


def cases():
    """Name and constructor of each optimizer under test."""
    for boundary, foreach in itertools.product(BOUNDARIES, (False, True, None)):
        ends = {"boundary": boundary, "foreach": foreach}
        tag = f"{boundary}-{foreach}"
        yield (
            f"chain-{tag}",
            lambda ps, ends=ends: DiffusionSGD(ps, **MOMENTUM, diffusion=0.2, **ends),
        )
        yield (
            f"chain-all-{tag}",
            lambda ps, ends=ends: DiffusionSGD(
                ps,
                **MOMENTUM,
                diffusion=0.25,
                weight_decay=0.1,
                dampening=0.0,
                nesterov=True,
                max_norm=0.5,
                maximize=True,
                **ends,
            ),
        )
        for dims in (0, -1, None):
            yield (
                f"velocity-{dims}-{tag}",
                lambda ps, ends=ends, dims=dims: DiffusionNesterov(
                    [p for p in ps if p.dim() > 0],
                    **MOMENTUM,
                    dims=dims,
                    diffusion=0.9,
                    weight_decay=0.1,
                    **ends,
                ),
            )
    for mode in ("layer", "layer_literal", "centralize", "centralize_channel"):
        strength = 1.0 if mode.startswith("centralize") else 0.3
        yield (
            mode,
            lambda ps, mode=mode, strength=strength: DiffusionSGD(
                ps, **MOMENTUM, mode=mode, diffusion=strength, max_norm=1.0
            ),
        )
    yield "refined", lambda ps: DiffusionNesterov(ps[:2], **MOMENTUM, dims=0, diffusion=2.0)
    yield (
        "norm-matched",
        lambda ps: NormMatchedSGD(ps, **MOMENTUM, diffusion=0.2, weight_decay=0.1),
    )
    for boundary, sigma in itertools.product(BOUNDARIES, (0.1, 1.0, 30.0)):
        for kind in (LaplacianSmoothingSGD, SobolevSGD):
            yield (
                f"{kind.__name__}-{boundary}-{sigma}",
                lambda ps, kind=kind, boundary=boundary, sigma=sigma: kind(
                    ps, **MOMENTUM, diffusion=sigma, boundary=boundary
                ),
            )
    for mode in ("global", "layer", "centralize_channel"):
        yield (
            f"hook-{mode}",
            lambda ps, mode=mode: hooked(ps, mode, 0 if mode == "stencil" else None),
        )
    yield "hook-stencil", lambda ps: hooked(ps[:2], "stencil", 0)
    yield "hook-implicit", lambda ps: hooked(ps[:2], "implicit", 0)


def hooked(params, mode, dims):
    """AdamW on diffused gradients."""
    optimizer = torch.optim.AdamW(params, lr=0.1, foreach=False)
    diffuse_gradients(optimizer, 1.0 if mode == "centralize_channel" else 0.2, mode=mode, dims=dims)
    return optimizer


def layouts(world):
    """Name and `(number, shape) -> mesh and placements or None` of each way to cut tensors."""
    line = init_device_mesh("cpu", (world,))

    def shard(axis):
        return lambda k, shape: (line, [Shard(axis)]) if len(shape) > axis else None

    yield "fsdp", shard(0)
    yield "columns", shard(1)
    yield (
        "some",
        lambda k, shape: [shard(0)(k, shape), None, (line, [Replicate()])][k % 3],
    )
    if world == 4:
        grid = init_device_mesh("cpu", (2, 2))
        yield (
            "replicas",
            lambda k, shape: (grid, [Replicate(), Shard(0)]) if shape else None,
        )
        yield (
            "both axes",
            lambda k, shape: (
                (grid, [Shard(0), Shard(1)])
                if len(shape) > 1
                else (grid, [Shard(0), Shard(0)])
                if shape
                else None
            ),
        )
        yield (
            "a mesh each",
            lambda k, shape: (
                (grid, [Replicate(), Shard(len(shape) - 1)])
                if len(shape) > 1 and k % 2
                else (grid, [Shard(0), Replicate()])
                if shape
                else None
            ),
        )


def normal(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def cut(tensor, place):
    return tensor if place is None else distribute_tensor(tensor, *place, src_data_rank=None)


def run(build, where):
    """Return parameters and momentum buffers after some steps, whole."""
    places = [where(k, shape) for k, shape in enumerate(SHAPES)]
    params = [
        torch.nn.Parameter(cut(value, place))
        for value, place in zip(normal(SHAPES, 0), places, strict=True)
    ]
    optimizer = build(params)
    for step in range(STEPS):
        for k, (param, grad) in enumerate(zip(params, normal(SHAPES, 1 + step), strict=True)):
            param.grad = None if step == 0 and k == 3 else cut(grad, places[k])
        optimizer.step()
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


def main(rank, world, folder):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    torch.set_num_threads(1)
    sent = [0]
    start = Exchange.start

    def counted(self, *args):
        pending = start(self, *args)
        sent[0] += pending.num_bytes
        return pending

    Exchange.start = counted
    found = {}
    wholes = {name: run(build, lambda k, shape: None) for name, build in cases()}
    for how, where in layouts(world):
        for name, build in cases():
            sent[0] = 0
            try:
                found[f"{how}: {name}"] = (error(run(build, where), wholes[name]), sent[0])
            except RuntimeError as refusal:
                if "sharded" not in str(refusal):
                    raise
                found[f"{how}: {name}"] = (str(refusal), 0)
    every = [None] * world
    dist.all_gather_object(every, found)
    if rank == 0:
        (Path(folder) / "found.json").write_text(json.dumps(every))
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
