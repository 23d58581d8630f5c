"""A forest plot: how much each arm gains, with what certainty, against the margin."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from heatgrad.report.panels import Picture
from heatgrad.report.style import BAND, FAINT, PAPER, figure, shortened, to_svg
from heatgrad.study import Verdict
from heatgrad.study.metric import Metric

__all__ = ["Effect", "effects_of", "forest_picture", "plot_forest"]

Interval = tuple[float, float]

# Above this many arms the secondary intervals would crowd the primary ones.
_MOST_WITH_SECONDARY = 10
# Beyond this many margins from 0 an axis is no longer linear.
_LINEAR = 2.0


@dataclass(frozen=True)
class Effect:
    """One row of a forest plot; differences are signed so that a gain is positive.

    Attributes:
        arm: Name of the arm.
        color: Its colour.
        mean: Mean paired difference, or None where a run diverged [metric].
        interval: The primary interval, or None where there is none [metric].
        secondary: Further intervals by name, drawn thinner below it [metric].
        spread: Smallest and largest difference, drawn where there is no interval [metric].
        is_control: Whether it is a control of the arm above it.
        num_blocks: Number of matched runs.
    """

    arm: str
    color: str
    mean: float | None
    interval: Interval | None
    secondary: dict[str, Interval]
    spread: Interval | None
    is_control: bool
    num_blocks: int


def effects_of(
    verdicts: Sequence[Verdict], colors: dict[str, str], controls_of: dict[str, list[str]]
) -> list[Effect]:
    """Return the rows of one task's verdicts, each control below its arm.

    Args:
        verdicts: On one task, under one regime.
        colors: By arm.
        controls_of: By arm, the names of its controls.
    """
    by_arm = {verdict.question.arm: verdict for verdict in verdicts}
    is_control = {name for names in controls_of.values() for name in names}
    order: dict[str, bool] = {}
    for arm in by_arm:
        if arm not in is_control:
            order[arm] = False
            order |= {name: True for name in controls_of.get(arm, ()) if name in by_arm}
    order |= {arm: True for arm in by_arm if arm not in order}
    return [_effect(by_arm[arm], colors[arm], flag) for arm, flag in order.items()]


def plot_forest(ax: Axes, effects: Sequence[Effect], *, margin: float, metric: Metric) -> Axes:
    """Draw paired differences with their intervals, and the margin as a band around 0.

    The axis is linear up to twice the margin and logarithmic beyond, where differences go that
    far.

    Args:
        ax: Where to draw.
        effects: The rows, from the top.
        margin: Smallest difference that matters [metric].
        metric: What the differences are of.

    Returns:
        `ax`.
    """
    scale = 100.0 if metric.percent else 1.0
    ax.axvspan(-scale * margin, scale * margin, color=BAND, linewidth=0, zorder=0)
    ax.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
    has_secondary = len(effects) <= _MOST_WITH_SECONDARY
    farthest = margin
    for row, effect in enumerate(effects):
        _draw(ax, row, effect, scale, has_secondary=has_secondary)
        shown = [effect.interval, effect.spread, *effect.secondary.values()]
        ends = [abs(end) for pair in shown if pair for end in pair]
        farthest = max([farthest, *ends])
    _scale_axis(ax, scale * margin, scale * farthest)
    indents = ["    " if effect.is_control else "" for effect in effects]
    names = [
        indent + shortened(effect.arm, 22) for indent, effect in zip(indents, effects, strict=True)
    ]
    ax.set_yticks(range(len(effects)), names)
    for label, effect in zip(ax.get_yticklabels(), effects, strict=True):
        label.set_parse_math(False)
        label.set_fontstyle("italic" if effect.is_control else "normal")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(effects) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    better = "better" if metric.higher_is_better else "better (lower)"
    unit = "points" if metric.percent else "loss"
    between = ", " if metric.percent else ",\n"  # a long one in two lines
    ax.set_xlabel(f"difference from the baseline [{unit}]{between}{better} to the right")
    return ax


def forest_picture(
    effects: Sequence[Effect], *, margin: float, metric: Metric, name: str, title: str
) -> Picture:
    """Return the forest plot of one task as a figure of the page; `name` is unique in it."""
    has_secondary = len(effects) <= _MOST_WITH_SECONDARY
    with figure(5.2, 0.75 + (0.42 if has_secondary else 0.28) * len(effects)) as fig:
        plot_forest(fig.subplots(), effects, margin=margin, metric=metric)
        svg = to_svg(fig, name=name, title=title)
    return Picture((svg,), title)


def _effect(verdict: Verdict, color: str, is_control: bool) -> Effect:
    question, comparison = verdict.question, verdict.comparison
    n = question.num_blocks
    has_diverged = not question.metric.percent and (
        question.metric.worst in question.values + question.baseline_values
    )
    if has_diverged:  # a rank is no measurement: there is nothing to draw to scale
        return Effect(question.arm, color, None, None, {}, None, is_control, n)
    if comparison is None:
        mean = verdict.spread[0] if n == 1 else None
        return Effect(question.arm, color, mean, None, {}, verdict.spread, is_control, n)
    secondary = {"t": verdict.t_interval, "BCa": verdict.bca_interval}
    ends = (comparison.low, comparison.high)
    return Effect(question.arm, color, comparison.mean, ends, secondary, None, is_control, n)


def _draw(ax: Axes, row: int, effect: Effect, scale: float, *, has_secondary: bool) -> None:
    if effect.interval is None and effect.spread is None:
        ax.annotate(
            "a run diverged: no scale",
            (0, row),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=7,
            va="center",
            color=FAINT,
        )
        return
    raised = 0.14 if has_secondary and effect.secondary else 0.0
    if effect.interval is not None:
        ends = [scale * end for end in effect.interval]
        ax.plot(ends, [row - raised] * 2, color=effect.color, linewidth=3.2, solid_capstyle="butt")
    elif effect.spread is not None:
        ends = [scale * end for end in effect.spread]
        ax.plot(ends, [row, row], color=effect.color, linewidth=1.2, linestyle=":")
        _name_line(ax, ends[1], row, "range" if effect.num_blocks > 1 else "one run")
    if effect.mean is not None:
        ax.plot(
            scale * effect.mean,
            row - raised,
            "s" if effect.is_control else "D",
            color=effect.color,
            markersize=5.2,
            mec=PAPER,
            mew=0.8,
            zorder=4,
        )
    if has_secondary:
        for place, (label, pair) in enumerate(effect.secondary.items()):
            height = row + 0.09 + 0.19 * place
            ends = [scale * end for end in pair]
            ax.plot(ends, [height] * 2, color=effect.color, linewidth=0.9, alpha=0.8)
            _name_line(ax, ends[1], height, label)


def _name_line(ax: Axes, x: float, y: float, text: str) -> None:
    ax.annotate(
        text,
        (x, y),
        xytext=(3, 0),
        textcoords="offset points",
        fontsize=6.8,
        va="center",
        color=FAINT,
    )


def _scale_axis(ax: Axes, margin: float, farthest: float) -> None:
    """Keep the margin visible however far an arm is from it."""
    lowest, highest = _ends(ax)
    if farthest <= 8 * margin:
        ax.set_xlim(min(-1.6 * margin, 1.15 * lowest), max(1.6 * margin, 1.15 * highest))
        ax.xaxis.set_major_locator(MaxNLocator(5))
        return
    linear = _LINEAR * margin
    ax.set_xscale("symlog", linthresh=linear, linscale=1.4)
    low, high = min(-0.8 * linear, 1.5 * lowest), max(0.8 * linear, 1.8 * highest)
    ax.set_xlim(low, high)
    decades = range(math.floor(math.log10(linear)), math.ceil(math.log10(max(high, -low))))
    steps = [base * 10.0**decade for decade in decades for base in (1, 3)]
    far = [step for step in steps if step > 1.3 * linear]
    shown = [0.0, margin, -margin, *far, *(-step for step in far)]
    shown = [tick for tick in shown if low <= tick <= high]
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda value, place: f"{value:+g}".replace("-", "−") if value else "0")
    )


def _ends(ax: Axes) -> Interval:
    """Return the smallest and the largest place that is drawn, the line at 0 included."""
    places = np.concatenate([np.asarray(line.get_xdata(), dtype=np.float64) for line in ax.lines])
    return float(places.min()), float(places.max())
