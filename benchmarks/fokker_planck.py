"""Time the Fokker-Planck wing beside its peers: the grid solver.

`python benchmarks/fokker_planck.py --out benchmarks/results` solves a double well in the plane on
241 x 241 cells for its stationary law (as detailed balance gives it, and by a linear solve) and for
its mean exit time, on one core, and a well with full, state-dependent noise for the same.
Where `fplanck` is installed it solves the first problem at equal size (`--peer-cells` for less);
it gives no exit times, so the ratio counts its assembly and stationary law alone. Wall and
processor seconds are printed: on a busy machine they differ, and the second is the fair one.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heatgrad.fokker_planck.grid.equation import FokkerPlanck
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Langevin

sys.path.insert(0, str(Path(__file__).parent))
from optim_step import keep, processor

TEMPERATURE = 0.25
LOW, HIGH = (-2.4, -2.4), (2.4, 2.4)


def potential(x: torch.Tensor) -> torch.Tensor:
    """Return two wells at (±1, 0), a barrier of 1 between."""
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2 + 0.2 * x[0] * x[1]


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what the work returns, and its wall and processor seconds."""
    wall, own = time.perf_counter(), time.process_time()
    found = work()
    return found, {
        "wall seconds": time.perf_counter() - wall,
        "processor seconds": time.process_time() - own,
    }


def wells(n: int) -> dict[str, Any]:
    """Time assembly, stationary law and exit time of the double well."""
    process = Langevin(potential, TEMPERATURE)

    def balanced() -> Any:
        return FokkerPlanck(process, LOW, HIGH, n).stationary()

    def solved() -> Any:
        return FokkerPlanck(process, LOW, HIGH, n).stationary(method="solve")

    def exits() -> Any:
        sides = (("reflect", "absorb"), "reflect")
        return FokkerPlanck(process, LOW, (1.0, 2.4), n, boundary=sides).mean_exit_time()

    _, quick = timed(balanced)
    law, first = timed(solved)
    tau, second = timed(exits)
    both = {key: first[key] + second[key] for key in first}
    gap = float(np.abs(law.masses - gibbs(n)).max() / law.masses.max())
    return {
        "cells": n * n,
        "stationary": quick,
        "stationary, solved": first,
        "exit time": second,
        "solved, and exit time": both,
        "stationary against Gibbs": gap,
        "mean exit time": tau.at((-1.0, 0.0)),
    }


def gibbs(n: int) -> np.ndarray:
    """Return e^(-U/T) at the centres, scaled to mass 1."""
    x = LOW[0] + (np.arange(n) + 0.5) * (HIGH[0] - LOW[0]) / n
    u, v = np.meshgrid(x, x, indexing="ij")
    law = np.exp(-((u**2 - 1) ** 2 + v**2 + 0.2 * u * v) / TEMPERATURE)
    return np.asarray(law / law.sum())


def turning_noise(n: int) -> dict[str, Any]:
    """Time the same for noise that turns from place to place, without a potential."""

    def diffusion(x: torch.Tensor) -> torch.Tensor:
        g = torch.stack([torch.cos(x[0] + x[1]), torch.sin(x[0] + x[1])])
        return 0.05 * torch.eye(2, dtype=x.dtype) + 0.2 * torch.outer(g, g)

    process = Ito(lambda x: -torch.func.grad(potential)(x), diffusion)
    (law, tau), spent = timed(
        lambda: (
            FokkerPlanck(process, LOW, HIGH, n).stationary(),
            FokkerPlanck(
                process, LOW, (1.0, 2.4), n, boundary=(("reflect", "absorb"), "reflect")
            ).mean_exit_time(),
        )
    )
    return {"cells": n * n, "both": spent, "status": [law.status, tau.status]}


def peer(n: int) -> dict[str, Any] | None:
    """Time fplanck's assembly and stationary law of the double well, or return None."""
    try:
        import fplanck
        from scipy import constants
    except ImportError:
        return None
    if not hasattr(np, "product"):
        # Removed in numpy 2; fplanck still calls it.
        np.product = np.prod  # type: ignore[attr-defined]
    h = (HIGH[0] - LOW[0]) / n

    def solve() -> np.ndarray:
        # In units where kT is the temperature and the drag 1.
        sim = fplanck.fokker_planck(
            temperature=TEMPERATURE / constants.k,
            drag=1.0,
            extent=[n * h * (1 - 1e-9)] * 2,
            resolution=h,
            potential=lambda u, v: (u**2 - 1) ** 2 + v**2 + 0.2 * u * v,
            boundary=fplanck.boundary.reflecting,
        )
        return np.asarray(sim.steady_state())

    law, spent = timed(solve)
    gap = float(np.abs(law - gibbs(n)).max() / law.max())
    return {"cells": n * n, "stationary": spent, "stationary against Gibbs": gap}


def grid_part(n: int, peer_cells: int) -> dict[str, Any]:
    """Return all numbers of the grid solver, printing as they come."""
    wells(16)  # Warm.
    found: dict[str, Any] = {"double well": wells(n)}
    print("double well", found["double well"], flush=True)
    found["turning noise"] = turning_noise(n)
    print("turning noise", found["turning noise"], flush=True)
    other = peer(peer_cells)
    if other is None:
        print("fplanck is not installed: no ratio")
        return found
    ours = found["double well"] if peer_cells == n else wells(peer_cells)
    for ours_is in ("stationary", "stationary, solved"):
        other[f"times as long as ours: {ours_is}"] = {
            key: other["stationary"][key] / ours[ours_is][key] for key in other["stationary"]
        }
    found["fplanck"] = other
    print("fplanck", other, flush=True)
    return found


# Each takes the parsed options, and returns its numbers.
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "grid": lambda options: grid_part(options.cells, options.peer_cells),
}


def main() -> None:
    """Run the parts that are asked for, and keep their numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--cells", type=int, default=241, help="cells a side of the grid")
    parser.add_argument("--peer-cells", type=int, default=241, help="cells a side for fplanck")
    parser.add_argument("--out", type=Path, help="folder for the numbers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name, part in PARTS.items():
        if options.part in (name, "all"):
            results[name] = part(options)
    if options.out:
        where = processor(torch.device("cpu"))
        keep(results, options.out / "fokker_planck-cpu.json", where, rounds=1)


if __name__ == "__main__":
    main()
