"""Tuning curves: what the best setting found so far is worth, against how many were tried."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from heatgrad.report.panels import Picture, legend, line_key
from heatgrad.report.style import PAPER, ArmStyle, figure, set_log_scale, to_svg
from heatgrad.study.metric import Metric

__all__ = ["TuningCurve", "plot_tuning", "tuning_curve", "tuning_picture"]


@dataclass(frozen=True)
class TuningCurve:
    """What selecting among the first k settings leads to, for k = 1 to K.

    Attributes:
        mean: Mean over the blocks of the setting that is best so far, shape (K,) [metric].
        low: Its smallest value, shape (K,) [metric].
        high: Its largest value, shape (K,) [metric].
        chosen: Number of the setting that is chosen in the end, from 1; None where none has a
            value.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    chosen: int | None


def tuning_curve(values: ArrayLike, metric: Metric) -> TuningCurve:
    """Return what selection on the mean over blocks finds among the first k settings.

    A setting that diverged in a block (NaN, or the metric's worst) cannot be chosen. Of equal
    means the earlier stays. Values that are the best so far already give the same curve.

    Args:
        values: Validation values, shape (blocks, K), the settings in the order they were tried
            [metric].
        metric: What they are.

    Raises:
        ValueError: If `values` has not two axes, each of at least one.

    Example:
        >>> from heatgrad.study import METRICS
        >>> tuning_curve([[0.5, 0.9, 0.4], [0.7, 0.6, 0.8]], METRICS["test_accuracy"]).chosen
        2
    """
    raw = np.asarray(values, dtype=np.float64)
    if raw.ndim != 2 or 0 in raw.shape:
        raise ValueError(f"values must have shape (blocks, K), at least 1 by 1, got {raw.shape}")
    is_worst = metric.sign * raw <= metric.sign * metric.worst
    failed: NDArray[np.bool_] = np.any(~np.isfinite(raw) | is_worst, axis=0)
    score = np.where(failed, -np.inf, metric.sign * raw.mean(axis=0))
    best = np.array([int(score[: k + 1].argmax()) for k in range(raw.shape[1])])
    found = raw[:, best].copy()
    found[:, failed[best]] = np.nan
    chosen = None if failed.all() else int(best[-1]) + 1
    return TuningCurve(found.mean(axis=0), found.min(axis=0), found.max(axis=0), chosen)


def plot_tuning(
    ax: Axes,
    curves: Mapping[str, ArrayLike],
    styles: Mapping[str, ArmStyle],
    *,
    metric: Metric,
) -> Axes:
    """Draw the tuning curve of every arm; a ring marks the setting that was chosen.

    Args:
        ax: Where to draw.
        curves: By arm, validation values of shape (blocks, K) [metric].
        styles: By arm.
        metric: What the values are.

    Returns:
        `ax`.
    """
    scale = 100.0 if metric.percent else 1.0
    most = 1
    for arm, values in curves.items():
        curve, style = tuning_curve(values, metric), styles[arm]
        tried = np.arange(1, len(curve.mean) + 1)
        most = max(most, len(tried))
        ax.fill_between(
            tried,
            scale * curve.low,
            scale * curve.high,
            step="post",
            color=style.color,
            alpha=0.13,
            linewidth=0,
        )
        ax.plot(
            tried,
            scale * curve.mean,
            drawstyle="steps-post",
            color=style.color,
            linestyle=style.linestyle,
            linewidth=1.5,
            label=arm,
        )
        if curve.chosen is not None:
            place = (curve.chosen, scale * curve.mean[curve.chosen - 1])
            ax.plot(*place, "o", color=style.color, markersize=6.5, mfc=PAPER, mew=1.6)
    _count_settings(ax, most)
    if not metric.percent and ax.get_ylim()[0] > 0:
        set_log_scale(ax)
    ax.set_ylabel(f"validation {_name(metric)} {'[%]' if metric.percent else '[loss]'}")
    return ax


def tuning_picture(
    curves: Mapping[str, ArrayLike],
    metric: Metric,
    styles: Mapping[str, ArmStyle],
    *,
    name: str = "tuning",
    title: str = "Tuning curves",
) -> Picture:
    """Return the tuning curves of one task as a figure of the page.

    Args:
        curves: By arm, validation values of shape (blocks, K), K = 1 included [metric].
        metric: What the values are.
        styles: By arm.
        name: Unique in the page.
        title: What a screen reader says.

    Raises:
        ValueError: If there is no arm, or values are not of shape (blocks, K).
    """
    if not curves:
        raise ValueError("curves must hold at least one arm, got none")
    with figure(4.9, 3.0) as fig:
        plot_tuning(fig.subplots(), curves, styles, metric=metric)
        svg = to_svg(fig, name=name, title=title)
    counts = sorted({np.shape(values)[0] for values in curves.values()})
    blocks = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    caption = (
        f"Validation value of the best setting so far, against the number of settings tried. Line: "
        f"mean over {blocks} tuning blocks; band: smallest and largest; ring: the setting that "
        f"was chosen.{line_key(styles, list(curves))}"
    )
    return Picture((svg,), caption, legend(styles, list(curves)))


def _count_settings(ax: Axes, most: int) -> None:
    ax.set_xlabel("settings tried")
    if most <= 4:
        ax.set_xlim(0.8, most + 0.4)
        ax.xaxis.set_major_locator(FixedLocator(range(1, most + 1)))
        return
    # Doublings: the budgets that are compared are powers of two.
    ax.set_xscale("log", base=2)
    ax.set_xlim(0.9, most * 1.12)
    ax.xaxis.set_major_locator(FixedLocator([2**k for k in range(int(np.log2(most)) + 1)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))


def _name(metric: Metric) -> str:
    """Return a metric's label without the words on test labels."""
    return metric.label.partition(" (")[0].removeprefix("test ")
