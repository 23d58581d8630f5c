"""One escape by every method, kept step by step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.core.environment import describe_environment
from heatgrad.core.errors import SpecError
from heatgrad.core.steps import Progress, Steps, Tell, Values
from heatgrad.dynamics.escape_spec import EscapeSpec
from heatgrad.fokker_planck import (
    METHODS,
    Ball,
    EscapeRow,
    FirstExits,
    FokkerPlanck,
    HalfSpace,
    Kinetic,
    Langevin,
    LinearSGD,
    Process,
    Region,
    SGDDiffusion,
    against_reference,
    at_points,
    compare_escape,
    find_minimum,
    find_saddle,
)

__all__ = ["EscapeFindings", "Landmarks", "run_escape"]


_NEAR = 0.1  # of the distance between two wells: what counts as being at one


@dataclass(frozen=True)
class Landmarks:
    """Where a potential has its wells and the pass between them.

    Attributes:
        minimum: Bottom of the well that is left, shape (p,).
        target: Bottom of the other, or None.
        saddle: The pass, or None.
        barrier: Its height over the minimum [loss].
        depth: How much lower the target lies than the minimum [loss].
        rate: How fast the process forgets its start within the well, linearised [1 / time].
        spread: Root mean square distance from the minimum in the well, linearised [param].
        crossover: Until when a start as far as the saddle is drawn in; then noise wins (F.23)
            [time].
    """

    minimum: NDArray[np.float64]
    target: NDArray[np.float64] | None
    saddle: NDArray[np.float64] | None
    barrier: float
    depth: float
    rate: float = math.nan
    spread: float = math.nan
    crossover: float = math.nan


@dataclass(frozen=True)
class EscapeFindings:
    """All that one escape told.

    Attributes:
        spec: What was asked.
        landmarks: Wells and saddle; None where the process has no potential.
        rows: Mean exit time by method, against the most exact.
        skipped: Why other methods did not apply.
        survival: For each ensemble, its times and the share of paths still inside.
        grid: Densities, committor and masses of the wells over time, by name; empty without a grid.
        environment: Versions and machine.
    """

    spec: EscapeSpec
    landmarks: Landmarks | None
    rows: tuple[EscapeRow, ...]
    skipped: Mapping[str, str]
    survival: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    grid: Values
    environment: Mapping[str, Any]


def run_escape(
    spec: EscapeSpec,
    out: str | Path,
    *,
    tell: Tell = lambda what: None,
    progress: Progress | None = None,
) -> EscapeFindings:
    """Answer an escape by every method that applies; what is done already is not done again.

    Args:
        spec: What is asked.
        out: Folder of the results.
        tell: Called with the name of each step that begins.
        progress: Called within a step that takes an ensemble, with the time steps done and the most
            that can be; an ensemble ends sooner when all paths have left.

    Raises:
        SpecError: If no well is found, or the start is not inside the region.
        StoreError: If the folder is another's, or cannot be written.
    """
    steps = Steps(out, spec.id, tell=tell)
    process = _process(spec)

    try:
        environment = steps.once("environment", lambda: {"about": describe_environment()})["about"]
        found = steps.once("landmarks", lambda: _landmarks(process, spec))
        landmarks = _read_landmarks(found)
        region = _region(spec, landmarks)
        answers = {}
        for name in METHODS:
            answer = partial(_exit, name, process, spec, region, landmarks, progress)
            answers[name] = steps.once(f"exit-{name}", answer)
        grid = (
            {} if spec.grid is None else steps.once("grid", lambda: _grid(process, spec, landmarks))
        )
    except ValueError as error:
        raise error if isinstance(error, SpecError) else SpecError(str(error)) from error
    rows = [EscapeRow(**_row(a["row"])) for a in answers.values() if a["row"] is not None]
    return EscapeFindings(
        spec=spec,
        landmarks=landmarks,
        rows=against_reference(rows),
        skipped={name: a["reason"] for name, a in answers.items() if a["row"] is None},
        survival={name: (a["times"], a["alive"]) for name, a in answers.items() if "times" in a},
        grid=grid,
        environment=environment,
    )


def _process(spec: EscapeSpec) -> Process:
    try:
        process = spec.process.process()
        process.drift(torch.tensor([spec.start], dtype=torch.float64))
    except SpecError:
        raise
    except Exception as error:  # a potential of the user's own may raise anything
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise SpecError(f"process: {kind}{' '.join(str(error).split())}") from error
    return process


def _potential(process: Process) -> Callable[[Tensor], Tensor] | None:
    if isinstance(process, Langevin | Kinetic):
        return process.potential
    return process.mean_loss if isinstance(process, SGDDiffusion) else None


def _place(process: Process, point: Tensor) -> Tensor:
    """Return the position of a point, of a kinetic process without its velocity."""
    return point[: len(point) // 2] if isinstance(process, Kinetic) else point


def _landmarks(process: Process, spec: EscapeSpec) -> Values:
    potential = _potential(process)
    if potential is None:
        return {"known": False}
    start = _place(process, torch.tensor(spec.start, dtype=torch.float64))
    bottom = find_minimum(potential, start)
    if bottom.status != "converged":
        raise SpecError(f"start must lie in a well, found none below it: {bottom.status}")
    values: dict[str, Any] = {"known": True, "minimum": bottom.point.numpy()}
    if spec.target is None:
        return values | _concentration(process, potential, bottom.point, None)
    other = find_minimum(potential, _place(process, torch.tensor(spec.target).double()))
    if other.status != "converged" or bool(torch.allclose(other.point, bottom.point, atol=1e-6)):
        raise SpecError(
            f"target must lie in another well than start, got the minimum at "
            f"{[round(v, 4) for v in other.point.tolist()]} ({other.status})"
        )
    saddle = find_saddle(potential, bottom.point, other.point)
    if saddle.status != "converged":
        raise SpecError(f"no saddle was found between start and target: {saddle.status}")
    values |= _concentration(process, potential, bottom.point, saddle.point)
    return values | {
        "target": other.point.numpy(),
        "saddle": saddle.point.numpy(),
        "barrier": saddle.value - bottom.value,
        "depth": bottom.value - other.value,
    }


def _concentration(
    process: Process, potential: Callable[[Tensor], Tensor], bottom: Tensor, saddle: Tensor | None
) -> dict[str, float]:
    """Return what the linear theory says of the well, where it applies."""
    if isinstance(process, Kinetic):
        return {}
    curvature = torch.func.hessian(potential)(bottom)
    noise = 2 * process.diffusion(bottom.unsqueeze(0))[0]
    try:
        linear = LinearSGD((curvature + curvature.T) / 2, (noise + noise.T) / 2, lr=1.0)
    except ValueError:  # a flat direction has no steady state
        return {}
    found = {
        "rate": linear.relaxation_rate,
        "spread": math.sqrt(float(torch.trace(linear.stationary_cov()))),
    }
    if saddle is not None:
        found["crossover"] = linear.crossover_time(float(torch.dist(saddle, bottom)))
    return found


def _read_landmarks(found: Values) -> Landmarks | None:
    if not found["known"]:
        return None
    return Landmarks(
        found["minimum"],
        found.get("target"),
        found.get("saddle"),
        float(found.get("barrier", math.nan)),
        float(found.get("depth", math.nan)),
        *(float(found.get(name, math.nan)) for name in ("rate", "spread", "crossover")),
    )


def _region(spec: EscapeSpec, landmarks: Landmarks | None) -> Region:
    """Return what is left: the region of the file, or all this side of the saddle.

    The border goes through the saddle, across the way from one well to the other.
    """
    if spec.region is not None:
        return spec.region.region()
    if landmarks is None or landmarks.saddle is None or landmarks.target is None:
        raise SpecError("give a region: the process has no potential whose saddle could be found")
    normal = landmarks.target - landmarks.minimum
    offset = float(normal @ landmarks.saddle)
    padding = [0.0] * (len(spec.start) - len(normal))
    return HalfSpace((*normal.tolist(), *padding), offset)


def _exit(
    name: str,
    process: Process,
    spec: EscapeSpec,
    region: Region,
    landmarks: Landmarks | None,
    progress: Progress | None,
) -> Values:
    """Return the row of a method, or why it does not apply; of ensembles their survival."""
    start = torch.tensor(spec.start, dtype=torch.float64)
    carlo, grid = spec.monte_carlo, spec.grid
    saddle = None if landmarks is None else landmarks.saddle
    cells = 200 if grid is None else max(8, max(grid.n) // 2 * 2)
    table = compare_escape(
        process,
        start,
        region,
        methods=[name],
        saddles=None if saddle is None else torch.from_numpy(saddle),
        box=None if grid is None else (grid.low, grid.high),
        cells=cells,
        dt=None if carlo is None else carlo.dt,
        t_max=None if carlo is None else carlo.t_max,
        replicas=2000 if carlo is None else carlo.replicas,
        seed=0 if carlo is None else carlo.seed,
        progress=progress,
    )
    if not table.rows:
        return {"row": None, "reason": table.skipped[name]}
    row = table.rows[0]
    found: dict[str, Any] = {"row": asdict(replace(row, sample=None))}
    if row.sample is not None:
        found |= _survival(row.sample)
    return found


def _survival(exits: FirstExits) -> Values:
    times = np.linspace(0, float(exits.times.max()), 200)
    alive = (exits.times[:, None] > times).mean(0)
    return {"times": times, "alive": alive}


def _row(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, "notes": tuple(values["notes"])}


def _grid(process: Process, spec: EscapeSpec, landmarks: Landmarks | None) -> Values:
    """Return densities over time, the end of time, the committor and the mass of each well."""
    assert spec.grid is not None
    chain = FokkerPlanck(process, spec.grid.low, spec.grid.high, spec.grid.n)
    law = chain.stationary()
    found: dict[str, Any] = {f"axis{k}": chain.grid.axis(k) for k in range(chain.grid.dim)}
    found |= {"stationary": law.masses, "stationary_status": law.status}
    found["peclet"] = float(chain.diagnostics().peclet)
    if (potential := _potential(process)) is not None and not isinstance(process, Kinetic):
        heights = at_points(potential)(torch.from_numpy(chain.grid.centers()))
        found["potential"] = heights.numpy().reshape(chain.grid.shape)
    if spec.times:
        run = chain.evolve(spec.start, (0.0, *spec.times), method="implicit-euler")
        found |= {"times": run.times, "masses": run.masses, "evolution_status": run.status}
        found["entropy"] = np.array([chain.entropy(m) for m in run.masses])
    if landmarks is None or landmarks.target is None or isinstance(process, Kinetic):
        return found
    low, high = np.array(spec.grid.low), np.array(spec.grid.high)
    if not ((landmarks.target > low) & (landmarks.target < high)).all():
        raise SpecError(
            f"grid: low to high must hold the minimum that target leads to, "
            f"{[round(v, 4) for v in landmarks.target.tolist()]}, got {spec.grid.low} to "
            f"{spec.grid.high}; widen it"
        )
    near = _NEAR * float(np.linalg.norm(landmarks.target - landmarks.minimum))
    ends = (Ball(tuple(p.tolist()), near) for p in (landmarks.minimum, landmarks.target))
    committor = chain.committor(*ends)
    found |= {"committor": committor.value, "committor_status": committor.status}
    over = committor.value >= 0.5
    if spec.times:
        found["mass_target"] = np.array([m[over].sum() for m in run.masses])
    found["mass_target_end"] = float(law.masses[over].sum())
    return found
