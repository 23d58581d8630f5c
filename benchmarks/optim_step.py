"""Time and memory of one optimizer step, every path against torch's SGD.

    python benchmarks/optim_step.py --shapes resnet101 --out benchmarks/results

Optimizers take turns, round by round and in each round in another order, so that whatever else the
machine does, and what a step leaves in the cache, meets all of them; they share parameters,
gradients and momentum buffers, since two arrays that lie elsewhere in memory may differ in speed.
Medians and ratios are shown. The least traffic of a step with momentum is 20 bytes a parameter in
float32 (read g, read and write p and v): the column "of the limit" compares with the time that
this takes at the bandwidth of adding one array to another, measured in the same rounds. The last
column is the memory that a step needs for a moment, beyond parameters, gradients and momentum
buffers.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import torch

from heatgrad.optim import DiffusionNesterov, DiffusionSGD

MOMENTUM = {"lr": 1e-5, "momentum": 0.9}
LIMIT = "20 bytes a parameter"


def bottleneck(wide: int, narrow: int, blocks: int, first: int) -> list[tuple[int, ...]]:
    """Return the shapes of a stage of ResNet bottlenecks."""
    shapes: list[tuple[int, ...]] = []
    for block in range(blocks):
        inputs = first if block == 0 else wide
        convolutions = [(narrow, inputs, 1, 1), (narrow, narrow, 3, 3), (wide, narrow, 1, 1)]
        if block == 0:
            convolutions.append((wide, inputs, 1, 1))
        for shape in convolutions:
            shapes += [shape, shape[:1], shape[:1]]
    return shapes


def basic(wide: int, first: int) -> list[tuple[int, ...]]:
    """Return the shapes of a stage of two basic ResNet blocks."""
    convolutions = [(wide, first, 3, 3), *[(wide, wide, 3, 3)] * 3]
    if first != wide:
        convolutions.append((wide, first, 1, 1))
    return [part for shape in convolutions for part in (shape, shape[:1], shape[:1])]


STEM = [(64, 3, 7, 7), (64,), (64,)]
SHAPES = {
    "million": [(256, 256, 3, 3), (256,), (256,), (1000, 410)],
    "resnet18": [
        *STEM,
        *basic(64, 64),
        *basic(128, 64),
        *basic(256, 128),
        *basic(512, 256),
        (1000, 512),
        (1000,),
    ],
    "resnet101": [
        *STEM,
        *bottleneck(256, 64, 3, 64),
        *bottleneck(512, 128, 4, 256),
        *bottleneck(1024, 256, 23, 512),
        *bottleneck(2048, 512, 3, 1024),
        (1000, 2048),
        (1000,),
    ],
}


def optimizers(params: list[torch.nn.Parameter]) -> dict[str, torch.optim.Optimizer]:
    """Return what is compared, by name; all share the parameters and gradients."""
    nesterov = MOMENTUM | {"nesterov": True}
    kernels = [p for p in params if p.dim() == 4]
    others = [p for p in params if p.dim() != 4]

    def conv_out() -> list[dict[str, object]]:
        # Made anew: an optimizer writes its options into the dicts that it is given.
        return [
            {"params": kernels, "dims": 0},
            {"params": others, "dims": (), "diffusion": 0.0},
        ]

    sgd = torch.optim.SGD
    return {
        "SGD, for-loop": sgd(params, **MOMENTUM, foreach=False),
        "SGD, foreach": sgd(params, **MOMENTUM, foreach=True),
        "SGD, fused": sgd(params, **MOMENTUM, fused=True),
        "DiffusionSGD, plain": DiffusionSGD(params, **MOMENTUM, diffusion=0.1, foreach=False),
        "DiffusionSGD, foreach": DiffusionSGD(params, **MOMENTUM, diffusion=0.1, foreach=True),
        "DiffusionSGD, fused": DiffusionSGD(params, **MOMENTUM, diffusion=0.1, fused=True),
        "DiffusionSGD, fused, clipped": DiffusionSGD(
            params, **MOMENTUM, diffusion=0.1, fused=True, max_norm=1.0
        ),
        "Nesterov, for-loop": sgd(params, **nesterov, foreach=False),
        "Nesterov, foreach": sgd(params, **nesterov, foreach=True),
        "Nesterov, fused": sgd(params, **nesterov, fused=True),
        "DiffusionNesterov, plain": DiffusionNesterov(conv_out(), **MOMENTUM, foreach=False),
        "DiffusionNesterov, foreach": DiffusionNesterov(conv_out(), **MOMENTUM, foreach=True),
        "DiffusionNesterov, fused": DiffusionNesterov(conv_out(), **MOMENTUM, fused=True),
    }


def timed(step: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(
    shapes: list[tuple[int, ...]],
    device: torch.device,
    rounds: int,
    *,
    only: str = "",
    replayed: bool = False,
) -> dict[str, float]:
    """Return the median seconds of a step, by name, over interleaved rounds.

    `only` keeps the paths whose names end so.
    Steps that are replayed from a CUDA graph take the time of the device alone.
    """
    params = [torch.nn.Parameter(torch.randn(shape, device=device)) for shape in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    compared = {name: o for name, o in optimizers(params).items() if name.endswith(only)}
    for param in params:
        buffer = torch.zeros_like(param)
        for optimizer in compared.values():
            optimizer.state[param]["momentum_buffer"] = buffer
    steps = {name: optimizer.step for name, optimizer in compared.items()}
    for step in steps.values():
        step()  # kernels are compiled
        step()
    if replayed:
        steps = {name: captured(step) for name, step in steps.items()}
    steps[LIMIT] = traffic(sum(param.numel() for param in params), device)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order = Random(0)
    for _ in range(rounds):
        for name in order.sample(list(steps), len(steps)):
            seconds[name].append(timed(steps[name], device))
    return {name: statistics.median(values) for name, values in seconds.items()}


def captured(step: Callable[[], object]) -> Callable[[], object]:
    """Return a function that replays a step from a CUDA graph."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def traffic(num_params: int, device: torch.device) -> Callable[[], object]:
    """Return a function that moves 20 bytes a parameter and does nothing else with them."""
    # Adding in place reads two arrays and writes one: 12 bytes an element.
    a, b = (torch.zeros(num_params * 20 // 12, device=device) for _ in range(2))
    return lambda: a.add_(b)


def passing_memory(name: str, shapes: list[tuple[int, ...]], device: torch.device) -> int:
    """Return the bytes that a step takes for a moment, beyond what stays. Linux, or CUDA."""
    params = [torch.nn.Parameter(torch.randn(shape, device=device)) for shape in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    optimizer = optimizers(params)[name]
    optimizer.step()
    optimizer.step()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        optimizer.step()
        return torch.cuda.max_memory_allocated(device) - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = resident("VmHWM")
    optimizer.step()
    return max(0, resident("VmHWM") - before)


def resident(field: str) -> int:
    """Return a field of the kernel's account of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def all_passing_memory(arguments: argparse.Namespace) -> dict[str, int]:
    """Measure each path in a process of its own, whose allocator gives back what is freed."""
    names = optimizers([torch.nn.Parameter(torch.zeros(1, 1, 1, 1))])
    command = [sys.executable, __file__, "--shapes", arguments.shapes]
    command += ["--device", str(arguments.device), "--memory-of"]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return {
        name: int(subprocess.check_output([*command, name], env=environment, text=True))
        for name in names
        if name.endswith(arguments.only)
    }


def table(seconds: dict[str, float], memory: dict[str, int], num_params: int) -> str:
    """Return the results as Markdown."""
    lines = [
        "| path | ms | to torch's fused | to torch's foreach | to torch's for-loop "
        "| of the limit | passing bytes a parameter |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, value in seconds.items():
        if name == LIMIT:
            continue
        kind = "Nesterov" if "Nesterov" in name else "SGD"
        bases = [*(f"{kind}, {path}" for path in ("fused", "foreach", "for-loop")), LIMIT]
        ratios = [f"{value / seconds[base]:.2f}" if base in seconds else "" for base in bases]
        cells = [f"{1e3 * value:.2f}", *ratios]
        lines.append(f"| {name} | {' | '.join(cells)} | {memory[name] / num_params:.2f} |")
    rate = 20 * num_params / seconds[LIMIT] / 1e9
    lines.append(f"\nThe limit: 20 bytes a parameter at {rate:.1f} GB/s.")
    return "\n".join(lines)


def processor(device: torch.device) -> str:
    """Return what the steps ran on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def keep(kept: dict[str, Any], path: Path, where: str, rounds: int) -> None:
    """Write numbers to a JSON file, with what they were measured on and when."""
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {"torch": torch.__version__, "date": date.today().isoformat(), "rounds": rounds}
    path.write_text(json.dumps(kept | {"where": where} | how, indent=1) + "\n", encoding="utf-8")
    print(f"\n{path}")


def main() -> None:
    """Measure, print the table, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shapes", choices=SHAPES, default="resnet18")
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--rounds", default=15, type=int)
    parser.add_argument("--only", default="", help="paths whose names end so: ', fused'")
    parser.add_argument("--out", type=Path, help="folder for a JSON file of the numbers")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shapes = SHAPES[arguments.shapes]
    if arguments.memory_of:
        print(passing_memory(arguments.memory_of, shapes, arguments.device))
        return
    num_params = sum(torch.Size(shape).numel() for shape in shapes)
    seconds = measure(shapes, arguments.device, arguments.rounds, only=arguments.only)
    where = f"{processor(arguments.device)}, {torch.get_num_threads()} threads"
    print(f"{arguments.shapes}: {num_params:,} parameters, {len(shapes)} tensors, {where}\n")
    memory = all_passing_memory(arguments)
    print(table(seconds, memory, num_params))
    replays = None
    if arguments.device.type == "cuda":
        replays = measure(
            shapes, arguments.device, arguments.rounds, only=arguments.only, replayed=True
        )
        print(f"\nReplayed from a CUDA graph:\n\n{table(replays, memory, num_params)}")
    if arguments.out:
        name = arguments.shapes + arguments.only.replace(", ", "-")
        path = arguments.out / f"optim_step-{name}-{arguments.device.type}.json"
        kept = {"shapes": arguments.shapes, "num_params": num_params, "seconds": seconds}
        kept |= {"seconds_replayed": replays, "passing_bytes": memory}
        keep(kept, path, where, arguments.rounds)


if __name__ == "__main__":
    main()
