"""Draw the README's figure from the stored records: each arm as published, and each tuned."""

from pathlib import Path

import matplotlib as mpl

from heatgrad.report import arm_styles, figure, plot_finals
from heatgrad.study import Results

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "docs" / "assets" / "as-published-and-tuned.svg"
STUDIES = ("spiral", "fragments")
LEFT_OUT = ("SGD again",)


def main() -> None:
    """Write the figure and print its path."""
    found = [Results.load(HERE / name) for name in STUDIES if (HERE / name).exists()]
    with mpl.rc_context({"svg.hashsalt": "tuned"}), figure(9.0, 3.3 * len(found)) as fig:
        rows = fig.subplots(len(found), 2, sharex="row", sharey="row", squeeze=False)
        for results, row in zip(found, rows, strict=True):
            (task,) = results.study.tasks
            styles = arm_styles(results.study)
            for ax, regime in zip(row, results.study.regimes, strict=True):
                values = {
                    arm: list(results.values(task, arm, regime=regime).values())
                    for arm in results.study.arms
                    if arm not in LEFT_OUT
                }
                ceilings = sorted(r.ceiling["test_accuracy"] for r in results.records if r.ceiling)
                plot_finals(
                    ax,
                    values,
                    {arm: styles[arm] for arm in values},
                    label="test accuracy [%]",
                    percent=True,
                    ceiling=ceilings[len(ceilings) // 2],
                )
                n = len(next(iter(values.values())))
                ax.set_title(f"{task}, {regime} (n = {n})", pad=14)
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(TARGET, format="svg", metadata={"Date": None})
    print(TARGET)


if __name__ == "__main__":
    main()
