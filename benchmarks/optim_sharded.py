"""Time of one optimizer step on parameters that are cut over processes, and what it sends.

    python benchmarks/optim_sharded.py --shapes resnet101 --processes 2 --out benchmarks/results

Every tensor is a DTensor with Shard(0), as FSDP2 makes them; each process has one thread.
Optimizers take turns, round by round; a step's time is that of the slowest process.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from optim_step import MOMENTUM, SHAPES, keep, processor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.multiprocessing import spawn

from heatgrad.optim import DiffusionNesterov, DiffusionSGD
from heatgrad.optim.sharded import Exchange


def optimizers(params: list[torch.nn.Parameter]) -> dict[str, torch.optim.Optimizer]:
    """Return what is compared, by name."""
    nesterov = MOMENTUM | {"nesterov": True}
    local = [torch.nn.Parameter(p.detach().to_local().clone()) for p in params]
    for param in local:
        param.grad = torch.randn_like(param)
    kernels = [p for p in params if p.dim() == 4]
    others = [p for p in params if p.dim() != 4]
    conv_out = [
        {"params": kernels, "dims": 0},
        {"params": others, "dims": (), "diffusion": 0.0},
    ]
    return {
        "SGD on DTensors": torch.optim.SGD(params, **MOMENTUM),
        "SGD on DTensors, foreach": torch.optim.SGD(params, **MOMENTUM, foreach=True),
        "SGD on plain local tensors": torch.optim.SGD(local, **MOMENTUM),
        "SGD on plain local tensors, fused": torch.optim.SGD(local, **MOMENTUM, fused=True),
        "DiffusionSGD": DiffusionSGD(params, **MOMENTUM, diffusion=0.1),
        "Nesterov on DTensors": torch.optim.SGD(params, **nesterov),
        "Nesterov on plain local tensors": torch.optim.SGD(local, **nesterov),
        "DiffusionNesterov, conv output": DiffusionNesterov(conv_out, **MOMENTUM),
    }


def work(rank: int, world: int, shapes: list[tuple[int, ...]], rounds: int, folder: str) -> None:
    """Measure in one process; the first one writes the result."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    mesh = init_device_mesh("cpu", (world,))
    params = []
    for shape in shapes:
        place = (mesh, [Shard(0)])
        params.append(torch.nn.Parameter(distribute_tensor(torch.randn(shape), *place)))
        params[-1].grad = distribute_tensor(torch.randn(shape), *place)
    compared = optimizers(params)
    sent = dict.fromkeys(compared, 0)
    for optimizer in compared.values():
        optimizer.step()  # buffers and plans are made, kernels compiled
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for _ in range(rounds):
        for name, optimizer in compared.items():
            dist.barrier()
            Exchange.sent.clear()
            started = time.perf_counter()
            optimizer.step()
            seconds[name].append(time.perf_counter() - started)
            sent[name] += sum(Exchange.sent)
    slowest = torch.tensor(list(seconds.values()))
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    if rank == 0:
        found = {
            name: {"seconds": statistics.median(times), "bytes": sent[name] // rounds}
            for name, times in zip(compared, slowest.tolist(), strict=True)
        }
        Path(folder, "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def main() -> None:
    """Measure, print the table, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shapes", choices=SHAPES, default="resnet18")
    parser.add_argument("--processes", default=2, type=int)
    parser.add_argument("--rounds", default=15, type=int)
    parser.add_argument("--out", type=Path, help="folder for a JSON file of the numbers")
    arguments = parser.parse_args()
    shapes = SHAPES[arguments.shapes]
    with tempfile.TemporaryDirectory() as folder:
        spawn(work, (arguments.processes, shapes, arguments.rounds, folder), arguments.processes)
        found = json.loads(Path(folder, "found.json").read_text())
    num_params = sum(torch.Size(shape).numel() for shape in shapes)
    where = f"{processor(torch.device('cpu'))}, {arguments.processes} processes of one thread"
    print(f"{arguments.shapes}: {num_params:,} parameters, {len(shapes)} tensors, {where}\n")
    print("| step | ms | to SGD on DTensors | to SGD on plain local tensors | bytes sent |")
    print("|---|---|---|---|---|")
    for name, of_name in found.items():
        kind = "Nesterov" if "Nesterov" in name else "SGD"
        bases = (found[f"{kind} on DTensors"], found[f"{kind} on plain local tensors"])
        ratios = [f"{of_name['seconds'] / base['seconds']:.2f}" for base in bases]
        milliseconds = f"{1e3 * of_name['seconds']:.2f}"
        print(f"| {name} | {milliseconds} | {' | '.join(ratios)} | {of_name['bytes']:,} |")
    if arguments.out:
        path = arguments.out / f"optim_sharded-{arguments.shapes}-{arguments.processes}.json"
        kept = {"shapes": arguments.shapes, "num_params": num_params, "found": found}
        keep(kept, path, where, arguments.rounds)


if __name__ == "__main__":
    main()
