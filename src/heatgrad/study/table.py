"""Verdicts on any table of (arm, seed, value): runs of a training loop that is not ours."""

import math
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
_COSTS = ("loss", "nll", "error", "perplexity", "ppl", "regret", "mse", "mae", "time", "seconds")


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
        raise SpecError(f"no arm to compare with '{baseline}'; {nearest(baseline, runs)}")
    seeds = _common_seeds({name: runs[name] for name in (baseline, *chosen, *controls)})
    _check_family(len(chosen), len(seeds))
    scale = _metric(
        metric, [runs[a] for a in (baseline, *chosen, *controls)], margin, higher_is_better
    )

    def values(arm: str) -> tuple[float, ...]:
        found = (float(runs[arm][seed]) for seed in seeds)
        return tuple(v if math.isfinite(v) else scale.worst for v in found)

    return judge_all(
        [
            Question(
                task="",
                arm=arm,
                baseline=baseline,
                role="confirmatory",
                metric=scale,
                margin=margin,
                values=values(arm),
                baseline_values=values(baseline),
                controls={name: values(name) for name in controls},
                needs_control=False,
                ceiling=None,
                diverged=sum(not math.isfinite(runs[arm][seed]) for seed in seeds),
                regime="as given",
                budget=None,
                family_size=len(chosen),
            )
            for arm in chosen
        ]
    )


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


def _metric(
    name: str, runs: Sequence[Mapping[str, float]], margin: float, higher_is_better: bool | None
) -> Metric:
    known = METRICS.get(name)
    if known is not None and higher_is_better in (None, known.higher_is_better):
        return known
    if higher_is_better is None and any(word in name.lower().split("_") for word in _COSTS):
        raise SpecError(
            f"less of '{name}' sounds better; say which with --lower-is-better or "
            f"--higher-is-better"
        )
    better = higher_is_better is not False
    finite = [abs(v) for values in runs for v in values.values() if math.isfinite(v)]
    size = max([margin, *finite])
    return Metric(
        label=f"{name} ({'higher' if better else 'lower'} is better)",
        higher_is_better=better,
        # Far beyond all that was seen, so that differences stay finite and can be ordered.
        worst=(-1e6 if better else 1e6) * size,
        percent=False,
        # Three digits of the margin.
        digits=max(0, min(12, 2 - math.floor(math.log10(margin)))),
        resolution=1e-9 * size,
    )
