"""The page of gradient flows."""

import json
import math
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from heatgrad.dynamics import FlowFinding, FlowFindings
from heatgrad.flow import DivergenceByStart, Verdict, predicted_exponents
from heatgrad.report.findings import Findings, Grid, Section
from heatgrad.report.panels import LegendEntry, Picture
from heatgrad.report.rows import EMPTY, Cell
from heatgrad.report.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    figure,
    to_svg,
)
from heatgrad.study.wording import listed

__all__ = ["flow_findings"]

_COLORS = (BLACK, BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, GREY)
_METHODS = {"flow": BLACK, "gd": BLUE, "sgd": ORANGE, "adam": GREEN}
_DASHES = {"-": "solid", "--": "dashed", ":": "dotted"}


def flow_findings(found: FlowFindings) -> Findings:
    """Return what the page of gradient flows shows."""
    spec = found.spec
    verdicts = [flow.trajectory.verdict() for flow in found.flows]
    sections = [
        Section("Where each flow goes", (), (_table(found, verdicts),), ()),
        Section("Norm and loss over time", (), (), _growth(found)),
    ]
    if found.descents:
        sections.append(Section("Optimizers beside the flow", (), (), _descents(found)))
    if found.sweep is not None:
        sections.append(_sweep(found.sweep))
    evidence = tuple(
        f"{_name(found, flow)}: {' '.join(verdict.evidence)}"
        for flow, verdict in zip(found.flows, verdicts, strict=True)
    )
    sections.append(Section("Evidence", evidence))
    return Findings(
        kind="flow",
        title=spec.title or spec.name,
        question=spec.question,
        answer=_answer(found, verdicts),
        sections=tuple(sections),
        warnings=_warnings(found),
        notes=spec.notes,
        spec=json.dumps(spec.model_dump(mode="json"), indent=2),
        environment={name: str(value) for name, value in found.environment.items() if value},
    )


def _name(found: FlowFindings, flow: FlowFinding) -> str:
    several = found.spec.nets[flow.net].seeds > 1
    return f"{flow.net}, start {flow.seed}" if several else flow.net


def _answer(found: FlowFindings, verdicts: list[Verdict]) -> tuple[str, ...]:
    sentences = []
    for word in ("diverges", "converges", "undecided"):
        names = [
            _name(found, flow)
            for flow, verdict in zip(found.flows, verdicts, strict=True)
            if verdict.word == word
        ]
        if names:
            sentences.append(f"{word.capitalize()}: {listed(names)}.")
    if found.sweep is not None and not math.isnan(found.sweep.threshold):
        sentences.append(
            f"Of the starts of {found.spec.sweep.net if found.spec.sweep else ''} every one within "
            f"{found.sweep.threshold:.2g} of the infimum diverges."
        )
    return tuple(sentences)


def _warnings(found: FlowFindings) -> tuple[str, ...]:
    return tuple(
        f"{_name(found, flow)} ended early: {flow.trajectory.message}."
        for flow in found.flows
        if flow.trajectory.status != "done"
    )


def _table(found: FlowFindings, verdicts: list[Verdict]) -> Grid:
    rows = []
    for flow, verdict in zip(found.flows, verdicts, strict=True):
        path = flow.trajectory
        slopes = []
        for name in ("norm", "loss", "speed"):
            fitted = getattr(verdict, name)
            is_known = bool(fitted) and math.isfinite(fitted[-1].value)
            slopes.append(Cell(f"{fitted[-1].value:.3f}", fitted[-1].value) if is_known else EMPTY)
        cells = (
            Cell(verdict.word),
            *slopes,
            Cell(f"{path.norm[-1]:.4g}", float(path.norm[-1])),
            Cell(f"{path.loss[-1]:.3g}", float(path.loss[-1])),
            Cell(f"{abs(path.energy_defect[-1]):.0e}", float(abs(path.energy_defect[-1]))),
            Cell(f"{float(path.stats.get('seconds', math.nan)):.2g} s"),
        )
        rows.append((_name(found, flow), cells))
    columns = (
        "verdict", "norm ~ t^", "loss ~ t^", "speed ~ t^", "norm", "loss", "energy defect", "time",
    )  # fmt: skip
    laws = "; ".join(f"k = {k}: {_law(k)}" for k in (2, 4))
    note = (
        f"Exponents of time over the last decade, that of the loss above its limit. Where the loss "
        f"falls like the norm to the power -k they are, for norm, loss and speed, {laws}. Energy "
        f"defect: how far the fall of the loss and the integral of the squared speed are apart, "
        f"relative to the fall."
    )
    return Grid("Where each flow goes", columns, tuple(rows), note)


