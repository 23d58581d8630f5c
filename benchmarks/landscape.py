"""Time a loss surface beside a plain loop, and measure the memory of a Hessian's spectrum.

`python benchmarks/landscape.py --out benchmarks/results` computes a surface of 51 x 51 places
around a SimpleMLP on 10,000 points of the spiral, batch statistics estimated anew at each, as
`surface` does and as one would write it, in turns, and compares the numbers. It prints how far both
are from the matrix products alone. `--spectrum` takes the spectrum of MediumMLP on all of MNIST
(HEATGRAD_DATA set), with the most memory that its process had. `--device cuda` is for a GPU.
"""

import argparse
import copy
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import update_bn

from heatgrad.data import MNIST, Spiral
from heatgrad.landscape import DataLoss, hessian_spectrum, surface
from heatgrad.landscape.threads import in_threads
from heatgrad.models import MediumMLP, SimpleMLP

sys.path.insert(0, str(Path(__file__).parent))
from optim_step import keep, processor

Plane = tuple[list[Tensor], list[Tensor]]


def trained(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> nn.Module:
    """Train a network for a moment."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        rows = torch.arange(128, device=x.device) + 128 * step
        optimizer.zero_grad()
        cross_entropy(model(x[rows % len(x)]), y[rows % len(x)]).backward()
        optimizer.step()
    return model.eval()


def plain_loop(
    model: nn.Module, x: Tensor, y: Tensor, plane: Plane, at: np.ndarray, size: int
) -> np.ndarray:
    """Return the surface as one would write it: set weights, `update_bn`, evaluate.

    Dropout is off in `update_bn`, which would have it on: it is taken out of the network.
    """
    model = copy.deepcopy(model)
    layers = [m for m in model.layers if "Dropout" not in type(m).__name__]
    walker = nn.Sequential(*layers)
    start = [p.detach().clone() for p in walker.parameters()]
    batches = list(zip(x.split(size), y.split(size), strict=True))
    inputs = [x for x, _ in batches]
    losses = np.empty((len(at), len(at)))
    with torch.no_grad():
        for row, b in enumerate(at):
            for column, a in enumerate(at):
                for p, p0, d, e in zip(walker.parameters(), start, *plane, strict=True):
                    p.copy_(p0 + a * d + b * e)
                update_bn(inputs, walker)
                walker.eval()
                total = sum(cross_entropy(walker(x), y) * len(y) for x, y in batches)
                losses[row, column] = float(total) / len(y)
    return losses


def products_alone(x: Tensor, places: int, size: int) -> float:
    """Take the matrix products of all places and nothing else, places side by side on a CPU."""
    shapes = (2, 128), (128, 128), (128, 2)
    first, second, last = (torch.randn(shape, device=x.device) for shape in shapes)

    def one() -> Callable[[int], None]:
        room = [torch.empty(size, w.shape[1], device=x.device) for w in (first, second, last)]

        def products(_: int) -> None:
            for part in x.split(size):
                one, two, three = (t[: len(part)] for t in room)
                for _ in range(2):
                    torch.mm(part, first, out=one)
                    torch.mm(one, second, out=two)
                torch.mm(two, last, out=three)

        return products

    if x.is_cuda:
        for place in range(places):
            one()(place)
    else:
        in_threads(one, range(places))
    return now(x.device)


def now(device: torch.device) -> float:
    """Return the time, with nothing under way on the device [s]."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def time_surfaces(device: torch.device, points: int, rounds: int, size: int) -> dict[str, Any]:
    """Return the seconds of each way, in turns, and how far their losses are apart."""
    data = Spiral(turns=2.0, radius=3.0, num_samples=12_500).load(0)
    x, y = data.x_train[:10_000].to(device), data.y_train[:10_000].to(device)
    torch.manual_seed(0)
    model = trained(SimpleMLP((2,), 2).to(device), x, y, 500)
    loss = DataLoss(cross_entropy, (x, y), batch_size=size)
    generator = torch.Generator().manual_seed(1)
    plane = tuple(
        [0.1 * torch.randn(p.shape, generator=generator).to(device) for p in model.parameters()]
        for _ in range(2)
    )
    at = np.linspace(-1, 1, points)
    ways: dict[str, Callable[[], Any]] = {
        "plain loop": lambda: plain_loop(model, x, y, plane, at, size),
        "heatgrad": lambda: surface(model, loss, plane, points=points).losses,
        "matrix products alone": lambda: products_alone(x, points**2, size),
    }
    for way in ways.values():  # warm
        way() if points <= 11 else None
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Any] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = now(device)
            found[name] = way()
            seconds[name].append(now(device) - started)
    apart = np.abs(found["plain loop"] - found["heatgrad"]).max()
    print(f"largest difference of the losses: {apart:.2g} of {found['plain loop'].max():.3g}\n")
    return {"seconds": seconds, "difference": float(apart)}


def measure_spectrum(
    device: torch.device, vectors: int, steps: int, at_once: int
) -> dict[str, float]:
    """Take a spectrum of MediumMLP on MNIST; return seconds, memory [GB] and what it found."""
    data = MNIST().load(0)
    x, y = data.x_train.to(device), data.y_train.to(device)
    torch.manual_seed(0)
    model = trained(MediumMLP((1, 28, 28), 10).to(device), x, y, 500)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started = now(device)
    loss = DataLoss(cross_entropy, (x, y))
    found = hessian_spectrum(model, loss, vectors=vectors, steps=steps, at_once=at_once)
    seconds = now(device) - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device) / 1e9
    print(
        f"spectrum of {found.size:,} parameters over {len(y):,} images, {vectors} vectors, {steps} "
        f"steps: {seconds:.0f} s; the process held {memory:.2f} GB at most ({before:.2f} before)\n"
        f"largest eigenvalue {found.largest.value:.4g} (residual {found.largest.residual:.1e}), "
        f"smallest {found.smallest.value:.4g}, trace {found.trace:.4g} +- {found.trace_error:.2g}, "
        f"negative mass {found.negative_mass:.3f}"
    )
    return {
        "seconds": seconds,
        "memory_gb": memory,
        "memory_before_gb": before,
        "largest": found.largest.value,
        "residual": found.largest.residual,
        "trace": found.trace,
    }


def main() -> None:
    """Measure, print a table, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--points", default=51, type=int, help="along each side")
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--batch-size", default=1000, type=int)
    parser.add_argument("--spectrum", action="store_true", help="and no surface")
    parser.add_argument("--vectors", default=10, type=int)
    parser.add_argument("--steps", default=100, type=int)
    parser.add_argument("--at-once", default=2, type=int, help="vectors that share a pass")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="folder for a JSON file of the numbers")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    where = processor(device)
    where += f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    if arguments.spectrum:
        name = "landscape_spectrum"
        numbers: dict[str, Any] = measure_spectrum(
            device, arguments.vectors, arguments.steps, arguments.at_once
        )
    else:
        name = "landscape_surface"
        numbers = time_surfaces(device, arguments.points, arguments.rounds, arguments.batch_size)
        print(f"{arguments.points} x {arguments.points} places, {where}\n")
        print("| way | ms a place | plain loop's time / its time |")
        print("|---|---|---|")
        base = statistics.median(numbers["seconds"]["plain loop"])
        for way, seconds in numbers["seconds"].items():
            middle = statistics.median(seconds)
            print(f"| {way} | {1e3 * middle / arguments.points**2:.2f} | {base / middle:.2f} |")
    if arguments.out:
        keep(numbers, arguments.out / f"{name}-{device.type}.json", where, arguments.rounds)


if __name__ == "__main__":
    main()
