"""Robustness to label noise as one number: the area under the accuracy-noise curve."""

from dataclasses import dataclass

import numpy as np

from heatgrad.study.metric import METRICS
from heatgrad.study.results import Results
from heatgrad.study.statistics import PairedComparison, area_under_curve, compare_paired

__all__ = ["NoiseArea", "noise_areas"]

_DIAL = "label_noise"


@dataclass(frozen=True)
class NoiseArea:
    """The area of one arm over the noise rates of a swept task.

    Attributes:
        sweep: The task, with the values of its other dials.
        regime: How options were chosen.
        arm: Name of the arm.
        rates: The noise rates, from the lowest.
        areas: One area for each block [metric].
        comparison: Against the baseline, signed so that a gain is positive; None for the baseline.
        ceiling: The area under the best possible values, or None [metric].
    """

    sweep: str
    regime: str
    arm: str
    rates: tuple[float, ...]
    areas: tuple[float, ...]
    comparison: PairedComparison | None
    ceiling: float | None


def noise_areas(results: Results) -> list[NoiseArea]:
    """Return the area of each arm wherever a task was swept over at least two noise rates.

    Only blocks that the arm and its baseline have finished at every rate are used.
    """
    study, metric = results.study, METRICS[results.study.metric]
    found = []
    for regime in study.regimes:
        curves: dict[str, dict[float, str]] = {}
        for name, task in study.tasks.items():
            if task.sweep_of and _DIAL in task.dials and regime in study.regimes_of(name):
                others = [f"{d} {v:g}" for d, v in task.dials.items() if d != _DIAL]
                title = ", ".join([task.sweep_of, *others])
                curves.setdefault(title, {})[task.dials[_DIAL]] = name
        for title, tasks in curves.items():
            if len(tasks) < 2:
                continue
            rates = tuple(sorted(tasks))
            base = _by_block(results, tasks, study.baseline, regime)
            ceiling = _ceiling(results, tasks, regime)
            for arm in study.arms:
                mine = _by_block(results, tasks, arm, regime)
                blocks = sorted(set(mine) & set(base))
                if not blocks:
                    continue
                areas, others_areas = (
                    area_under_curve(np.array(rates), np.array([by[b] for b in blocks]).T)
                    for by in (mine, base)
                )
                comparison = None
                if arm != study.baseline:
                    comparison = compare_paired(
                        metric.sign * areas,
                        metric.sign * others_areas,
                        margin=study.margin,
                        resolution=metric.resolution,
                    )
                found.append(
                    NoiseArea(title, regime, arm, rates, tuple(areas), comparison, ceiling)
                )
    return found


def _by_block(
    results: Results, tasks: dict[float, str], arm: str, regime: str
) -> dict[int, list[float]]:
    """Return the values over the rates, from the lowest, of the blocks that have all."""
    values = [results.values(tasks[rate], arm, regime=regime) for rate in sorted(tasks)]
    return {b: [v[b] for v in values] for b in sorted(set.intersection(*map(set, values)))}


def _ceiling(results: Results, tasks: dict[float, str], regime: str) -> float | None:
    name, levels = results.study.metric, []
    for rate in sorted(tasks):
        records = results.select(tasks[rate], results.study.baseline, regime)
        known = [r.ceiling[name] for r in records if r.ceiling and name in r.ceiling]
        if not known:
            return None
        levels.append(sum(known) / len(known))
    return float(area_under_curve(np.array(sorted(tasks)), np.array(levels)))
