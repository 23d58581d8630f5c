"""The mean time of escape by every method that applies, side by side."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import optimize, stats
from torch import Tensor

from heatgrad.core.errors import HeatgradWarning
from heatgrad.core.steps import Progress
from heatgrad.fokker_planck.ensembles.bridge import Faces, faces_of
from heatgrad.fokker_planck.ensembles.exits import check_inside, exit_times
from heatgrad.fokker_planck.ensembles.sgd import sgd_exit_times
from heatgrad.fokker_planck.ensembles.simulate import start_points
from heatgrad.fokker_planck.ensembles.survival import FirstExits
from heatgrad.fokker_planck.escape.kramers import eyring_kramers
from heatgrad.fokker_planck.escape.passage import process_passage
from heatgrad.fokker_planck.escape.rows import (
    EscapeComparison,
    EscapeRow,
    against_reference,
    reference_of,
)
from heatgrad.fokker_planck.escape.saddle import find_minimum
from heatgrad.fokker_planck.grid.equation import FokkerPlanck
from heatgrad.fokker_planck.grid.exits import ExitTimes
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.process import Process
from heatgrad.fokker_planck.processes.region import Region
from heatgrad.fokker_planck.processes.sgd import SGDDiffusion

__all__ = ["METHODS", "compare_escape"]

METHODS = ("quadrature", "grid", "eyring-kramers", "sde", "sgd")


def compare_escape(
    process: Process,
    x0: Tensor,
    region: Region,
    *,
    methods: Sequence[str] | None = None,
    saddles: Tensor | None = None,
    box: tuple[ArrayLike, ArrayLike] | None = None,
    cells: int = 200,
    dt: float | None = None,
    t_max: float | None = None,
    replicas: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> EscapeComparison:
    r"""Return the mean time of first exit from a region by every method that applies.

    | method | of | its error |
    |---|---|---|
    | `quadrature` | one coordinate | on halving its panels |
    | `grid` | up to three, with a `box` | the change from half the cells, or a third |
    | `eyring-kramers` | `Langevin`, `Kinetic`, with `saddles` | of the order of T / barrier |
    | `sde` | all, with `dt` and `t_max` | sampling alone; steps add O(dt) |
    | `sgd` | `SGDDiffusion`, with `t_max` | sampling alone |

    The grid's error is of order 2, and so a third of the change, unless noise leaves a direction
    out: then the chain adds some there, at order 1.

    The reference is the first that succeeded, in this order but for the law of Eyring and Kramers,
    which never is; true SGD is none of the diffusion, and what its row differs by is the error of
    the diffusion. The law is taken to the region's boundary: with s the height of the boundary
    over the saddle along its unstable direction v

    $$E\,\tau = E\,\tau_{\text{well}}\; \Phi\Bigl(s \sqrt{|\lambda_-| / T}\Bigr), \qquad
    s = \frac{h(z)}{|\nabla h(z) \cdot v|} \tag{F.72}$$

    which is all beyond the saddle and half at it; rates over several saddles add.

    Args:
        process: Which.
        x0: The start, shape (p,), inside; the law starts from the minimum below it.
        region: A function of one point, positive inside.
        methods: Names from `METHODS`; all, unless given.
        saddles: One saddle, shape (p,), or several, shape (k, p); positions alone of `Kinetic`.
        box: Lower and upper corner of the grid, reflecting where the region goes on. A grid whose
            box cuts the mass off says so in its status, and is no reference.
        cells: Of the grid along each axis, even, at least 8.
        dt: Step of the ensemble [time].
        t_max: For how long ensembles are watched [time].
        replicas: Of ensembles.
        seed: Of ensembles.
        progress: Of an ensemble: called with the steps done and the most that can be, now and then.

    Raises:
        ValueError: If a name is unknown, or `x0` is not inside the region.

    References:
        Theory page: Eqs. (F.65) to (F.72).

    Example:
        >>> well = Langevin(lambda x: ((x**2 - 1) ** 2).sum() / 4, temperature=0.08)
        >>> start, top = torch.tensor([-1.0]).double(), torch.tensor([0.0])
        >>> from heatgrad.fokker_planck.processes.region import HalfSpace
        >>> table = compare_escape(well, start, HalfSpace((1.0,), 0.0), saddles=top, box=(-3, 1))
        >>> [row.method for row in table.rows], table.reference
        (['quadrature', 'grid', 'eyring-kramers'], 'quadrature')
        >>> abs(table["grid"].relative) < 1e-3, abs(table["eyring-kramers"].relative) < 0.15
        (True, True)
    """
    names = METHODS if methods is None else tuple(methods)
    if unknown := set(names) - set(METHODS):
        raise ValueError(f"methods must be of {', '.join(METHODS)}, got {sorted(unknown)}")
    if not isinstance(cells, int) or cells < 8 or cells % 2:
        raise ValueError(f"cells must be even and at least 8, got {cells!r}")
    # A start of another type is refused below, by name.
    start = start_points(process, x0.double() if isinstance(x0, Tensor) else x0, 1)
    faces = faces_of(region)
    check_inside(faces, start)
    how: dict[str, Callable[[], EscapeRow]] = {
        "quadrature": lambda: _quadrature(process, start[0], faces),
        "grid": lambda: _grid(process, start[0], region, box, cells),
        "eyring-kramers": lambda: _law(process, start[0], faces, saddles),
        "sde": lambda: _sde(process, start[0], region, dt, t_max, replicas, seed, progress),
        "sgd": lambda: _sgd(process, start[0], region, t_max, replicas, seed, progress),
    }
    rows, skipped = [], {}
    for name in METHODS:
        if name not in names:
            continue
        begin = time.perf_counter()
        try:
            row = how[name]()
        except ValueError as error:
            skipped[name] = str(error)
        else:
            rows.append(replace(row, seconds=time.perf_counter() - begin))
    best = reference_of(rows)
    return EscapeComparison(against_reference(rows), best.method if best else None, skipped)


def _quadrature(process: Process, x0: Tensor, faces: Faces) -> EscapeRow:
    if len(x0) != 1:
        raise ValueError(f"quadrature needs one coordinate, got {len(x0)}")
    ends = [end for side in (-1.0, 1.0) if (end := _end(faces, x0, side)) is not None]
    if not ends:
        raise ValueError("the region does not end")
    target = ends[0] if len(ends) == 1 else (ends[0], ends[1])
    found = process_passage(process, float(x0), target)
    notes = () if math.isfinite(found.value) else (f"log of the mean time: {found.log_value:.9g}",)
    return _row("quadrature", found.value, found.error, found.status, notes)


def _end(faces: Faces, x0: Tensor, side: float) -> float | None:
    """Return where a region ends on one side of a point on a line."""

    def height(distance: float) -> float:
        return float(faces.heights(x0.unsqueeze(0) + side * distance).min())

    distances = np.geomspace(1e-8, 1e8, 3201) * max(1.0, abs(float(x0)))
    points = x0 + side * torch.from_numpy(distances).unsqueeze(1)
    outside = np.flatnonzero((faces.heights(points).min(1).values <= 0).numpy())
    if not len(outside):
        return None
    first = int(outside[0])
    inner = distances[first - 1] if first else 0.0
    root = optimize.brentq(height, inner, distances[first], xtol=1e-300, rtol=1e-15)
    return float(x0) + side * float(root)


def _grid(
    process: Process,
    x0: Tensor,
    region: Region,
    box: tuple[ArrayLike, ArrayLike] | None,
    cells: int,
) -> EscapeRow:
    if len(x0) > 3 or box is None:
        raise ValueError("a grid needs at most three coordinates, and a box = (low, high)")
    coarse, fine = (
        FokkerPlanck(process, *box, n, region=region).mean_exit_time() for n in (cells // 2, cells)
    )
    value = fine.at(x0.numpy())
    # Where noise does not reach everywhere the chain adds some, and is of order 1.
    error = abs(value - coarse.at(x0.numpy())) / (1 if _is_degenerate(process, x0) else 3)
    notes = () if fine.status == "converged" else (_grid_note(fine),)
    return _row("grid", value, error, fine.status, notes)


def _is_degenerate(process: Process, x0: Tensor) -> bool:
    """Whether the noise at a point leaves a direction out."""
    values = torch.linalg.eigvalsh(process.diffusion(x0.unsqueeze(0))[0])
    return bool(values[0] <= 1e-9 * values[-1])


def _grid_note(found: ExitTimes) -> str:
    note = f"the grid says: {found.status}"
    if found.status in ("cut", "unconfined"):
        note += (
            f"; {found.boundary_mass:.2g} of what stays long lies at reflecting sides of the box: "
            "widen it"
        )
    return note


def _law(process: Process, x0: Tensor, faces: Faces, saddles: Tensor | None) -> EscapeRow:
    if not isinstance(process, Langevin | Kinetic) or saddles is None:
        raise ValueError("the law needs Langevin or Kinetic dynamics, and its saddles")
    friction = process.friction if isinstance(process, Kinetic) else None
    place = x0 if friction is None else x0[: len(x0) // 2]
    bottom = find_minimum(process.potential, place)
    if bottom.status != "converged":
        raise ValueError(f"no minimum was found below x0: {bottom.status}")
    rate, barrier = 0.0, math.inf
    notes: list[str] = []
    for saddle in saddles.double().reshape(-1, len(place)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", HeatgradWarning)
            law = eyring_kramers(
                process.potential, bottom.point, saddle, process.temperature, friction=friction
            )
        notes += [str(w.message) for w in caught if issubclass(w.category, HeatgradWarning)]
        rate += 1 / (law.value * _share(process, faces, saddle))
        barrier = min(barrier, law.barrier)
    value = 1 / rate
    return _row("eyring-kramers", value, value * process.temperature / barrier, "law", tuple(notes))


def _share(process: Langevin | Kinetic, faces: Faces, saddle: Tensor) -> float:
    """Return the share of the time to the other well after which the boundary is met."""
    H = torch.func.hessian(process.potential)(saddle)
    values, vectors = torch.linalg.eigh((H + H.T) / 2)
    at = saddle if isinstance(process, Langevin) else torch.cat([saddle, 0 * saddle])
    height, face = faces.heights(at.unsqueeze(0))[0].min(0)
    slope = faces.slopes(at.unsqueeze(0))[0, face, : len(saddle)]
    along = float((slope @ vectors[:, 0]).abs())
    s = float(height) / max(along, 1e-300)
    widths = s * math.sqrt(abs(float(values[0])) / process.temperature)
    if widths < -1:
        raise ValueError("the region ends before the saddle, where the law does not hold")
    if isinstance(process, Kinetic) and widths < 3:
        raise ValueError(
            f"with friction the boundary must be three widths beyond the saddle, got {widths:.2g}"
        )
    return float(stats.norm.cdf(widths))  # Eq. (F.72)


def _sde(
    process: Process,
    x0: Tensor,
    region: Region,
    dt: float | None,
    t_max: float | None,
    replicas: int,
    seed: int,
    progress: Progress | None,
) -> EscapeRow:
    if dt is None or t_max is None:
        raise ValueError("an ensemble needs dt and t_max")
    exits = exit_times(
        process, x0, region, dt=dt, t_max=t_max, replicas=replicas, seed=seed, progress=progress
    )
    return _of_sample("sde", exits)


def _sgd(
    process: Process,
    x0: Tensor,
    region: Region,
    t_max: float | None,
    replicas: int,
    seed: int,
    progress: Progress | None,
) -> EscapeRow:
    if not isinstance(process, SGDDiffusion) or t_max is None:
        raise ValueError("true SGD needs an SGDDiffusion, and t_max")
    exits = sgd_exit_times(
        process.loss,
        process.data,
        x0,
        region,
        lr=process.lr,
        batch_size=process.batch_size,
        steps=max(1, math.ceil(t_max / process.lr - 1e-9)),
        replicas=replicas,
        replacement=process.replacement,
        extra_noise=process.extra_noise,
        seed=seed,
        progress=progress,
    )
    return _of_sample("sgd", exits)


def _of_sample(method: str, exits: FirstExits) -> EscapeRow:
    notes = []
    if exits.num_censored:
        notes.append(
            f"{exits.num_censored} of {len(exits.times)} paths stayed inside: the mean takes an "
            f"exponential tail (p = {exits.tail_p:.2g}); without it, at least "
            f"{exits.restricted_mean:.4g}"
        )
    if exits.num_diverged:
        notes.append(f"{exits.num_diverged} of {len(exits.times)} paths diverged")
    low, high = exits.interval()
    row = EscapeRow(method, exits.value, exits.error, low, high, exits.status, 0.0, tuple(notes))
    return replace(row, sample=exits)


def _row(
    method: str, value: float, error: float, status: str, notes: tuple[str, ...] = ()
) -> EscapeRow:
    half = 1.96 * error
    return EscapeRow(method, value, error, max(0.0, value - half), value + half, status, 0.0, notes)
