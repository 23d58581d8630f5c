"""A final value against the rate of label noise."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from heatgrad.report.style import FAINT, ArmStyle, set_log_scale

__all__ = ["plot_against_noise"]


def plot_against_noise(
    ax: Axes,
    values: Mapping[str, Mapping[float, Sequence[float]]],
    styles: Mapping[str, ArmStyle],
    *,
    label: str,
    percent: bool = False,
    log: bool = False,
    ceiling: Mapping[float, float] | None = None,
) -> Axes:
    """Draw medians and quartile bars against the label-noise rate, one line per arm.

    Args:
        ax: Where to draw.
        values: By arm, then by noise rate, one value per run.
        styles: By arm.
        label: Quantity and unit, for the vertical axis.
        percent: Whether values are fractions to be shown in percent.
        log: Whether the vertical axis is logarithmic.
        ceiling: Best possible value by noise rate, drawn as a line.

    Returns:
        `ax`.
    """
    scale = 100.0 if percent else 1.0
    all_rates = sorted({rate for by_rate in values.values() for rate in by_rate})
    gap = min((b - a for a, b in pairwise(all_rates)), default=0.1)
    for place, (arm, by_rate) in enumerate(values.items()):
        rates = [rate for rate in sorted(by_rate) if len(by_rate[rate])]
        if not rates:
            continue
        quartiles = np.array([np.percentile(by_rate[rate], [25, 50, 75]) for rate in rates])
        low, middle, high = scale * quartiles.T
        # Arms side by side, so that equal ones do not hide each other.
        shift = 0.35 * gap * (place / max(1, len(values) - 1) - 0.5)
        ax.errorbar(
            np.array(rates) + shift,
            middle,
            yerr=(middle - low, high - middle),
            color=styles[arm].color,
            linestyle=styles[arm].linestyle,
            linewidth=1.2,
            marker="o",
            markersize=3,
            label=arm,
        )
    if ceiling:
        rates = sorted(ceiling)
        ax.plot(
            rates,
            [scale * ceiling[rate] for rate in rates],
            color=FAINT,
            linewidth=1.0,
            linestyle=(0, (1, 1)),
            label="ceiling",
        )
    if log:
        set_log_scale(ax)
    ax.set_xticks(all_rates)
    ax.set_xlabel("label-noise rate")
    ax.set_ylabel(label)
    return ax
