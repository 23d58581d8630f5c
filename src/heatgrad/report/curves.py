"""Training curves: the median over runs, and the band between the quartiles."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from heatgrad.report.style import ArmStyle, mark_ceiling, set_log_scale

__all__ = ["plot_curves"]


def plot_curves(
    ax: Axes,
    curves: Mapping[str, Sequence[Sequence[float | None]]],
    styles: Mapping[str, ArmStyle],
    *,
    label: str,
    percent: bool = False,
    log: bool = False,
    ceiling: float | None = None,
) -> Axes:
    """Draw one quantity against epochs, one line per arm.

    Args:
        ax: Where to draw.
        curves: By arm, one sequence per run; a run that stopped early is shorter.
        styles: By arm.
        label: Quantity and unit, for the vertical axis.
        percent: Whether values are fractions to be shown in percent.
        log: Whether the vertical axis is logarithmic.
        ceiling: Best possible value, drawn as a line.

    Returns:
        `ax`.
    """
    scale = 100.0 if percent else 1.0
    for arm, runs in curves.items():
        longest = max((len(run) for run in runs), default=0)
        if not longest:
            continue
        values = np.full((len(runs), longest), np.nan)
        for row, run in zip(values, runs, strict=True):
            row[: len(run)] = [np.nan if v is None else scale * v for v in run]
        kept = ~np.isnan(values).all(axis=0)
        if not kept.any():
            continue
        epochs = np.arange(1, longest + 1)[kept]
        low, middle, high = np.nanpercentile(values[:, kept], [25, 50, 75], axis=0)
        style = styles[arm]
        ax.fill_between(epochs, low, high, color=style.color, alpha=0.15, linewidth=0)
        ax.plot(
            epochs, middle, color=style.color, linestyle=style.linestyle, linewidth=1.4, label=arm
        )
    if ceiling is not None:
        mark_ceiling(ax, scale * ceiling, axis="y")
    if log:
        set_log_scale(ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.set_ylabel(label)
    return ax
