"""Print the tables of this study's README from the stored measurements alone."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.signal import find_peaks

from heatgrad.study import Results, Verdict, sign_flip_interval

HERE = Path(__file__).resolve().parent
STUDIES = ("fragments", "spiral")
LEADS = ("HELPS", "HURTS", "TRIVIAL", "HELPS-NOT-BECAUSE")  # words that q values qualify


class Measure(NamedTuple):
    """How a measurement is shown.

    Attributes:
        heading: What it is, with its unit.
        scale: What values are multiplied by.
        digits: Behind the point.
        less: What HELPS (less by more than the margin) means.
        more: What HURTS means.
    """

    heading: str
    scale: float
    digits: int
    less: str
    more: str


MEASURES = {
    "path to SGD": Measure("Barrier on the line to SGD [0.001]", 1e3, 1, "lower", "higher"),
    "curve to SGD": Measure("Barrier on the curve to SGD [0.001]", 1e3, 1, "lower", "higher"),
    "raw sharpness": Measure("The paper's sharpness [0.001]", 1e3, 1, "flatter", "sharper"),
    "sharpness": Measure("Scale-free sharpness [0.001]", 1e3, 2, "flatter", "sharper"),
    "curvature": Measure("Largest eigenvalue of the Hessian [1]", 1, 2, "flatter", "sharper"),
}


def number(value: float, measure: Measure, *, signed: bool = False) -> str:
    """Return a value as it is shown; a difference that rounds to zero has no sign."""
    text = f"{measure.scale * value:{'+' if signed else ''}.{measure.digits}f}"
    is_zero = not text.strip("+-0.")
    return (text.lstrip("+-") if is_zero else text).replace("-", "−")


def difference(verdict: Verdict | None, measure: Measure) -> str:
    """Return the paired difference with its interval, more being more, and what it means."""
    if verdict is None or verdict.comparison is None:
        return ""
    c = verdict.comparison
    mean, low, high = (number(v, measure, signed=True) for v in (-c.mean, -c.high, -c.low))
    word = {"HELPS": measure.less, "HURTS": measure.more}.get(verdict.word, verdict.word.lower())
    doubt = "?" if verdict.q is not None and verdict.q > 0.05 and verdict.word in LEADS else ""
    return f"; {mean} ({low} to {high}) {word}{doubt}"


def column(results: Results, name: str, regime: str) -> dict[str, str]:
    """Return the cell of each arm: mean over blocks, difference from SGD, verdict."""
    (task,) = results.study.tasks
    measure = MEASURES[name]
    verdicts = {
        v.question.arm: v for v in results.geometry.verdicts(name) if v.question.regime == regime
    }
    cells = {}
    for arm in results.study.arms:
        values = list(results.geometry.values(name, task, arm, regime).values())
        cells[arm] = number(float(np.mean(values)), measure) + difference(
            verdicts.get(arm), measure
        )
    return cells


def basins(results: Results, regime: str) -> dict[str, str]:
    """Return, for each arm, the local minima on its surface in block 0 and its lowest point."""
    (task,) = results.study.tasks
    cells = {}
    for arm in results.study.arms:
        losses = np.array(results.geometry.found("surface", task, arm, regime)[0]["losses"], float)
        middle = losses[len(losses) // 2, losses.shape[1] // 2]
        around = np.lib.stride_tricks.sliding_window_view(losses, (3, 3))
        minima = int((around.min(axis=(2, 3)) == losses[1:-1, 1:-1]).sum())
        cells[arm] = f"{minima}; {number(losses.min() - middle, MEASURES['path to SGD'])}"
    return cells


def lines(results: Results, regime: str) -> dict[str, list[dict[str, Any]]]:
    """Return, for each arm, the measured lines to SGD, block by block."""
    (task,) = results.study.tasks
    return {
        arm: list(results.geometry.found("path to SGD", task, arm, regime).values())
        for arm in results.study.arms
    }


def losses(results: Results, regime: str) -> dict[str, str]:
    """Return the mean loss of each arm's solutions, statistics estimated anew."""
    return {
        arm: f"{np.mean([path['losses'][0] for path in paths]):.3f}"
        for arm, paths in lines(results, regime).items()
    }


def bumps(results: Results, regime: str) -> dict[str, str]:
    """Return the most bumps that rise by more than 0.001 on any of an arm's lines to SGD."""
    return {
        arm: f"{max(len(find_peaks(path['losses'], prominence=1e-3)[0]) for path in paths)}"
        for arm, paths in lines(results, regime).items()
    }


def rates(results: Results, regime: str) -> dict[str, str]:
    """Return the learning rate of each arm."""
    (task,) = results.study.tasks
    records = {arm: results.select(task, arm, regime)[0] for arm in results.study.arms}
    return {
        arm: f"{record.spec['optimizer']['options']['lr']:.3g}" for arm, record in records.items()
    }


def against_controls(results: Results, name: str, regime: str) -> dict[str, str]:
    """Return diffusion's paired differences from its controls, with intervals."""
    (task,) = results.study.tasks
    measure = MEASURES[name]
    (diffused,) = (arm for arm in results.study.arms if results.study.controls_of(arm))
    mine = results.geometry.values(name, task, diffused, regime)
    cells = {}
    for arm in results.study.controls_of(diffused):
        theirs = results.geometry.values(name, task, arm, regime)
        apart = [mine[block] - theirs[block] for block in theirs]
        ends = (float(np.mean(apart)), *sign_flip_interval(apart))
        mean, low, high = (number(value, measure, signed=True) for value in ends)
        cells[arm] = f"{mean} ({low} to {high})"
    return cells


def show(heading: str, columns: dict[str, dict[str, str]]) -> None:
    """Print a table of arms by places."""
    print(f"\n### {heading}\n\n| arm |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for arm in next(iter(columns.values())):
        print(f"| {arm} |", " | ".join(cells[arm] for cells in columns.values()), "|")


def main() -> None:
    """Print Markdown, measure by measure."""
    found = {name: Results.load(HERE.parent / name) for name in STUDIES}
    places = [(study, regime) for study, r in found.items() for regime in r.study.regimes]
    for name, measure in MEASURES.items():
        margin = found["spiral"].study.geometry[name].margin
        heading = f"{measure.heading}; margin {measure.scale * margin:g}"
        show(heading, {f"{s}, {r}": column(found[s], name, r) for s, r in places})
    for name in ("raw sharpness", "sharpness", "curvature"):
        heading = f"Diffusion less its controls. {MEASURES[name].heading}"
        show(heading, {f"{s}, {r}": against_controls(found[s], name, r) for s, r in places})
    show("Training loss at the solutions", {f"{s}, {r}": losses(found[s], r) for s, r in places})
    heading = "Bumps on the line to SGD, the most of ten blocks"
    show(heading, {f"{s}, {r}": bumps(found[s], r) for s, r in places})
    show("Learning rates", {f"{s}, {r}": rates(found[s], r) for s, r in places})
    heading = "Minima on the surface around a solution, block 0; lowest less its own loss [0.001]"
    show(heading, {f"{s}, {r}": basins(found[s], r) for s, r in places})


if __name__ == "__main__":
    main()
