"""Time gradient flow to t = 1e10 on the networks of a divergent flow.

`python benchmarks/gradient_flow.py --out benchmarks/results` follows the six 1-2-1 networks (one
activation each, target x^2, 20 points, a random start) and a network of 151 parameters to t = 1e10,
on one thread, and prints the seconds beside their bars of 5 and 60 s, with what the flow came to.
Seconds of the processor are there for machines that others use: they leave out the waiting.
`--growth` follows tanh networks of growing width, to show the cost against the parameters, and
fits the slope. The physical limit beside it is that of the steps' decompositions alone, 2 p^3 / 3
operations each at the rate of a matrix product in the same run.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heatgrad.flow import ACTIVATIONS, Trajectory, gradient_flow, polynomial_fit

sys.path.insert(0, str(Path(__file__).parent))
from optim_step import keep, processor

T_END = 1e10
SMALL_BAR, LARGE_BAR = 5.0, 60.0  # seconds


def followed(
    activation: str, width: int, method: str, seed: int = 1
) -> tuple[Trajectory, float, float]:
    """Follow one network; return the trajectory, and the call's seconds by clock and processor."""
    fit = polynomial_fit(activation=activation, hidden=(width,))
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(fit.size, generator=generator, dtype=torch.float64)
    began, used = time.perf_counter(), time.process_time()
    flow = gradient_flow(fit, start, t_end=T_END, method=method, max_seconds=300)
    return flow, time.perf_counter() - began, time.process_time() - used


def row(name: str, flow: Trajectory, seconds: float, used: float, bar: float) -> list[str]:
    """Return one line of the table."""
    found = flow.verdict()
    reached = flow.status == "done" and seconds <= bar
    return [
        name,
        str(flow.stats["method"]),
        f"{seconds:.2f}",
        f"{used:.2f}",
        f"{bar:g}",
        "yes" if reached else f"no ({flow.status})",
        str(flow.stats["steps"]),
        f"{flow.norm[-1]:.4g}",
        f"{flow.loss[-1]:.2e}",
        f"{np.abs(flow.energy_defect).max():.0e}",
        found.word,
        f"{found.speed[-1].value:.3f}",
    ]


HEAD = (
    "network",
    "method",
    "s",
    "of the processor, s",
    "bar, s",
    "held",
    "steps",
    "norm",
    "loss",
    "energy defect",
    "verdict",
    "exponent of the speed, last decade",
)


def table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def growth(method: str) -> tuple[str, list[list[str]]]:
    """Return seconds against parameters, as text with the fitted slope, and as rows."""
    rows, sizes, times = [], [], []
    for width in (2, 10, 30, 60):
        flow, seconds, used = followed("tanh", width, method)
        size = len(flow.end)
        matrix = torch.randn(max(size, 64), max(size, 64), dtype=torch.float64)
        began = time.process_time()
        for _ in range(20):
            matrix @ matrix
        rate = 20 * 2 * len(matrix) ** 3 / (time.process_time() - began)
        factored = int(flow.stats.get("decompositions", flow.stats["hessians"]))
        limit = factored * 2 * size**3 / 3 / rate
        rows.append(
            [str(size), f"{seconds:.2f}", f"{used:.2f}", str(flow.stats["steps"]), f"{limit:.4f}"]
        )
        sizes.append(size)
        times.append(used)
    slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    head = (
        "parameters",
        "s",
        "of the processor, s",
        "steps",
        "decompositions at the rate of a product, s",
    )
    return (
        f"{method}: seconds of the processor grow like p^{slope:.2f}\n\n{table(head, rows)}",
        rows,
    )


def main() -> None:
    """Print the tables, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for a JSON file of the numbers")
    parser.add_argument("--method", choices=("lsoda", "rosenbrock"), default="lsoda")
    parser.add_argument("--growth", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    followed("tanh", 2, arguments.method, seed=7)  # what is loaded on first use
    rows = [
        row(f"1-2-1 {name}", *followed(name, 2, arguments.method), SMALL_BAR)
        for name in ACTIVATIONS
    ]
    rows.append(row("1-50-1 tanh", *followed("tanh", 50, arguments.method), LARGE_BAR))
    where = f"{processor(torch.device('cpu'))}, one thread"
    print(f"To t = {T_END:g}, {where}\n\n{table(HEAD, rows)}")
    kept: dict[str, Any] = {"columns": HEAD, "networks": rows}
    if arguments.growth:
        text, kept["growth"] = growth(arguments.method)
        print(f"\n{text}")
    if arguments.out is not None:
        keep(kept, arguments.out / f"gradient_flow-{arguments.method}.json", where, rounds=1)


if __name__ == "__main__":
    main()
