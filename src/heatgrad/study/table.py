"""Verdicts on any table of (arm, seed, value): runs of a training loop that is not ours."""

import math
import re
from collections.abc import Mapping, Sequence

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import nearest
from heatgrad.study.metric import METRICS, Metric
from heatgrad.study.question import ALPHA, MIN_BLOCKS, Question
from heatgrad.study.statistics import blocks_for_family, largest_family, smallest_p
from heatgrad.study.verdict import Verdict, judge_all
from heatgrad.study.wording import listed

__all__ = ["compare_table"]

Runs = Mapping[str, Mapping[str, float]]
# Words in a metric's name that mean "less is better" more often than not.
_COSTS = (
    *("loss", "nll", "error", "err", "perplexity", "ppl", "regret", "time", "seconds", "latency"),
    *("mse", "rmse", "mae", "mape", "wer", "cer", "fid"),
)
_LARGEST = 1e300  # of a value: those of diverged runs must be farther off


def compare_table(
    runs: Runs,
    *,
    baseline: str,
    margin: float,
    arms: Sequence[str] = (),
    controls: Sequence[str] = (),
    metric: str = "value",
    higher_is_better: bool | None = None,
) -> list[Verdict]:
    """Return the verdicts on a table of runs, an arm each against the baseline.

    The arms are one confirmatory family, so their p values are adjusted together. Runs with the
    same seed are pairs. A value that is not finite is a run that diverged, and ranks worst.

    Args:
        runs: The value of each run, by arm and seed.
        baseline: The arm that the others are compared with.
        margin: Smallest difference that matters, positive [metric].
        arms: The arms that the question is about; all but baseline and controls by default.
        controls: Arms that every arm has to beat as well before it is said to help.
        metric: Name of the values, for the sentence; one of `METRICS` is shown as in a study.
        higher_is_better: The direction of improvement; by default that of `METRICS`, else True,
            and an error where the name sounds like a cost.

    Raises:
        SpecError: If a name is not an arm, seeds do not match, the margin is not positive, or
            the family is too large for the number of seeds.

    Example:
        >>> sgd = {str(seed): 0.80 + 0.01 * (seed % 3) for seed in range(8)}
        >>> mine = {seed: value + 0.03 for seed, value in sgd.items()}
        >>> compare_table({"SGD": sgd, "mine": mine}, baseline="SGD", margin=0.005)[0].word
        'HELPS'
    """
    named = [
        ("baseline", baseline),
        *(("arm", a) for a in arms),
        *(("control", c) for c in controls),
    ]
    for role, name in named:
        if name not in runs:
            raise SpecError(f"{role} '{name}' is not in the table; {nearest(name, runs)}")
    if len({name for _, name in named}) < len(named):
        raise SpecError(
            f"baseline, arms and controls must differ, got {', '.join(n for _, n in named)}"
        )
    if not (math.isfinite(margin) and margin > 0):
        raise SpecError(f"margin must be a number greater than 0, got {margin!r}")
    chosen = list(arms) or [a for a in runs if a != baseline and a not in controls]
    if not chosen:
        raise SpecError(
            f"no arm to compare with '{baseline}': baseline and controls are all that the table "
            f"holds ({listed(list(runs))})"
        )
    seeds = _common_seeds({name: runs[name] for name in (baseline, *chosen, *controls)})
    _check_family(len(chosen), len(seeds))
    base = _metric(metric, higher_is_better)
    questions = []
    for arm in chosen:  # each alone: what another arm holds must not matter
        pair = [runs[arm], runs[baseline]]
        scale = _scaled(base, pair, [runs[name] for name in controls], margin)
        values = {
            name: tuple(_ranked(float(runs[name][seed]), scale) for seed in seeds)
            for name in (arm, baseline, *controls)
        }
        questions.append(
            Question(
                task="",
                arm=arm,
                baseline=baseline,
                role="confirmatory",
                metric=scale,
                margin=margin,
                values=values[arm],
                baseline_values=values[baseline],
                controls={name: values[name] for name in controls},
                needs_control=False,
                ceiling=None,
                diverged=sum(not math.isfinite(runs[arm][seed]) for seed in seeds),
                regime="as given",
                budget=None,
                family_size=len(chosen),
            )
        )
    return judge_all(questions)


def _ranked(value: float, scale: Metric) -> float:
    return value if math.isfinite(value) else scale.worst


def _common_seeds(runs: Runs) -> list[str]:
    """Return the seeds that all arms have, or refuse where one has others."""
    (first, seeds), *others = runs.items()
    for name, found in others:
        if set(found) != set(seeds):
            parts = [
                f"{_some(set(has) - set(lacks))} only in '{owner}'"
                for owner, has, lacks in ((first, seeds, found), (name, found, seeds))
                if set(has) - set(lacks)
            ]
            raise SpecError(
                f"seeds of '{first}' and '{name}' do not match: {', '.join(parts)}; runs are "
                f"compared in pairs, so run the missing ones or leave out the others in all arms"
            )
    return sorted(seeds)


def _some(seeds: set[str]) -> str:
    names = sorted(seeds, key=lambda s: (len(s), s))
    return listed(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _check_family(size: int, num_blocks: int) -> None:
    needed = blocks_for_family(size, alpha=ALPHA)
    if MIN_BLOCKS <= num_blocks < needed:
        raise SpecError(
            f"{size} arms are too many for {num_blocks} seeds: the smallest p value, "
            f"{smallest_p(num_blocks):.2g}, is above {ALPHA:g} / {size}; {needed} seeds are "
            f"needed, or at most {largest_family(num_blocks, alpha=ALPHA)} arms"
        )


def _metric(name: str, higher_is_better: bool | None) -> Metric:
    """Return what a column's name and the caller say of it."""
    known = METRICS.get(name)
    if known is not None and higher_is_better in (None, known.higher_is_better):
        return known
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    if higher_is_better is None and any(word in _COSTS for word in words):
        raise SpecError(
            f"less of '{name}' sounds better; say which with --lower-is-better or "
            f"--higher-is-better"
        )
    better = higher_is_better is not False
    label = f"{name} ({'higher' if better else 'lower'} is better)"
    return Metric(label=label, higher_is_better=better, worst=0.0, percent=False)


def _scaled(
    metric: Metric,
    pair: Sequence[Mapping[str, float]],
    controls: Sequence[Mapping[str, float]],
    margin: float,
) -> Metric:
    """Return a metric with ties, digits and a worst value that fit the values of one question."""
    own, others = (
        [abs(v) for values in runs for v in values.values() if math.isfinite(v)]
        for runs in (pair, controls)
    )
    largest = max([margin, *own, *others])
    if largest > _LARGEST:
        raise SpecError(f"values must be at most {_LARGEST:g} in size, got {largest:g}; scale them")
    values = [v for runs in (*pair, *controls) for v in runs.values() if math.isfinite(v)]
    is_known = metric in METRICS.values()
    if is_known and all(metric.sign * (v - metric.worst) > 0 for v in values):
        return metric
    changes = {
        # Far beyond all that was seen, so that differences stay finite and can be ordered.
        "worst": -metric.sign * 1e6 * largest,
        # What doubles, and decimals written as such, are off by.
        "resolution": max(1e-9 * margin, 1e-14 * max([margin, *own])),
    }
    if not is_known:
        # Three digits of the margin.
        changes["digits"] = max(0, min(12, 2 - math.floor(math.log10(margin))))
    return metric.model_copy(update=changes)
