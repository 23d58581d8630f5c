"""Draw this study's figure from its stored records alone."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from growth import SIZES, gain, read
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from heatgrad.report import arm_styles, figure, plot_curves
from heatgrad.report.style import set_log_scale
from heatgrad.study import Results

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[2] / "docs" / "assets" / "velocity-stability.svg"


def losses(ax: Axes, results: Results) -> None:
    """Draw the training loss against epochs, with a cross where runs stop being finite."""
    (task,) = results.study.tasks
    styles = arm_styles(results.study)
    records = {arm: results.select(task, arm) for arm in results.study.arms}
    curves = {arm: [r.curves["train_loss"] for r in runs] for arm, runs in records.items()}
    plot_curves(ax, curves, styles, label="training loss [loss]")
    ax.set_ylim(0.2, 10)
    set_log_scale(ax)
    for arm, runs in records.items():
        ends = [len(r.curves["train_loss"]) for r in runs if r.status == "diverged"]
        if ends:
            ax.plot(
                np.median(ends),
                0.97,
                "X",
                color=styles[arm].color,
                markersize=7,
                transform=ax.get_xaxis_transform(),
            )
    ax.set_title(f"training (n = {len(runs)}; ✕: no longer finite)")


def growth(ax: Axes, results: Results) -> None:
    """Draw the highest mode of the larger batch norm's velocity, and its growth by |k|."""
    styles = arm_styles(results.study)
    for diffusion, rows in read().items():
        color = styles[f"D = {diffusion:g}"].color
        amplitudes, steps = rows[:, 2], np.arange(1, len(rows) + 1)
        ax.semilogy(steps, amplitudes, color=color, linewidth=1.4)
        k = abs(gain(diffusion, SIZES[1]))
        if k > 1:
            ax.semilogy(
                steps, amplitudes[-1] * k ** (steps - len(steps)), ":", color="#222222", lw=1
            )
    ax.set_ylim(1e-3, 1e9)
    ax.set_xlabel("step")
    ax.set_ylabel("highest mode of the velocity [loss/param]")
    ax.set_title("growth in block 0; dotted: |k| a step")


def main() -> None:
    """Write the figure and print its path."""
    results = Results.load(HERE)
    with mpl.rc_context({"svg.hashsalt": "velocity-stability"}), figure(10.0, 3.4) as fig:
        left, right = fig.subplots(1, 2)
        losses(left, results)
        growth(right, results)
        looks = arm_styles(results.study).items()
        lines = [Line2D([], [], color=s.color, linestyle=s.linestyle, label=a) for a, s in looks]
        fig.legend(handles=lines, loc="outside right center", fontsize=8)
        fig.savefig(TARGET, format="svg", metadata={"Date": None})
    print(TARGET)


if __name__ == "__main__":
    main()
