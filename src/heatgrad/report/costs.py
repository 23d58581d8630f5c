"""What an arm costs: time a step, time an epoch, and how long it takes to reach a target."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heatgrad.report.rows import EMPTY, Cell
from heatgrad.report.style import arm_styles
from heatgrad.study import METRICS, Record, Results
from heatgrad.study.finals import is_whole
from heatgrad.study.metric import Metric
from heatgrad.study.question import AS_PUBLISHED
from heatgrad.study.wording import show_value
from heatgrad.training import steps_per_epoch

__all__ = ["Cost", "CostRow", "CostTable", "cost_of", "cost_table", "epochs_to"]


@dataclass(frozen=True)
class Cost:
    """What the runs of one arm cost on one task.

    Attributes:
        epoch_seconds: Median over runs of the training time of an epoch [s].
        step_seconds: The same for a step [s].
        ratios: Quartiles of the time of an epoch over the baseline's in the same block [1]; None
            where no block is shared, or where runs were trained at once and so share their time.
        epochs: Median number of epochs until the target is reached; infinite where half of the
            runs or more never do.
        steps: The same in steps.
        num_reached: Number of runs that reach it.
        num_runs: Number of all runs.
        memory: Bytes a parameter that the optimizer keeps, and that a step takes for a moment;
            None where no run has recorded them.
    """

    epoch_seconds: float
    step_seconds: float
    ratios: tuple[float, float, float] | None
    epochs: float
    steps: float
    num_reached: int
    num_runs: int
    memory: tuple[float, float] | None = None


@dataclass(frozen=True)
class CostRow:
    """A line of the table of costs.

    Attributes:
        arm: Name of the arm.
        role: Its role in the study.
        color: Its colour.
        step: Time of a step.
        epoch: Time of an epoch.
        ratio: Time over the baseline's, with quartiles.
        epochs: Epochs to the target.
        steps: Steps to the target.
        reached: How many runs reach it.
        kept: Bytes a parameter that the optimizer keeps.
        passing: Bytes a parameter that a step takes for a moment.
    """

    arm: str
    role: str
    color: str
    step: Cell
    epoch: Cell
    ratio: Cell
    epochs: Cell
    steps: Cell
    reached: Cell
    kept: Cell
    passing: Cell


@dataclass(frozen=True)
class CostTable:
    """The costs of all arms on one task.

    Attributes:
        target: The value to be reached, in words.
        rows: One for each arm with records.
        is_shared: Whether some runs were trained at once, so that their times are shares.
        is_early: Whether the first epoch reaches the target in most runs of every arm.
        has_memory: Whether memory was recorded.
    """

    target: str
    rows: tuple[CostRow, ...]
    is_shared: bool
    is_early: bool
    has_memory: bool


def epochs_to(curve: Sequence[float | None], target: float, metric: Metric) -> int | None:
    """Return the first epoch, from 1, after which a curve has reached a target; None if never.

    Example:
        >>> epochs_to([0.4, None, 0.8, 0.7], 0.75, METRICS["test_accuracy"])
        3
    """
    for epoch, value in enumerate(curve, start=1):
        if value is not None and metric.sign * (value - target) >= -metric.resolution:
            return epoch
    return None


def cost_of(
    records: Sequence[Record], baseline: Sequence[Record], *, target: float, metric: str
) -> Cost:
    """Return what the runs of an arm cost; a run that diverged never reaches the target.

    Args:
        records: Of the arm on one task, at least one.
        baseline: Of its baseline on the same task.
        target: The value to be reached [metric].
        metric: Name of the metric.
    """
    steps = [steps_per_epoch(r.num_train, r.spec["batch_size"]) for r in records]
    times = [_epoch_seconds(r) for r in records]
    reached = [
        None if r.status == "diverged" else epochs_to(r.curves[metric], target, METRICS[metric])
        for r in records
    ]
    epochs = [math.inf if count is None else float(count) for count in reached]
    own = {r.block: time for r, time in zip(records, times, strict=True)}
    theirs = {r.block: _epoch_seconds(r) for r in baseline}
    shared = [own[block] / theirs[block] for block in own if theirs.get(block, 0.0) > 0]
    low, middle, high = np.percentile(shared, [25, 50, 75]) if shared else (0.0, 0.0, 0.0)
    is_told = shared and not any(_is_at_once(r) for r in (*records, *baseline))
    return Cost(
        epoch_seconds=statistics.median(times),
        step_seconds=statistics.median(t / s for t, s in zip(times, steps, strict=True)),
        ratios=(float(low), float(middle), float(high)) if is_told else None,
        epochs=statistics.median(epochs),
        steps=statistics.median(e * s for e, s in zip(epochs, steps, strict=True)),
        num_reached=sum(count is not None for count in reached),
        num_runs=len(records),
        memory=_memory(records),
    )


def cost_table(results: Results, task: str, *, regime: str = AS_PUBLISHED) -> CostTable | None:
    """Return the costs on a task under a regime.

    None while the baseline has no run there, and where runs have not all of their curves.

    The target is the baseline's median final value of the primary metric.
    """
    study = results.study
    baseline = results.select(task, study.baseline, regime)
    if not baseline or not all(map(is_whole, baseline)):
        return None
    metric, styles = METRICS[study.metric], arm_styles(study)
    target = statistics.median(results.values(task, study.baseline, regime=regime).values())
    rows, is_shared = [], False
    for arm in study.arms:
        records = results.select(task, arm, regime)
        if records:
            cost = cost_of(records, baseline, target=target, metric=study.metric)
            longest = max(len(r.curves[study.metric]) for r in records)
            is_shared |= any(_is_at_once(r) for r in records)
            rows.append(_row(arm, study.role_of(arm), styles[arm].color, cost, longest))
    is_early = all(row.epochs.key == 1 for row in rows)
    has_memory = any(row.kept is not EMPTY for row in rows)
    return CostTable(show_value(target, metric), tuple(rows), is_shared, is_early, has_memory)


def _row(arm: str, role: str, color: str, cost: Cost, longest: int) -> CostRow:
    never = f"> {longest}"
    has_reached = math.isfinite(cost.epochs)
    ratio = EMPTY
    kept, passing = (Cell(f"{x:.1f} B", x) for x in cost.memory) if cost.memory else (EMPTY, EMPTY)
    if cost.ratios is not None and role != "baseline":
        low, middle, high = cost.ratios
        ratio = Cell(f"{middle:.2f} ({low:.2f} to {high:.2f})", middle)
    return CostRow(
        arm=arm,
        role=role,
        color=color,
        step=Cell(f"{_three_digits(1e3 * cost.step_seconds)} ms", cost.step_seconds),
        epoch=Cell(f"{_three_digits(cost.epoch_seconds)} s", cost.epoch_seconds),
        ratio=ratio,
        epochs=Cell(f"{cost.epochs:g}" if has_reached else never, cost.epochs),
        steps=Cell(f"{cost.steps:,.0f}", cost.steps) if has_reached else EMPTY,
        reached=Cell(f"{cost.num_reached} of {cost.num_runs}", cost.num_reached / cost.num_runs),
        kept=kept,
        passing=passing,
    )


def _three_digits(value: float) -> str:
    """Return a positive number in three digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def _memory(records: Sequence[Record]) -> tuple[float, float] | None:
    """Return the bytes a parameter that are kept and that pass, of the first run that tells."""
    for record in records:
        if record.memory is not None:
            kept, passing = (record.memory[name] for name in ("kept", "passing"))
            return kept / record.num_parameters, passing / record.num_parameters
    return None


def _epoch_seconds(record: Record) -> float:
    return statistics.fmean(value or 0.0 for value in record.curves["seconds"])


def _is_at_once(record: Record) -> bool:
    """Whether a run was trained together with others, so that its time is an equal share."""
    return bool(record.spec.get("backend", "loop") != "loop")
