"""The page of the benchmark of posteriors."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from heatgrad.report.findings import Findings, Grid, Section
from heatgrad.report.panels import Picture
from heatgrad.report.rows import EMPTY, Cell
from heatgrad.report.solve import field_panel
from heatgrad.solving import (
    REPORTED,
    REPORTED_BY,
    BenchmarkRow,
    PosteriorBenchmark,
    mean_and_error,
)

__all__ = ["posterior_findings"]

_ERRORS = ("error of the mean", "error of one draw", "mean / exact", "coverage", "CRPS")
_COSTS = (
    "residual of the mean",
    "residual of a draw",
    "calls",
    "time a case",
    "set-up",
    "numbers",
    "cases",
)
_WRONG = "wrong pixels"


def posterior_findings(found: PosteriorBenchmark) -> Findings:
    """Return what the page of the benchmark shows."""
    names = dict.fromkeys((row.problem, row.direction) for row in found.rows)
    sections = [_section(found, problem, direction) for problem, direction in names]
    spec = found.spec
    return Findings(
        kind="solve",
        title="Posteriors of PDE solutions from sensors",
        question=(
            f"How far is each method from the exact posterior, with {spec.sensors} sensors of one "
            f"field?"
        ),
        answer=_answer(found),
        sections=(*sections, *_trained(found)),
        notes=_notes(found),
        spec=json.dumps(spec.model_dump(mode="json"), indent=2),
        environment={name: str(value) for name, value in found.environment.items() if value},
    )


def _section(found: PosteriorBenchmark, problem: str, direction: str) -> Section:
    by_arm: dict[str, list[BenchmarkRow]] = {}
    for row in found.rows:
        if (row.problem, row.direction) == (problem, direction):
            by_arm.setdefault(row.arm, []).append(row)
    target = next(iter(by_arm.values()))[0].target
    title = f"{problem}, {direction}: {target}"
    gallery = found.galleries.get((problem, direction))
    pictures = () if gallery is None else (_picture(problem, direction, gallery),)
    grids = (_errors(title, problem, direction, by_arm), _costs(title, by_arm))
    return Section(title, (), grids, pictures)


def _errors(
    title: str, problem: str, direction: str, by_arm: Mapping[str, Sequence[BenchmarkRow]]
) -> Grid:
    has_wrong = any("wrong" in row.values for own in by_arm.values() for row in own)
    columns = (*_ERRORS, *([_WRONG] if has_wrong else []), REPORTED_BY)
    lines = []
    for own in by_arm.values():
        cells = [
            _spread(own, "mean_error"),
            _spread(own, "draw_error"),
            _ratio(own, by_arm.get("exact")),
            _spread(own, "coverage"),
            _plain(own, "crps"),
        ]
        if has_wrong:
            cells.append(_spread(own, "wrong"))
        lines.append((own[0].title, (*cells, EMPTY)))
    for figure in REPORTED.get(problem, ()):
        value = figure.forward if direction == "forward" else figure.inverse
        blank = [EMPTY] * (len(columns) - 1)
        lines.append((figure.method, (*blank, Cell(f"{value:g} %", value / 100))))
    note = (
        "Relative L2 errors with the standard error over seeds; each method on the first of the "
        "same cases. Mean / exact: the ratio of the mean's errors on the same cases. Coverage is "
        "that of 90 % bands, the CRPS is over the root mean square of the truth. Figures of others "
        "are of one draw, 128 x 128 points, other sensors and other cases"
        + ("; of Darcy inverse, wrong pixels." if has_wrong else ".")
    )
    return Grid(f"Errors, {title}", columns, tuple(lines), note)


def _costs(title: str, by_arm: Mapping[str, Sequence[BenchmarkRow]]) -> Grid:
    lines = []
    for own in by_arm.values():
        first = own[0]
        cases = sum(len(row.values["mean_error"]) for row in own)
        cells = (
            _spread(own, "residual_mean"),
            _spread(own, "residual_draw"),
            Cell(str(first.calls), first.calls),
            _seconds(float(np.mean([row.values["seconds"].mean() for row in own]))),
            _seconds(float(np.mean([row.shared for row in own]))),
            Cell(f"{first.numbers:,}", first.numbers),
            Cell(str(cases), cases),
        )
        lines.append((first.title, cells))
    note = "Calls of the denoiser and numbers are for one draw, times for all draws of a case."
    return Grid(f"Residuals and costs, {title}", _COSTS, tuple(lines), note)


def _spread(own: Sequence[BenchmarkRow], name: str) -> Cell:
    parts = [row.values[name] for row in own if name in row.values]
    if not parts:
        return EMPTY
    mean, error = mean_and_error(parts)
    if math.isnan(mean):
        return Cell("not finite", math.inf)
    return Cell(
        f"{100 * mean:.3g} %" + ("" if math.isnan(error) else f" ± {100 * error:.1g}"), mean
    )


def _plain(own: Sequence[BenchmarkRow], name: str) -> Cell:
    mean, _ = mean_and_error([row.values[name] for row in own])
    return Cell(f"{mean:.3g}", mean)


def _ratio(own: Sequence[BenchmarkRow], exact: Sequence[BenchmarkRow] | None) -> Cell:
    """Return the error of the mean over that of the exact posterior on the same cases."""
    by_seed = {row.seed: row for row in exact or ()}
    pairs = [(row, by_seed[row.seed]) for row in own if row.seed in by_seed]
    if not pairs:
        return EMPTY
    mine = np.concatenate([row.values["mean_error"] for row, _ in pairs])
    floor = np.concatenate(
        [other.values["mean_error"][: len(row.values["mean_error"])] for row, other in pairs]
    )
    if len(mine) != len(floor):  # the exact one answered fewer
        return EMPTY
    ratio = float(mine.mean() / floor.mean())
    return Cell(f"{ratio:.3f}", ratio)


def _seconds(value: float) -> Cell:
    return Cell(f"{value:.2g} s", value)


def _picture(problem: str, direction: str, gallery: Mapping[str, object]) -> Picture:
    target = str(gallery["target"])
    shown: dict[str, NDArray[np.float64]] = {
        "truth": np.asarray(gallery["truth"], dtype=np.float64),
        "mean": np.asarray(gallery["mean"], dtype=np.float64),
    }
    for k, draw in enumerate(np.asarray(gallery["draws"], dtype=np.float64)):
        shown[f"draw {k + 1}"] = draw
    low = min(float(field.min()) for field in shown.values())
    high = max(float(field.max()) for field in shown.values())
    cmap = "RdBu_r" if low < 0 < high else "viridis"
    span = (-max(high, -low), max(high, -low)) if low < 0 < high else (low, high)
    named = f"{problem}-{direction}"
    svgs = [
        field_panel(field, name=f"{named}-{k}", title=f"{target}: {what}", span=span, cmap=cmap)
        for k, (what, field) in enumerate(shown.items())
    ]
    std = np.asarray(gallery["std"], dtype=np.float64)
    svgs.append(
        field_panel(
            std,
            name=f"{named}-std",
            title=f"{target}: deviation",
            span=(0, max(float(std.max()), 1e-300)),
            cmap="magma",
        )
    )
    caption = (
        f"The first case: truth, mean and draws of {target} by pseudo-inverse guidance, from "
        f"sensors of {gallery['observed']}."
    )
    return Picture(tuple(svgs), caption)


def _trained(found: PosteriorBenchmark) -> tuple[Section, ...]:
    if not found.priors:
        return ()
    rows = []
    for (problem, source), about in found.priors.items():
        cells = (
            Cell(f"{about['parameters']:,}", about["parameters"]),
            Cell(f"{about['numbers']:,}", about["numbers"]),
            Cell(str(about["epochs"]), about["epochs"]),
            Cell(f"{about['seconds_prepared'] / 60:.1f} min", about["seconds_prepared"]),
            Cell(f"{about['seconds_trained'] / 60:.1f} min", about["seconds_trained"]),
        )
        words = "on the grid" if source == "grid" else "spectral latent"
        rows.append((f"{problem}, {words}", cells))
    columns = ("weights", "numbers of a sample", "epochs", "data and fit", "training")
    return (Section("Trained priors", (), (Grid("Trained priors", columns, tuple(rows)),)),)


def _answer(found: PosteriorBenchmark) -> tuple[str, ...]:
    sentences = []
    for problem, direction in dict.fromkeys((r.problem, r.direction) for r in found.rows):
        errors: dict[str, list[NDArray[np.float64]]] = {}
        for row in found.rows:
            if (row.problem, row.direction) == (problem, direction):
                errors.setdefault(row.arm, []).append(row.values["mean_error"])
        words = [f"{arm} {100 * mean_and_error(parts)[0]:.3g} %" for arm, parts in errors.items()]
        sentences.append(f"{problem}, {direction}, error of the mean: {', '.join(words)}.")
    return tuple(sentences)


def _notes(found: PosteriorBenchmark) -> tuple[str, ...]:
    spec = found.spec
    return (
        f"{spec.cases} cases for each of {spec.seeds} seeds; a seed has its own sensors and "
        f"solutions. {spec.draws} draws a case, {spec.slow_draws} of DPS "
        f"and Adam guidance. DPS answers the first {spec.dps_cases} cases of a "
        f"seed with {spec.dps_steps} steps, Adam guidance the first {spec.adam_cases} with "
        f"{spec.adam_steps}: they need gradients through the network at every step.",
        "Times are of this machine; the set-up is shared by all cases with the same sensors.",
        "Residuals are relative, in another discretisation than the one that made the data; for "
        "Navier-Stokes the relative distance to what a second solver makes of the first field.",
    )
