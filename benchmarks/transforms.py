"""Time the transforms of the Laplacian against the size of the grid, fast sizes and slow ones.

`OMP_NUM_THREADS=1 python benchmarks/transforms.py --out benchmarks/results` times one line's DST-I,
DCT-II and DFT (float64, batches of equal bytes) at sizes whose FFT lengths have small prime factors
and at sizes whose FFT lengths are a prime, or twice a prime, and fits the slope of the time against
n log n on log-log axes: 1 is O(n log n). The physical limit beside it is the traffic of reading
and writing the lines once, at the bandwidth of a copy in the same run. A last table times a
Poisson solve of 16 fields at the sizes that problems use.
"""

import argparse
import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from heatgrad.laplacian import BOUNDARIES, Laplacian
from heatgrad.laplacian.speed import transform_speed
from heatgrad.pde import Poisson

sys.path.insert(0, str(Path(__file__).parent))
from optim_step import keep, processor

NUMBERS = 2**19  # in a batch of lines: a size that neither hides the calls nor fits the first cache
HEAD = (
    "transform",
    "n",
    "FFT length",
    "largest prime",
    "slow",
    "us a line",
    "ns / (n log2 n)",
    "of the limit",
)


def is_prime(n: int) -> bool:
    """Say whether n is a prime."""
    return n > 1 and all(n % factor for factor in range(2, math.isqrt(n) + 1))


def sizes(boundary: str, largest: int) -> tuple[list[int], list[int]]:
    """Return sizes of fast and of slow transforms, about a factor of 2 apart."""
    fast, slow = [], []
    power = 64
    while power <= largest:
        prime = next(n for n in range(power + 1, 2 * power) if is_prime(n))
        offset = 1 if boundary == "dirichlet" else 0
        fast.append(power - offset)
        slow.append(prime - offset)
        power *= 2
    return fast, slow


def seconds(function: Callable[[], object], rounds: int) -> float:
    """Return the least time of a call of the processor, after one to warm up."""
    function()
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        function()
        taken.append(time.process_time() - began)
    return min(taken)


def lines(n: int) -> Tensor:
    """Return a batch of random lines."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(max(1, NUMBERS // n), n, generator=generator, dtype=torch.float64)


def table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    body = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in body)


def measure(largest: int, rounds: int) -> tuple[list[list[str]], list[str]]:
    """Return the rows of the table and a line for each fitted slope."""
    x = lines(1024)
    rate = 2 * x.numel() * 8 / seconds(x.clone, rounds)
    rows, slopes = [], []
    for boundary in BOUNDARIES:
        transform = Laplacian(dims=-1, boundary=boundary).transform
        for kind, group in zip(("fast", "slow"), sizes(boundary, largest), strict=True):
            work, taken = [], []
            for n in group:
                batch = lines(n)
                each = seconds(lambda t=transform, b=batch: t(b), rounds) / len(batch)
                speed = transform_speed(n, boundary)
                work.append(n * math.log2(n))
                taken.append(each)
                rows.append([
                    boundary, str(n), str(speed.length), str(speed.largest_prime),
                    "yes" if speed.is_slow else "no", f"{each * 1e6:.2f}",
                    f"{each * 1e9 / work[-1]:.2f}", f"{each / (16 * n / rate):.1f}",
                ])  # fmt: skip
            slope = np.polyfit(np.log(work), np.log(taken), 1)[0]
            slopes.append(f"{boundary}, {kind} sizes: time ~ (n log n)^{slope:.2f}")
    return rows, slopes


def problems(rounds: int) -> list[list[str]]:
    """Return milliseconds of a Poisson solve at each number of nodes."""
    rows = []
    for n in (64, 65, 127, 128, 129, 255, 256, 257):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem = Poisson(n)
        a = torch.randn(16, n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        speed = transform_speed(n - 2, "dirichlet")
        each = seconds(lambda p=problem, b=a: p.solve(b), rounds) / 16
        said = f"{speed.faster + 2} is fast" if speed.is_slow else ""
        rows.append([str(n), str(speed.length), f"{each * 1e3:.3f}", said])
    return rows


def main() -> None:
    """Print the tables, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for a JSON file of the numbers")
    parser.add_argument("--largest", type=int, default=16384, help="largest power of 2")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    where = f"{processor(torch.device('cpu'))}, one thread"
    rows, slopes = measure(arguments.largest, arguments.rounds)
    print(f"Transforms of one line, float64, {where}\n\n{table(HEAD, rows)}\n")
    print("\n".join(slopes))
    solves = problems(arguments.rounds)
    head = ("nodes", "FFT length", "ms a Poisson solve", "what heatgrad says")
    print(f"\n{table(head, solves)}")
    if arguments.out is not None:
        kept = {"columns": HEAD, "rows": rows, "slopes": slopes, "poisson": solves}
        keep(kept, arguments.out / "transforms-cpu.json", where, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
