"""Time an ensemble of true minibatch SGD beside a Python loop of torch's SGD.

`python benchmarks/fokker_planck_sgd.py` takes 10,000 replicas of a regression with 50 parameters
and batches of 8, and one replica as one would write it, in turns; it prints the microseconds of a
replica's step, by each number of replicas asked for, and the ratio at the largest. The least that a
replica's step must move is its batch twice, once to gather and once to read; the last column is
how many times as long as that, at the bandwidth of adding one array to another in the same run.
"""

import argparse
import math
import statistics
import time

import torch
from torch import Tensor

from heatgrad.fokker_planck.ensembles.sgd import simulate_sgd

_SAMPLES = 1000


def regression(params: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the data of a linear regression."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_SAMPLES, params, generator=generator, dtype=torch.float64)
    y = x @ torch.ones(params, dtype=torch.float64) / math.sqrt(params)
    return x.to(dtype), (y + torch.randn(_SAMPLES, generator=generator)).to(dtype)


def square(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss of one sample."""
    return (x @ theta - y) ** 2 / 2


def loop_seconds(x: Tensor, y: Tensor, batch: int, steps: int) -> float:
    """Return the seconds of a replica's step in a plain loop of torch's SGD."""
    theta = torch.zeros(x.shape[1], dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=0.01)
    begin = time.perf_counter()
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,))
        optimizer.zero_grad()
        loss = ((x[rows] @ theta - y[rows]) ** 2).mean() / 2
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - begin) / steps


def ensemble_seconds(x: Tensor, y: Tensor, batch: int, replicas: int, steps: int) -> float:
    """Return the seconds of a replica's step in an ensemble."""
    start = torch.zeros(x.shape[1], dtype=x.dtype)
    begin = time.perf_counter()
    simulate_sgd(square, (x, y), start, lr=0.01, batch_size=batch, steps=steps, replicas=replicas)
    return (time.perf_counter() - begin) / steps / replicas


def bandwidth() -> float:
    """Return the bytes per second of adding one array to another."""
    a, b = torch.zeros(2**24), torch.ones(2**24)
    a.add_(b)
    begin = time.perf_counter()
    for _ in range(5):
        a.add_(b)
    return 5 * 3 * a.numel() * a.element_size() / (time.perf_counter() - begin)


def sgd_ensemble(
    params: int, batch: int, replicas: list[int], rounds: int, steps: int, dtype: torch.dtype
) -> float:
    """Print the table; return the ratio at the largest ensemble."""
    x, y = regression(params, dtype)
    loop_seconds(x, y, batch, 100)
    ensemble_seconds(x, y, batch, 100, 2)
    loops: list[float] = []
    ensembles: dict[int, list[float]] = {count: [] for count in replicas}
    for _ in range(rounds):
        loops.append(loop_seconds(x, y, batch, 1000))
        for count in replicas:
            ensembles[count].append(ensemble_seconds(x, y, batch, count, steps))
    loop = statistics.median(loops)
    least = 2 * batch * (params + 1) * x.element_size() / bandwidth()
    print(f"{params} parameters, batch {batch}, {dtype}, {torch.get_num_threads()} threads")
    print("| replicas | µs a replica's step | to the loop | of the limit |\n|---|---|---|---|")
    print(f"| loop | {1e6 * loop:.1f} | 1 | {loop / least:.0f} |")
    for count, each in ensembles.items():
        own = statistics.median(each)
        print(f"| {count:,} | {1e6 * own:.2f} | {loop / own:.0f} | {own / least:.1f} |")
    ratios = [a / b for a, b in zip(loops, ensembles[replicas[-1]], strict=True)]
    print(f"ratio at {replicas[-1]:,}: {min(ratios):.0f} to {max(ratios):.0f} over {rounds} rounds")
    return statistics.median(ratios)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=int, default=50)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sgd_ensemble(
        args.params, args.batch, args.replicas, args.rounds, args.steps, getattr(torch, args.dtype)
    )


if __name__ == "__main__":
    main()
