"""What a study measured of the loss landscape, on its page."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from heatgrad.report.contours import Relief, contour_picture, relief_of
from heatgrad.report.forest import effects_of, forest_picture
from heatgrad.report.lines import FLOOR, lines_panel
from heatgrad.report.panels import Picture, legend, line_key
from heatgrad.report.rows import Cell, Row, silent, worded
from heatgrad.report.style import ArmStyle, arm_styles
from heatgrad.study import Results, Verdict
from heatgrad.study.geometry_kinds import KINDS
from heatgrad.study.geometry_spec import GeometrySpec
from heatgrad.study.wording import show_value

__all__ = ["GeometryBlock", "geometry_blocks"]

_SAYS = {
    "sharpness": "How much the loss rises when the weights are moved by random directions, both "
    "signs of each",
    "worst-sharpness": "How far the loss rises at the worst point found within the radius",
    "spectrum": "The eigenvalues of the Hessian of the loss, by stochastic Lanczos quadrature over "
    "the whole of the data",
    "path": "The loss along the straight line to the network of {end} of the same block, and how "
    "far it rises above the line between the ends",
    "curve": "The loss along a curve to the network of {end} of the same block that was trained to "
    "keep it low, and how far it rises above the line between the ends",
    "surface": "The loss over a plane through the solution",
}
_UNSAID = ("seed", "at_once", "refine", "statistics")  # options that are said only where given


@dataclass(frozen=True)
class GeometryBlock:
    """One measurement on one task under one regime.

    Attributes:
        title: Measurement, task, regime.
        text: What was measured, and how.
        unit: Of the values, or empty.
        rows: The arms; empty for a picture.
        forest: Differences and their intervals, or None.
        pictures: Curves, densities, contours.
        reliefs: Surfaces that can be turned.
    """

    title: str
    text: str
    unit: str
    rows: list[Row]
    forest: Picture | None
    pictures: list[Picture]
    reliefs: list[Relief]


def geometry_blocks(results: Results) -> list[GeometryBlock]:
    """Return what was measured, measurement by measurement; empty where nothing was."""
    blocks: list[GeometryBlock] = []
    for name in results.study.geometry:
        verdicts = results.geometry.verdicts(name)
        for regime in results.study.regimes:
            for task in results.study.tasks:
                mine = [
                    v for v in verdicts if (v.question.task, v.question.regime) == (task, regime)
                ]
                anchor = f"geometry-{len(blocks)}"
                block = _block(results, name, task, regime, mine, anchor)
                if block is not None:
                    blocks.append(block)
    return blocks


def _block(
    results: Results,
    name: str,
    task: str,
    regime: str,
    verdicts: Sequence[Verdict],
    anchor: str,
) -> GeometryBlock | None:
    study, spec = results.study, results.study.geometry[name]
    found = {arm: results.geometry.found(name, task, arm, regime) for arm in study.arms}
    found = {arm: by_block for arm, by_block in found.items() if by_block}
    if not found:
        return None
    styles = arm_styles(study)
    parts = [name, *([task] if len(study.tasks) > 1 else [])]
    if len(study.regimes) > 1:
        parts.append(regime)
    forest, effects = (
        None,
        effects_of(
            verdicts,
            {arm: style.color for arm, style in styles.items()},
            {arm: study.controls_of(arm) for arm in study.arms},
        ),
    )
    if effects and spec.margin is not None:
        forest = forest_picture(
            effects,
            margin=spec.margin,
            metric=spec.metric,
            name=f"{anchor}-forest",
            title=f"Differences from {study.baseline}: {name} on {task}",
        )
    pictures, reliefs = _pictures(spec, found, styles, anchor)
    return GeometryBlock(
        title=", ".join(parts),
        text=_text(results, spec),
        unit="" if spec.of == "negative_mass" and spec.kind == "spectrum" else "loss",
        rows=_rows(results, name, task, regime, verdicts) if spec.is_compared else [],
        forest=forest,
        pictures=pictures,
        reliefs=reliefs,
    )


def _text(results: Results, spec: GeometrySpec) -> str:
    says = _SAYS[spec.kind].replace("{end}", spec.to or results.study.baseline)
    if spec.align:
        says += "; hidden units are put into the order of that network's first"
    defaults = {
        name: known.default
        for name, known in KINDS[spec.kind].options.items()
        if known.default is not inspect.Parameter.empty and name not in _UNSAID
    }
    options = [f"{key} {value}" for key, value in (defaults | spec.options).items() if value]
    data = f"at most {spec.examples:,} {'training' if spec.part == 'train' else 'test'} examples"
    if spec.kind == "spectrum":
        statistics = "at the network's own batch statistics"
    else:
        statistics = "" if "statistics" in spec.options else "batch statistics estimated anew"
    how = "; ".join(part for part in (", ".join(options), data, statistics) if part)
    margin = ""
    if spec.margin is not None:
        least = show_value(spec.margin, spec.metric)
        margin = f" Less is counted as a gain; differences below {least} do not matter."
    return f"{says} ({how}).{margin}"


def _rows(
    results: Results, name: str, task: str, regime: str, verdicts: Sequence[Verdict]
) -> list[Row]:
    study, metric = results.study, results.study.geometry[name].metric
    said = {verdict.question.arm: verdict for verdict in verdicts}
    styles, rows = arm_styles(study), []
    for arm in study.arms:
        values = list(results.geometry.values(name, task, arm, regime).values())
        if not values:
            continue
        is_baseline = arm == study.baseline
        words = worded(said[arm]) if arm in said else silent(is_baseline, len(values))
        mean = float(np.mean(values))
        value = Cell(show_value(mean, metric), mean)
        rows.append(Row(arm=arm, color=styles[arm].color, value=value, **words))
    return rows


def _pictures(
    spec: GeometrySpec,
    found: Mapping[str, Mapping[int, Any]],
    styles: Mapping[str, ArmStyle],
    anchor: str,
) -> tuple[list[Picture], list[Relief]]:
    if KINDS[spec.kind].is_path:
        return [_path_picture(found, styles, anchor)], []
    if spec.kind == "spectrum":
        return [_density_picture(found, styles, anchor)], []
    if spec.kind == "surface":
        return _surface_pictures(found, anchor)
    return [], []


def _path_picture(
    found: Mapping[str, Mapping[int, Any]], styles: Mapping[str, ArmStyle], anchor: str
) -> Picture:
    grid = np.linspace(0, 1, 41)

    def draw(ax: Axes) -> None:
        for arm, by_block in found.items():
            curves = np.array([np.interp(grid, v["at"], v["losses"]) for v in by_block.values()])
            low, middle, high = np.percentile(curves, [25, 50, 75], axis=0)
            style = styles[arm]
            ax.fill_between(grid, low, high, color=style.color, alpha=0.15, linewidth=0)
            ax.plot(grid, middle, color=style.color, linestyle=style.linestyle, linewidth=1.4)

    x = "place on the path: 0 the arm, 1 the end"
    svg = lines_panel(draw, name=f"{anchor}-paths", title="Loss along paths", x=x, y="loss")
    caption = f"Loss along the path: median and quartiles over blocks, {_n(found)}."
    arms = list(found)
    return Picture((svg,), caption + line_key(styles, arms), legend(styles, arms))


def _density_picture(
    found: Mapping[str, Mapping[int, Any]], styles: Mapping[str, ArmStyle], anchor: str
) -> Picture:
    ends = [value for by_block in found.values() for v in by_block.values() for value in v["at"]]
    grid = np.linspace(min(ends), max(ends), 400)

    def draw(ax: Axes) -> None:
        for arm, by_block in found.items():
            curves = [
                np.interp(grid, v["at"], v["density"], left=0, right=0) for v in by_block.values()
            ]
            mean = np.maximum(np.mean(curves, axis=0), FLOOR)
            style = styles[arm]
            ax.plot(grid, mean, color=style.color, linestyle=style.linestyle, linewidth=1.3)

    title, x = "Spectra of the Hessian", "eigenvalue of the Hessian"
    svg = lines_panel(draw, name=f"{anchor}-density", title=title, x=x, y="density", log=True)
    caption = f"Density of the eigenvalues, smoothed: mean over blocks, {_n(found)}."
    arms = list(found)
    return Picture((svg,), caption + line_key(styles, arms), legend(styles, arms))


def _surface_pictures(
    found: Mapping[str, Mapping[int, Any]], anchor: str
) -> tuple[list[Picture], list[Relief]]:
    surfaces, reliefs, holes = {}, [], []
    for arm, by_block in found.items():
        block, value = next(iter(by_block.items()))
        losses = np.array(value["losses"], dtype=np.float64)  # None is read as NaN
        surfaces[arm] = (value["across"], value["up"], losses)
        if value["holes"]:
            holes.append(f"{arm} {value['holes']}")
        if np.isnan(losses).all():
            continue
        reliefs.append(relief_of(arm, losses, caption=f"Block {block}."))
    caption = "Loss around the solution (cross)."
    if holes:
        caption += f" Hatched: not finite, at so many places: {', '.join(holes)}."
    return [contour_picture(surfaces, name=f"{anchor}-contours", caption=caption)], reliefs


def _n(found: Mapping[str, Mapping[int, Any]]) -> str:
    counts = sorted({len(by_block) for by_block in found.values()})
    return "n = " + " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
