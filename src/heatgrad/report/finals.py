"""Final values: every run, the centre with its interval, the ceiling."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from heatgrad.report.style import ArmStyle, mark_ceiling, shortened
from heatgrad.study import sign_flip_interval
from heatgrad.study.verdict import MIN_BLOCKS

__all__ = ["plot_finals"]


def plot_finals(
    ax: Axes,
    values: Mapping[str, Sequence[float]],
    styles: Mapping[str, ArmStyle],
    *,
    label: str,
    percent: bool = False,
    ceiling: float | None = None,
) -> Axes:
    """Draw the final value of every run, one row per arm.

    A dot is a run, the mark the mean; the bar is the 95 % sign-flip interval of the centre
    from 8 runs on, and the range below that.

    Args:
        ax: Where to draw.
        values: By arm, one value per run.
        styles: By arm.
        label: Quantity and unit, for the horizontal axis.
        percent: Whether values are fractions to be shown in percent.
        ceiling: Best possible value, drawn as a line.

    Returns:
        `ax`.
    """
    scale = 100.0 if percent else 1.0
    for row, (arm, runs) in enumerate(values.items()):
        data = scale * np.asarray(runs, dtype=np.float64)
        if not data.size:
            continue
        color = styles[arm].color
        is_enough = len(data) >= MIN_BLOCKS
        low, high = sign_flip_interval(data) if is_enough else (data.min(), data.max())
        offsets = np.linspace(-0.18, 0.18, len(data)) if len(data) > 1 else np.zeros(1)
        ax.plot(data, row + offsets, "o", color=color, markersize=2.6, alpha=0.45, mew=0)
        ax.plot([low, high], [row, row], color=color, linewidth=2.2, solid_capstyle="butt")
        ax.plot(data.mean(), row, "D", color=color, markersize=5, mec="white", mew=0.8)
    if ceiling is not None:
        mark_ceiling(ax, scale * ceiling, axis="x")
    ax.set_yticks(range(len(values)), [shortened(arm) for arm in values])
    for name in ax.get_yticklabels():
        name.set_parse_math(False)  # an arm's name may hold dollar signs
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(label)
    return ax
