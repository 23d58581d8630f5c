"""Draw [Ray]'s figure 4 for several arms, from the stored measurements: loss along paths to SGD."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from heatgrad.report import arm_styles, figure
from heatgrad.study import Results

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[2] / "docs" / "assets" / "paths-to-sgd.svg"
STUDIES = ("fragments", "spiral")
ARMS = ("SGD momentum", "Adam", "diffusion", "placebo")
GRID = np.linspace(0, 1, 101)


def draw(ax: Axes, results: Results, regime: str) -> None:
    """Draw the loss along the line (solid) and along the curve (dotted), median over blocks."""
    (task,) = results.study.tasks
    styles = arm_styles(results.study)
    for arm in ARMS:
        for name, line in (("path to SGD", "-"), ("curve to SGD", ":")):
            found = results.geometry.found(name, task, arm, regime)
            curves = np.array([np.interp(GRID, v["at"], v["losses"]) for v in found.values()])
            low, middle, high = np.percentile(curves, [25, 50, 75], axis=0)
            color = styles[arm].color
            label = arm if line == "-" else None
            ax.plot(GRID, middle, line, color=color, linewidth=1.4, label=label)
            if line == "-":
                ax.fill_between(GRID, low, high, color=color, alpha=0.15, linewidth=0)
    ax.set_title(f"{task}, {regime}")
    ax.set_xlabel("0: the arm, 1: SGD of the same block")
    ax.set_ylabel("training loss")


def main() -> None:
    """Write the figure and print its path."""
    with mpl.rc_context({"svg.hashsalt": "paths"}), figure(9.0, 6.2) as fig:
        rows = fig.subplots(len(STUDIES), 2, sharey="row", squeeze=False)
        for name, row in zip(STUDIES, rows, strict=True):
            results = Results.load(HERE.parent / name)
            for ax, regime in zip(row, results.study.regimes, strict=True):
                draw(ax, results, regime)
        rows[0, 0].legend()
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(TARGET, format="svg", metadata={"Date": None})
    print(TARGET)


if __name__ == "__main__":
    main()
