"""Draw the README's figure from the stored records of the `synthetic` study."""

from pathlib import Path

import matplotlib as mpl

from heatgrad.report import arm_styles, figure, plot_finals
from heatgrad.study import Results

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "docs" / "assets" / "synthetic-finals.svg"


def main() -> None:
    """Write the figure and print its path."""
    results = Results.load(HERE / "synthetic")
    styles = arm_styles(results.study)
    tasks = list(results.study.tasks)
    with mpl.rc_context({"svg.hashsalt": "synthetic"}), figure(9.0, 2.9) as fig:
        axes = fig.subplots(1, len(tasks), sharey=True)
        for ax, task in zip(axes, tasks, strict=True):
            records = {arm: results.select(task, arm) for arm in results.study.arms}
            values = {
                arm: list(results.values(task, arm, "test_accuracy").values()) for arm in records
            }
            ceilings = [
                r.ceiling["test_accuracy"] for rs in records.values() for r in rs if r.ceiling
            ]
            ceiling = sorted(ceilings)[len(ceilings) // 2]
            plot_finals(
                ax, values, styles, label="test accuracy [%]", percent=True, ceiling=ceiling
            )
            ax.set_title(f"{task} (n = {len(next(iter(values.values())))})", pad=14)
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(TARGET, format="svg", metadata={"Date": None})
    print(TARGET)


if __name__ == "__main__":
    main()
