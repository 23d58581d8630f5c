"""The page of a solution from sensors."""

import json
import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from heatgrad.report.findings import Findings, Grid, Section
from heatgrad.report.panels import Picture
from heatgrad.report.rows import EMPTY, Cell
from heatgrad.report.style import figure, to_svg
from heatgrad.solving import SolveFindings

__all__ = ["METHOD_WORDS", "field_panel", "per_cent", "solve_findings"]

METHOD_WORDS = {
    "exact": "exact posterior",
    "pseudo-inverse": "pseudo-inverse guidance",
    "dps": "DPS",
    "adam": "Adam guidance",
    "kriging": "kriging, fitted covariance",
}
_NUM_SHOWN = 6  # draws of the gallery


def solve_findings(found: SolveFindings) -> Findings:
    """Return what the page of a solution shows."""
    spec = found.spec
    asked = ", ".join(f"{len(found.sensors.of(name))} of {name}" for name in found.sensors.fields)
    sections = [
        *(Section(f"Field {name}", (), (), (_field(found, name),)) for name in _ordered(found)),
        Section("How good it is", _explained(found), _tables(found)),
        Section("Draws", (_DRAWS,), (), tuple(_gallery(found, name) for name in _ordered(found))),
    ]
    return Findings(
        kind="solve",
        title=f"{spec.problem}: fields from {len(found.sensors)} sensors",
        question=f"Which fields of {spec.problem} agree with {asked} at these points?",
        answer=_answer(found),
        sections=tuple(sections),
        warnings=tuple(f"{words[:1].upper()}{words[1:]}." for words in found.warnings),
        notes=(*(f"{words[:1].upper()}{words[1:]}." for words in found.notes), found.prior),
        spec=json.dumps(spec.model_dump(mode="json"), indent=2),
        environment={name: str(value) for name, value in found.environment.items() if value},
    )


_DRAWS = "Each draw is one field that agrees with the sensors; where draws differ, nobody knows."


def per_cent(value: float) -> Cell:
    """Return a share as a cell in percent.

    Example:
        >>> per_cent(0.0123).text
        '1.23 %'
    """
    return EMPTY if math.isnan(value) else Cell(f"{100 * value:.3g} %", value)


def field_panel(
    values: NDArray[np.float64], *, name: str, title: str, span: tuple[float, float], cmap: str
) -> str:
    """Return the drawn `<svg>` of a field on the unit square.

    Args:
        values: Shape (n, n), axis 0 being x.
        name: Of the figure, unique in the page.
        title: What it shows.
        span: Values of the ends of the colours.
        cmap: The colours.
    """
    with figure(2.6, 2.2) as fig:
        ax = fig.subplots()
        image = ax.imshow(
            values.T, origin="lower", extent=(0, 1, 0, 1), cmap=cmap, vmin=span[0], vmax=span[1],
            interpolation="nearest",
        )  # fmt: skip
        _bare(ax, title)
        fig.colorbar(image, ax=ax, shrink=0.85, format="%.3g")
        return to_svg(fig, name=name, title=title)


def _bare(ax: Axes, title: str) -> None:
    ax.set_title(title, parse_math=False)
    ax.set_xticks([0, 1])
    ax.set_yticks([0, 1])
    ax.grid(visible=False)
    ax.set_aspect("equal")


def _ordered(found: SolveFindings) -> list[str]:
    """Return the fields, those that were not measured first."""
    return sorted(found.problem.names, key=lambda name: name in found.sensors.fields)


def _span(fields: list[NDArray[np.float64]]) -> tuple[float, float]:
    low = min(float(field.min()) for field in fields)
    high = max(float(field.max()) for field in fields)
    if low < 0 < high:
        high = max(high, -low)
        low = -high
    return low, high if high > low else low + 1.0


def _field(found: SolveFindings, name: str) -> Picture:
    """Return observations, mean, deviation, truth and error of a field."""
    answer = found.answers[found.spec.method]
    mean, std = answer.mean[name][0].numpy(), answer.std()[name].numpy()
    true = None if found.truth is None else found.truth[name][0].numpy()
    own = found.sensors.of(name)
    shown = [mean] if true is None else [mean, true]
    span = _span(shown)
    cmap = "RdBu_r" if span[0] < 0 < span[1] else "viridis"
    svgs = []
    if len(own):
        svgs.append(_sensors(found, name, span, cmap))
    svgs.append(field_panel(mean, name=f"mean-{name}", title=f"{name}: mean", span=span, cmap=cmap))
    if true is not None:
        svgs.append(
            field_panel(true, name=f"truth-{name}", title=f"{name}: truth", span=span, cmap=cmap)
        )
    top = max(float(std.max()), 0.0 if true is None else float(np.abs(mean - true).max()), 1e-300)
    svgs.append(
        field_panel(
            std, name=f"std-{name}", title=f"{name}: deviation", span=(0, top), cmap="magma"
        )
    )
    if true is not None:
        svgs.append(
            field_panel(
                np.abs(mean - true),
                name=f"error-{name}",
                title=f"{name}: |mean - truth|",
                span=(0, top),
                cmap="magma",
            )
        )
    caption = f"Field {name} by {METHOD_WORDS[found.spec.method]}, {found.spec.draws} draws."
    if true is not None:
        caption += " Deviation and error have one scale: where it errs, it should have said so."
    return Picture(tuple(svgs), caption)


