"""The page of an escape."""

import json
import math

import numpy as np
from matplotlib.axes import Axes

from heatgrad.dynamics import EscapeFindings
from heatgrad.fokker_planck import EscapeRow, reference_of
from heatgrad.report.findings import Findings, Grid, Section
from heatgrad.report.lines import lines_panel
from heatgrad.report.panels import LegendEntry, Picture
from heatgrad.report.rows import EMPTY, Cell
from heatgrad.report.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    figure,
    set_log_scale,
    to_svg,
)

__all__ = ["escape_findings"]

_NAMES = {
    "quadrature": "quadrature",
    "grid": "Fokker-Planck grid",
    "eyring-kramers": "Eyring-Kramers law",
    "sde": "paths of the diffusion",
    "sgd": "true minibatch SGD",
}
_COLORS = {"sde": BLUE, "sgd": VERMILLION}


def escape_findings(found: EscapeFindings) -> Findings:
    """Return what the page of an escape shows."""
    spec = found.spec
    sections = [
        Section("How long until it leaves", _skipped(found), (_table(found),), _survival(found))
    ]
    if found.grid:
        sections.append(Section("Where it is meanwhile", _settling(found), (), _densities(found)))
    if "committor" in found.grid:
        text = "The committor is the chance to come to the other well before this one."
        sections.append(Section("The way out", (text,), (), (_way(found),)))
    return Findings(
        kind="escape",
        title=spec.title or spec.name,
        question=spec.question,
        answer=_answer(found),
        sections=tuple(sections),
        warnings=_warnings(found),
        notes=spec.notes,
        spec=json.dumps(spec.model_dump(mode="json"), indent=2),
        environment={name: str(value) for name, value in found.environment.items() if value},
    )


def _answer(found: EscapeFindings) -> tuple[str, ...]:
    known = [row for row in found.rows if math.isfinite(row.value)]
    best = reference_of(found.rows)
    sentences = []
    if found.landmarks is not None and not math.isnan(found.landmarks.barrier):
        marks = found.landmarks
        other = "as deep"
        if abs(marks.depth) > 1e-9 * marks.barrier:
            deeper = "deeper" if marks.depth > 0 else "less deep"
            other = f"{deeper} by {abs(marks.depth):.3g}"
        sentences.append(f"The barrier is {marks.barrier:.4g} high; the other well is {other}.")
    if found.landmarks is not None and not math.isnan(found.landmarks.crossover):
        marks = found.landmarks
        sentences.append(
            f"Within its well, by linear theory, it is drawn in until time {marks.crossover:.3g} "
            f"from as far as the saddle; then noise holds it {marks.spread:.3g} from the minimum, "
            f"root mean square."
        )
    if best is not None:
        words = f"It leaves after {best.value:.5g} on average"
        sentences.append(f"{words}, says the {_NAMES[best.method]}.")
    for row in found.rows:
        name = _sentence(row.method)
        if row not in known:
            sentences.append(f"{name}: none left; the mean time is above {row.low:.4g} (95 %).")
        elif row is not best and row.method in ("sgd", "eyring-kramers"):
            off = "" if math.isnan(row.relative) else f", {100 * row.relative:+.1f} %"
            sentences.append(f"{name} says {row.value:.4g}{off}.")
    if "mass_target_end" in found.grid:
        end = found.grid["mass_target_end"]
        sentences.append(f"In the end {100 * end:.1f} % of the mass is on the other side.")
    return tuple(sentences)


def _warnings(found: EscapeFindings) -> tuple[str, ...]:
    words = []
    status = found.grid.get("stationary_status", "converged")
    if status != "converged":
        words.append(f"The stationary density on the grid: {status}.")
    for row in found.rows:
        words += [f"{_sentence(row.method)}: {note}." for note in row.notes]
    return tuple(words)


def _sentence(method: str) -> str:
    name = _NAMES[method]
    return name[:1].upper() + name[1:]


def _skipped(found: EscapeFindings) -> tuple[str, ...]:
    words = [f"{_NAMES[name]} ({why})" for name, why in found.skipped.items()]
    return (f"Not applied: {'; '.join(words)}.",) if words else ()


def _table(found: EscapeFindings) -> Grid:
    rows = []
    best = reference_of(found.rows)
    for row in found.rows:
        off, z = EMPTY, Cell("reference") if row is best else EMPTY
        if math.isfinite(row.relative):
            off = Cell(f"{100 * row.relative:+.2f} %", row.relative)
        if math.isfinite(row.z):
            z = Cell(f"{row.z:+.2f}", row.z)
        cells = (
            *_time_of(row),
            off,
            z,
            Cell(row.status),
            Cell(
                f"{row.seconds:.3f} s" if row.seconds < 1 else f"{row.seconds:.0f} s", row.seconds
            ),
        )
        rows.append((_NAMES[row.method], cells))
    note = (
        "Mean time of the first exit from the region. The reference is the most exact method that "
        "applies; z is the difference over both errors. The law's interval is of the order of "
        "T / barrier, no more. True SGD is no diffusion: it differs by what the diffusion misses."
    )
    columns = ("mean time", "95 % interval", "to the reference", "z", "status", "time taken")
    return Grid("Mean exit times", columns, tuple(rows), note)


