"""Print the tables of this study's README from the stored records alone."""

import math
from pathlib import Path

import numpy as np
from growth import SIZES, gain, read

from heatgrad.study import Record, Results

HERE = Path(__file__).resolve().parent
LR = 0.05


def epoch_of_failure(record: Record, baseline: Record) -> int | None:
    """Return the first epoch with a loss that is not finite or half the baseline's accuracy."""
    losses, scores = record.curves["train_loss"], record.curves["test_accuracy"]
    best = baseline.curves["test_accuracy"]
    for epoch, (loss, score, theirs) in enumerate(zip(losses, scores, best, strict=False), 1):
        if loss is None or score is None or (theirs is not None and score < theirs / 2):
            return epoch
    return None


def spread(values: list[float], digits: int) -> str:
    """Return the median, and the range behind it."""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    middle = f"{np.median(values):.{digits}f}"
    return middle if low == high else f"{middle} ({low} to {high})"


def training(results: Results) -> None:
    """Print, arm by arm, how many runs fail, when, and what the others reach."""
    (task,) = results.study.tasks
    verdicts = {verdict.question.arm: verdict.word for verdict in results.verdicts()}
    baselines = results.select(task, results.study.baseline)
    print("| arm | runs that fail | in epoch | not finite | training loss | test accuracy [%] | |")
    print("|---|---|---|---|---|---|---|")
    for arm in results.study.arms:
        records = results.select(task, arm)
        failures = [epoch_of_failure(*pair) for pair in zip(records, baselines, strict=True)]
        epochs = [float(epoch) for epoch in failures if epoch is not None]
        infinite = sum(record.status == "diverged" for record in records)
        losses = [record.curves["train_loss"][-1] for record in records]
        finals = [100 * score for score in results.values(task, arm).values()]
        cells = (
            arm,
            f"{len(epochs)} of {len(records)}",
            spread(epochs, 0) if epochs else "",
            str(infinite or ""),
            "" if infinite else spread([loss for loss in losses if loss is not None], 2),
            "" if infinite else spread(finals, 1),
            verdicts.get(arm, "baseline"),
        )
        print(f"| {' | '.join(cells)} |")


def growth() -> None:
    """Print the growth of the highest mode: closed form, and measured in block 0."""
    print("| D | weights | k, closed form | growth a step, measured |")
    print("|---|---|---|---|")
    for diffusion, rows in read().items():
        for column, size in enumerate(SIZES, start=1):
            k, whole = gain(diffusion, size), abs(gain(diffusion, size)) ** len(rows)
            if whole > 1:
                seen = f"{rate(rows[:, column]):.5f}" if whole > 100 else "too slow to measure"
                print(f"| {diffusion:g} | {size} | {k:.5f} | {seen} |")


def rate(amplitudes: np.ndarray) -> float:
    """Return the factor by which an amplitude grows a step, fitted to the second half of them."""
    logs = np.log(amplitudes[len(amplitudes) // 2 :])
    return math.exp(np.polyfit(np.arange(len(logs)), logs, 1)[0])


def step_of_failure(losses: np.ndarray, stable: np.ndarray) -> int | None:
    """Return the first step with twice the loss of a stable run on the same batch."""
    failed = ~(losses < 2 * stable[: len(losses)])
    return int(failed.argmax()) + 1 if failed.any() else None


def expected_step(diffusion: float, rows: np.ndarray) -> float:
    """Return the step at which |k| alone makes a weight swing by its own size, 1, each step.

    An orthonormal mode of n weights has entries of up to √(2/n), and amplitude A of the velocity
    moves them by η|k|A; A is taken from the first step, the earliest mode counts.
    """
    steps = []
    for column, size in enumerate(SIZES, start=1):
        k = abs(gain(diffusion, size))
        if k > 1:
            needed = math.sqrt(size / 2) / (LR * k)
            steps.append(1 + math.log(needed / rows[0, column]) / math.log(k))
    return min(steps, default=math.inf)


def failures() -> None:
    """Print when the loss fails in block 0, and when the first step and |k| say so."""
    runs = read()
    stable = runs[0.5][:, 0]
    print("| D | step of failure, measured | from the first step and k |")
    print("|---|---|---|")
    for diffusion, rows in runs.items():
        measured = step_of_failure(rows[:, 0], stable)
        expected = expected_step(diffusion, rows)
        words = f"{expected:.0f}" if math.isfinite(expected) else "never"
        print(f"| {diffusion:g} | {measured or f'none in {len(rows)}'} | {words} |")


def main() -> None:
    """Print all three tables."""
    training(Results.load(HERE))
    print()
    growth()
    print()
    failures()


if __name__ == "__main__":
    main()
