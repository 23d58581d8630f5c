"""How much of a study's outcome is data set, dial, optimizer and seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heatgrad.study.metric import METRICS
from heatgrad.study.results import Results
from heatgrad.study.statistics import Share, split_by_dials, variance_shares

__all__ = ["Parts", "parts_of"]


@dataclass(frozen=True)
class Parts:
    """The variance of the runs over some tasks, divided.

    Attributes:
        title: The swept task, or "all tasks".
        regime: How options were chosen.
        tasks: Names of the tasks.
        arms: Names of the arms that count; controls do not.
        shares: The parts, by name; they add up to 1.
        num_blocks: Number of blocks that count.
        is_ranks: Whether ranks took the place of values, because a run diverged on a metric whose
            worst value is a convention.
    """

    title: str
    regime: str
    tasks: tuple[str, ...]
    arms: tuple[str, ...]
    shares: dict[str, Share]
    num_blocks: int
    is_ranks: bool


def parts_of(results: Results) -> list[Parts]:
    """Return the parts of each sweep, dial by dial, and of all tasks together.

    Controls are left out, and arms that repeat one before them. A set of tasks with fewer than two
    whole blocks, two arms or any variation has none.
    """
    study = results.study
    own = [arm for arm, spec in study.arms.items() if spec.control_of is None]
    arms = list({study.likeness_of(arm): arm for arm in reversed(own)}.values())[::-1]
    found = []
    for regime in study.regimes:
        tasks = [task for task in study.tasks if regime in study.regimes_of(task)]
        sweeps = dict.fromkeys(study.tasks[task].sweep_of for task in tasks)
        groups = {s: [t for t in tasks if study.tasks[t].sweep_of == s] for s in sweeps if s}
        if len(sweeps) > 1 or "" in sweeps:
            groups["all tasks"] = tasks
        for title, group in groups.items():
            parts = _parts(results, title, regime, group, arms, is_sweep=title in sweeps)
            if parts is not None:
                found.append(parts)
    return found


def _parts(
    results: Results,
    title: str,
    regime: str,
    tasks: Sequence[str],
    arms: Sequence[str],
    *,
    is_sweep: bool,
) -> Parts | None:
    values, has_diverged = _values(results, tasks, arms, regime)
    is_ranks = has_diverged and not METRICS[results.study.metric].percent
    try:
        if is_sweep:
            dials = [results.study.tasks[task].dials for task in tasks]
            split = split_by_dials(values, dials, ranks=is_ranks)
            shares = {
                **split.dials,
                **({"dials together": split.interplay} if len(split.dials) > 1 else {}),
                "optimizer": split.optimizer,
                **{f"optimizer by {d}": share for d, share in split.dials_by_optimizer.items()},
                **(
                    {"optimizer by dials together": split.interplay_by_optimizer}
                    if len(split.dials) > 1
                    else {}
                ),
                "seed": split.seed,
                "rest": split.rest,
            }
            num_blocks = split.num_blocks
        else:
            whole = variance_shares(values, ranks=is_ranks)
            shares = {
                **({"data set": whole.data} if len(tasks) > 1 else {}),
                "optimizer": whole.optimizer,
                **({"optimizer by data set": whole.interaction} if len(tasks) > 1 else {}),
                "seed": whole.seed,
                "rest": whole.rest,
            }
            num_blocks = whole.num_blocks
    except ValueError:  # too few whole blocks or arms, no variation, a sweep that is no full grid
        return None
    return Parts(title, regime, tuple(tasks), tuple(arms), shares, num_blocks, is_ranks)


def _values(
    results: Results, tasks: Sequence[str], arms: Sequence[str], regime: str
) -> tuple[np.ndarray, bool]:
    """Return the final values, shape (tasks, arms, blocks), NaN where a run is missing."""
    count = max(results.study.blocks_of(task) for task in tasks)
    values = np.full((len(tasks), len(arms), count), np.nan)
    worst = METRICS[results.study.metric].worst
    for t, task in enumerate(tasks):
        for a, arm in enumerate(arms):
            for block, value in results.values(task, arm, regime=regime).items():
                values[t, a, block] = value
    return values, bool((values == worst).any())
