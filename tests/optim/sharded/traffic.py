"""What a step sends. Run as `python traffic.py RANK WORLD FOLDER`; each process writes its own."""

import json
import sys
from pathlib import Path

import torch
from meeting import leave, meet
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from heatgrad.optim import DiffusionNesterov, DiffusionSGD
from heatgrad.optim.sharded import Exchange


def bytes_and_messages(build, rows, columns, mesh):
    """Return what this process sends in the second step."""
    params = [
        torch.nn.Parameter(distribute_tensor(torch.randn(rows, columns), mesh, [Shard(0)]))
        for _ in range(3)
    ]
    optimizer = build(params)
    for _ in range(2):
        Exchange.sent.clear()
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.step()
    return sum(Exchange.sent), len(Exchange.sent)


def main(rank, world, folder):
    meet(rank, world, folder)
    mesh = init_device_mesh("cpu", (world,))
    found = {}
    for rows in (12, 120):
        for name, build in {
            "chain": lambda ps: DiffusionSGD(ps, momentum=0.9, diffusion=0.2),
            "velocity": lambda ps: DiffusionNesterov(ps, dims=0),
            "velocity along rows": lambda ps: DiffusionNesterov(ps, dims=1),
        }.items():
            found[f"{name}, {rows} rows"] = bytes_and_messages(build, rows, 50, mesh)
    (Path(folder) / f"found{rank}.json").write_text(json.dumps(found))
    leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