def _law(k: float) -> str:
    law = predicted_exponents(k)
    return f"{law.norm:.3f}, {law.loss:.3f} and {law.speed:.3f}"


def _growth(found: FlowFindings) -> tuple[Picture, ...]:
    colors = _colors(found)
    svgs = []
    for quantity, label in (("norm", "norm of the weights"), ("loss", "loss")):
        with figure(5.4, 3.4) as fig:
            ax = fig.subplots()
            for flow in found.flows:
                _curve(ax, flow.trajectory.t, getattr(flow.trajectory, quantity), colors[flow.net])
            _log(ax, "time", label)
            svgs.append(to_svg(fig, name=f"flow-{quantity}", title=f"{label} over time"))
    legend = tuple(LegendEntry(net, color, "solid") for net, color in colors.items())
    return (Picture(tuple(svgs), f"{len(found.flows)} flows, both axes logarithmic.", legend),)


def _descents(found: FlowFindings) -> tuple[Picture, ...]:
    """Draw flow and optimizers by color, networks by their line."""
    assert found.spec.descent is not None
    lr, steps = found.spec.descent.lr, found.spec.descent.steps
    nets = dict.fromkeys(run.net for run in found.descents)
    lines = dict(zip(nets, cycle(_DASHES), strict=False))
    svgs = []
    for quantity, label in (("norm", "norm of the weights"), ("loss", "loss")):
        with figure(5.4, 3.4) as fig:
            ax = fig.subplots()
            for flow in found.flows:
                if flow.seed == 0 and flow.net in lines:
                    path = flow.trajectory
                    kept = path.t <= lr * steps
                    values = getattr(path, quantity)[kept]
                    _curve(ax, path.t[kept], values, _METHODS["flow"], lines[flow.net])
            for run in found.descents:
                color = _METHODS[run.optimizer]
                _curve(ax, lr * run.steps, getattr(run, quantity), color, lines[run.net])
            _log(ax, "learning rate times steps", label)
            svgs.append(to_svg(fig, name=f"descent-{quantity}", title=f"{label} over steps"))
    used = {"flow"} | {run.optimizer for run in found.descents}
    legend = [LegendEntry(name, _METHODS[name], "solid") for name in _METHODS if name in used]
    if len(nets) > 1:
        legend += [LegendEntry(net, BLACK, _DASHES[lines[net]]) for net in nets]
    caption = f"{', '.join(nets)}, to time {lr * steps:g}, which is where {steps:,} steps end."
    return (Picture(tuple(svgs), caption, tuple(legend)),)


def _sweep(sweep: DivergenceByStart) -> Section:
    def draw(ax: Axes) -> None:
        centers = np.sqrt(sweep.edges[1:] * sweep.edges[:-1])
        seen = sweep.counts.sum(1) > 0
        share = sweep.share[seen]
        spread = [share - sweep.low[seen], sweep.high[seen] - share]
        ax.errorbar(centers[seen], share, np.maximum(spread, 0), fmt="o", color=BLUE, capsize=3)
        ax.set_xscale("log")
        ax.set_ylim(-0.05, 1.05)
        ax.set_xlabel("loss at the start, above the infimum")
        ax.set_ylabel("share that diverges")

    with figure(5.4, 3.2) as fig:
        draw(fig.subplots())
        svg = to_svg(fig, name="sweep", title="Share of starts that diverge, by their loss")
    count = len(sweep.words)
    caption = (
        f"{count} starts; bars: {100 * sweep.confidence:.0f} % Wilson intervals, the undecided "
        f"counted as not diverging at the lower end and as diverging at the upper."
    )
    return Section("How good must a start be?", (), (), (Picture((svg,), caption),))


def _colors(found: FlowFindings) -> dict[str, str]:
    return dict(zip(found.spec.nets, cycle(_COLORS), strict=False))


def _curve(ax: Axes, t: np.ndarray, values: np.ndarray, color: str, line: str = "-") -> None:
    kept = t > 0
    ax.plot(t[kept], np.maximum(values[kept], 1e-32), line, color=color, linewidth=1.2)


def _log(ax: Axes, x: str, y: str) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