def _sensors(found: SolveFindings, name: str, span: tuple[float, float], cmap: str) -> str:
    own = found.sensors.of(name)
    points, values = found.sensors.points[own], found.sensors.value[own]
    title = f"{name}: {len(own)} sensors"
    with figure(2.6, 2.2) as fig:
        ax = fig.subplots()
        dots = ax.scatter(
            points[:, 0], points[:, 1], c=values, s=7, cmap=cmap, vmin=span[0], vmax=span[1],
            edgecolors="#8A8A8A", linewidths=0.2,
        )  # fmt: skip
        _bare(ax, title)
        ax.set_xlim(-0.02, 1.02)
        ax.set_ylim(-0.02, 1.02)
        fig.colorbar(dots, ax=ax, shrink=0.85, format="%.3g")
        return to_svg(fig, name=f"sensors-{name}", title=title)


def _gallery(found: SolveFindings, name: str) -> Picture:
    draws = found.answers[found.spec.method].draws[name].numpy()[:_NUM_SHOWN]
    span = _span(list(draws))
    cmap = "RdBu_r" if span[0] < 0 < span[1] else "viridis"
    svgs = tuple(
        field_panel(
            draw, name=f"draw-{name}-{k}", title=f"{name}: draw {k + 1}", span=span, cmap=cmap
        )
        for k, draw in enumerate(draws)
    )
    return Picture(svgs, f"The first {len(draws)} of {found.spec.draws} draws of {name}.")


def _tables(found: SolveFindings) -> tuple[Grid, ...]:
    grids = []
    if found.scores:
        columns = (
            "field",
            "error of the mean",
            "error of one draw",
            "coverage of 90 % bands",
            "CRPS",
        )
        rows = []
        for method, scores in found.scores.items():
            for name, score in scores.items():
                cells = (
                    Cell(name), per_cent(score.mean_error), per_cent(score.draw_error),
                    per_cent(score.coverage), Cell(f"{score.crps:.3g}", score.crps),
                )  # fmt: skip
                rows.append((METHOD_WORDS[method], cells))
        note = (
            "Relative L2 errors; the CRPS over the root mean square of the truth. The exact "
            "posterior is the floor: no method that knows the same has less on average."
            if "exact" in found.scores
            else "Relative L2 errors; the CRPS over the root mean square of the truth."
        )
        grids.append(Grid("Errors", columns, tuple(rows), note))
    return (*grids, _costs(found))


def _costs(found: SolveFindings) -> Grid:
    rows = []
    for method, answer in found.answers.items():
        of_mean, of_draws = found.residuals[method]
        cells = (
            per_cent(of_mean), per_cent(of_draws), Cell(str(answer.calls), answer.calls),
            Cell(f"{answer.seconds:.3g} s", answer.seconds),
            Cell(f"{found.shared[method]:.3g} s", found.shared[method]),
        )  # fmt: skip
        rows.append((METHOD_WORDS[method], cells))
    if "truth" in found.residuals:
        rows.append(("truth", (per_cent(found.residuals["truth"][0]), EMPTY, EMPTY, EMPTY, EMPTY)))
    columns = (
        "residual of the mean",
        "residual of a draw",
        "calls of the denoiser",
        "time",
        "set-up",
    )
    note = (
        "Relative residuals of the equation in another discretisation than the one that solves it. "
        "The set-up is shared by all cases with the same sensors."
    )
    return Grid("Residuals and costs", columns, tuple(rows), note)


def _explained(found: SolveFindings) -> tuple[str, ...]:
    if found.truth is None:
        return ("The truth is not known, so errors are not; the draws tell how far it may be.",)
    return ()


def _answer(found: SolveFindings) -> tuple[str, ...]:
    method = found.spec.method
    sentences = []
    if not found.scores:
        answer = found.answers[method]
        for name in _ordered(found):
            size = float(answer.mean[name].square().mean().sqrt())
            spread = float(answer.std()[name].square().mean().sqrt())
            sentences.append(
                f"{name}: a deviation of {spread:.3g} on average, {_share(spread, size)} of its "
                f"size."
            )
        return tuple(sentences)
    for name in _ordered(found):
        score = found.scores[method][name]
        words = (
            f"{name}: the mean errs by {100 * score.mean_error:.3g} %, one draw by "
            f"{100 * score.draw_error:.3g} %"
        )
        sentences.append(f"{words}{_beside(found.scores, method, name)}.")
    return tuple(sentences)


def _beside(scores: Mapping[str, Mapping[str, object]], method: str, name: str) -> str:
    exact = scores.get("exact")
    if exact is None or method == "exact":
        return ""
    floor = exact[name]
    return (
        f"; the exact posterior by {100 * floor.mean_error:.3g} % and "  # type: ignore[attr-defined]
        f"{100 * floor.draw_error:.3g} %"  # type: ignore[attr-defined]
    )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.3g} %" if whole else "all"