def _time_of(row: EscapeRow) -> tuple[Cell, Cell]:
    """Return the mean time and its interval; without a single exit, what it is above."""
    if math.isfinite(row.value) and math.isfinite(row.high):
        interval = Cell(f"{row.low:.5g} to {row.high:.5g}", row.low)
    else:
        interval = Cell(f"above {row.low:.5g}", row.low)
    return Cell(f"{row.value:.6g}", row.value) if math.isfinite(row.value) else EMPTY, interval


def _survival(found: EscapeFindings) -> tuple[Picture, ...]:
    if not found.survival:
        return ()
    reference = reference_of(found.rows)
    best = math.nan if reference is None else reference.value

    with figure(5.4, 3.2) as fig:
        ax = fig.subplots()
        longest = 0.0
        for name, (times, alive) in found.survival.items():
            some = alive > 0
            ax.step(times[some], alive[some], where="post", color=_COLORS[name], linewidth=1.4)
            longest = max(longest, float(times[-1]))
        if math.isfinite(best):
            at = np.linspace(0, longest, 100)
            ax.plot(at, np.exp(-at / best), color=GREY, linestyle="--", linewidth=1.0)
        ax.set_ylim(1e-3, 1.2)
        set_log_scale(ax)
        ax.set_xlabel("time")
        ax.set_ylabel("share still inside")
        svg = to_svg(fig, name="survival", title="Share of paths still inside")
    legend = [LegendEntry(_NAMES[name], _COLORS[name], "solid") for name in found.survival]
    legend.append(LegendEntry("exponential of the reference", GREY, "dashed"))
    return (Picture((svg,), "Share of the paths that have not left yet.", tuple(legend)),)


def _settling(found: EscapeFindings) -> tuple[str, ...]:
    if "mass_target" not in found.grid:
        return ()
    times, mass = found.grid["times"], found.grid["mass_target"]
    shares = [f"{100 * m:.1f} % at {t:g}" for t, m in zip(times[1:], mass[1:], strict=True)]
    return (f"Mass beyond the committor's half: {', '.join(shares)}.",)


def _densities(found: EscapeFindings) -> tuple[Picture, ...]:
    grid = found.grid
    axes = [grid[f"axis{k}"] for k in range(3) if f"axis{k}" in grid]
    shown = [] if "times" not in grid else list(zip(grid["times"], grid["masses"], strict=True))[1:]
    frames = [(f"t = {t:g}", m) for t, m in shown] + [("in the end", grid["stationary"])]
    if len(axes) == 1:
        return (_lines(axes[0], frames),)
    if len(axes) == 2:
        return (_maps(axes[0], axes[1], frames),)
    return ()


def _lines(axis: np.ndarray, frames: list[tuple[str, np.ndarray]]) -> Picture:
    width = axis[1] - axis[0]

    def draw(ax: Axes) -> None:
        for place, (_, masses) in enumerate(frames):
            last = place == len(frames) - 1
            shade = 0.25 + 0.6 * place / max(1, len(frames) - 1)
            ax.plot(axis, masses / width, color=BLACK if last else BLUE, alpha=1 if last else shade)

    svg = lines_panel(draw, name="density", title="Density over time", x="x", y="density")
    names = ", ".join(name for name, _ in frames[:-1])
    return Picture((svg,), f"Density, from light to dark: {names}; black: in the end.")


def _maps(across: np.ndarray, up: np.ndarray, frames: list[tuple[str, np.ndarray]]) -> Picture:
    svgs = []
    for place, (name, masses) in enumerate(frames):
        with figure(3.0, 2.7) as fig:
            ax = fig.subplots()
            ax.pcolormesh(
                across, up, np.sqrt(np.maximum(masses, 0)).T, cmap="Blues", rasterized=True
            )
            ax.set_title(name, parse_math=False)
            ax.grid(visible=False)
            svgs.append(to_svg(fig, name=f"density{place}", title=f"Density, {name}"))
    return Picture(
        tuple(svgs), "Density at these times (the root of it, so that little is seen too)."
    )


def _way(found: EscapeFindings) -> Picture:
    grid = found.grid
    with figure(5.4, 3.4) as fig:
        ax = fig.subplots()
        if "axis1" in grid:
            u = grid["potential"]
            top = float(np.min(u)) + 4 * max(found.landmarks.barrier, 1e-12)  # type: ignore[union-attr]
            ax.contour(
                grid["axis0"], grid["axis1"], np.minimum(u, top).T, 14, colors=GREY, linewidths=0.6
            )
            lines = ax.contour(
                grid["axis0"],
                grid["axis1"],
                grid["committor"].T,
                [0.1, 0.5, 0.9],
                colors=ORANGE,
                linewidths=1.3,
            )
            ax.clabel(lines, fontsize=7)
            caption = "Grey: the potential. Orange: where the committor is 0.1, 0.5 and 0.9."
        else:
            inside = np.isfinite(grid["potential"])
            low = float(grid["potential"][inside].min())
            barrier = found.landmarks.barrier if found.landmarks else 1.0
            ax.plot(grid["axis0"], (grid["potential"] - low) / barrier, color=GREY)
            ax.plot(grid["axis0"], grid["committor"], color=ORANGE)
            ax.set_ylim(-0.05, 2.0)
            ax.set_xlabel("x")
            caption = "Grey: the potential over the barrier. Orange: the committor."
        svg = to_svg(fig, name="way", title="Potential and committor")
    return Picture((svg,), caption)
