"""Time of one optimizer step against the number of parameters, with the limit of the memory.

    python benchmarks/optim_growth.py --out benchmarks/results

The networks are 16 convolution kernels of equal size, so only the size changes. The figure has
log-log axes; the slope is fitted over the sizes above a million parameters. The limit is the time
that the least traffic, 20 bytes a parameter, takes at the bandwidth of adding one array to another.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from optim_step import LIMIT, keep, measure, processor

SHOWN = {
    "SGD, fused": "#777777",
    "DiffusionSGD, foreach": "#56b4e9",
    "DiffusionSGD, fused": "#0072b2",
    "DiffusionNesterov, foreach": "#e69f00",
    "DiffusionNesterov, fused": "#d55e00",
}
WIDTHS = (8, 16, 32, 64, 128, 256, 588)  # 16 kernels of this many channels in and out


def slope(sizes: list[int], seconds: list[float]) -> float:
    """Return the exponent of the growth over the sizes above a million."""
    large = [i for i, size in enumerate(sizes) if size > 1_000_000]
    x, y = np.log([sizes[i] for i in large]), np.log([seconds[i] for i in large])
    return float(np.polyfit(x, y, 1)[0])


def draw(kept: dict[str, Any], where: str, path: Path) -> None:
    """Draw the figure from the numbers."""
    sizes, seconds = kept["num_params"], kept["seconds"]
    figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, colour in SHOWN.items():
        label = f"{name}: slope {slope(sizes, seconds[name]):.2f}"
        ax.loglog(sizes, [1e3 * s for s in seconds[name]], "o-", color=colour, label=label, ms=4)
    limit = [1e3 * s for s in seconds[LIMIT]]
    ax.loglog(sizes, limit, "k--", lw=1, label="20 bytes a parameter at the memory's rate")
    ax.set(xlabel="parameters", ylabel="time of a step [ms]")
    ax.set_title(where, fontsize=9)
    ax.grid(which="major", alpha=0.3)
    ax.legend(fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, draw the figure, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--rounds", default=9, type=int)
    parser.add_argument("--out", type=Path, required=True, help="folder for the numbers and figure")
    arguments = parser.parse_args()
    by_size = []
    for width in WIDTHS:
        by_size.append(measure([(width, width, 3, 3)] * 16, arguments.device, arguments.rounds))
        print(f"{16 * 9 * width**2:>12,} parameters done")
    where = f"{processor(arguments.device)}, {torch.get_num_threads()} threads"
    kept = {
        "num_params": [16 * 9 * width**2 for width in WIDTHS],
        "seconds": {name: [found[name] for found in by_size] for name in [*SHOWN, LIMIT]},
    }
    stem = arguments.out / f"optim_growth-{arguments.device.type}"
    keep(kept, stem.with_suffix(".json"), where, arguments.rounds)
    draw(kept, where, stem.with_suffix(".svg"))
    print(stem.with_suffix(".svg"))


if __name__ == "__main__":
    main()
