"""The parts of a study's page: from results to worded rows and their figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heatgrad.report.costs import CostTable, cost_table
from heatgrad.report.forest import effects_of, forest_picture
from heatgrad.report.numbers import NumbersRow, numbers_rows
from heatgrad.report.panels import Picture
from heatgrad.report.paths import PathRow, path_rows
from heatgrad.report.pictures import (
    ceilings_of,
    curves_picture,
    data_picture,
    finals_picture,
    labels_are_noisy,
)
from heatgrad.report.rows import Row, regimes_of, verdict_rows
from heatgrad.report.style import arm_styles
from heatgrad.report.tuning import tuning_picture
from heatgrad.report.when import is_cell
from heatgrad.report.why import Why, why_on
from heatgrad.study import METRICS, Results, Verdict
from heatgrad.study.captions import conditions
from heatgrad.study.question import AS_PUBLISHED, EACH_TUNED
from heatgrad.study.trial import Trial
from heatgrad.study.wording import listed

__all__ = ["RegimeBlock", "TaskSection", "summary", "task_sections"]

# How a verdict reads in the summary, of one arm and of several.
_SAYS = {
    "INVALID": ("cannot be compared", "cannot be compared"),
    "FLOOR": ("is at chance, as {baseline} is", "are at chance, as {baseline} is"),
    "HELPS": ("helps", "help"),
    "HELPS-NOT-BECAUSE": (
        "helps, but no more than its controls",
        "help, but no more than controls",
    ),
    "HURTS": ("hurts", "hurt"),
    "CEILING": ("has nothing to win", "have nothing to win"),
    "TRIVIAL": ("differs by less than the margin", "differ by less than the margin"),
    "EQUIVALENT": ("is equivalent to {baseline}", "are equivalent to {baseline}"),
    "INCONCLUSIVE": ("is not settled", "are not settled"),
    "NO VERDICT": ("has too few runs for a verdict", "have too few runs for a verdict"),
}


@dataclass(frozen=True)
class RegimeBlock:
    """What the page says about one task under one regime.

    Attributes:
        regime: Name of the regime.
        num_runs: n of its verdicts, in words.
        rows: The verdict table.
        conditions: What its verdicts hang on.
        forest: Differences and their intervals, or None while there is no verdict.
        tuning: What the search found, or None where nothing was tuned.
        why: What probes and controls say, or None where they say nothing.
        paths: How smooth the paths of training were; empty where that was not recorded.
        numbers: Every number of the verdicts.
        costs: What the arms cost, or None while the baseline has no run.
        curves: Training curves; None for a cell of a map, as the next.
        finals: Final values with intervals.
    """

    regime: str
    num_runs: str
    rows: list[Row]
    conditions: str
    forest: Picture | None
    tuning: Picture | None
    why: Why | None
    paths: list[PathRow]
    numbers: list[NumbersRow]
    costs: CostTable | None
    curves: Picture | None
    finals: Picture | None


@dataclass(frozen=True)
class TaskSection:
    """All that the page says about one task.

    Attributes:
        name: Name of the task.
        anchor: Id of its heading.
        note: What the spec says about it.
        ceiling: A sentence on the best possible accuracy, or empty.
        has_clean: Whether labels are noisy, so that clean accuracy is worth a column.
        budget: A sentence on steps, batch size, learning rate.
        blocks: Its verdicts by regime, "as published" first.
        data: A picture of the data; None for a cell of a map, and if they could not be loaded.
        is_cell: Whether the task is one of the cells of a map.
    """

    name: str
    anchor: str
    note: str
    ceiling: str
    has_clean: bool
    budget: str
    blocks: list[RegimeBlock]
    data: Picture | None
    is_cell: bool = False


def summary(results: Results, verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """Return the name of each task, and in words which arms do what on it, by regime."""
    regimes = regimes_of(verdicts)
    sentences = []
    for task in results.study.tasks:
        for regime in regimes:
            mine = [
                v
                for v in verdicts
                if (v.question.task, v.question.regime) == (task, regime)
                and v.question.role != "control"
            ]
            parts = _who_does_what(mine, results.study.baseline)
            if parts:
                name = f"{task}, {regime}" if len(regimes) > 1 else task
                sentences.append((name, "; ".join(parts) + "."))
    return sentences


def _who_does_what(verdicts: Sequence[Verdict], baseline: str) -> list[str]:
    by_word: dict[str, list[str]] = {}
    for verdict in verdicts:
        by_word.setdefault(verdict.word, []).append(verdict.question.arm)
    return [
        f"{listed(arms)} {_SAYS[word][len(arms) > 1].replace('{baseline}', baseline)}"
        for word, arms in by_word.items()
    ]


def task_sections(results: Results, verdicts: Sequence[Verdict]) -> list[TaskSection]:
    """Return the section of every task that has records, in the study's order."""
    sections = []
    for number, task in enumerate(results.study.tasks):
        records = [record for record in results.records if record.task == task]
        if records:
            sections.append(
                _section(
                    results,
                    f"task-{number}",
                    trials=[Trial.model_validate(record.spec) for record in records],
                    verdicts=verdicts,
                )
            )
    return sections


def _section(
    results: Results, anchor: str, *, trials: Sequence[Trial], verdicts: Sequence[Verdict]
) -> TaskSection:
    task = trials[0].task_name
    has_clean = labels_are_noisy(results, task)
    mine = [v for v in verdicts if v.question.task == task]
    cell = is_cell(results, task)
    published = [trial for trial in trials if trial.regime == AS_PUBLISHED]
    return TaskSection(
        name=task,
        anchor=anchor,
        note=results.study.tasks[task].note,
        ceiling=_ceiling_sentence(ceilings_of(results, task), has_clean),
        has_clean=has_clean,
        budget=_budget(results, published or trials),
        blocks=[
            _block(results, task, mine, regime, f"{anchor}-{number}", is_cell=cell)
            for number, regime in enumerate(regimes_of(verdicts))
            if regime == AS_PUBLISHED or regime in regimes_of(mine)
        ],
        data=None if cell else data_picture(trials[0], f"{anchor}-data"),
        is_cell=cell,
    )


def _block(
    results: Results,
    task: str,
    verdicts: Sequence[Verdict],
    regime: str,
    name: str,
    *,
    is_cell: bool,
) -> RegimeBlock:
    study = results.study
    mine = [verdict for verdict in verdicts if verdict.question.regime == regime]
    counts = sorted({verdict.question.num_blocks for verdict in mine})
    colors = {arm: style.color for arm, style in arm_styles(study).items()}
    effects = effects_of(mine, colors, {arm: study.controls_of(arm) for arm in study.arms})
    forest = None
    if effects and not is_cell:
        forest = forest_picture(
            effects,
            margin=study.margin,
            metric=METRICS[study.metric],
            name=f"{name}-forest",
            title=f"Differences from {study.baseline} on {task}",
        )
    return RegimeBlock(
        regime=regime,
        num_runs=" to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "0",
        rows=verdict_rows(results, task, mine, regime=regime),
        conditions=conditions(mine),
        forest=forest,
        tuning=_tuning(results, task, name) if regime == EACH_TUNED else None,
        why=why_on(results, task, mine, regime=regime),
        paths=[] if is_cell else path_rows(results, task, regime=regime),
        numbers=[] if is_cell else numbers_rows(mine, colors),
        costs=None if is_cell else cost_table(results, task, regime=regime),
        curves=None if is_cell else curves_picture(results, task, f"{name}-curves", regime=regime),
        finals=None if is_cell else finals_picture(results, task, f"{name}-finals", regime=regime),
    )


def _tuning(results: Results, task: str, name: str) -> Picture | None:
    values = {arm: search.values for (on, arm), search in results.tunings.items() if on == task}
    if not values:
        return None
    metric, styles = METRICS[results.study.metric], arm_styles(results.study)
    return tuning_picture(
        values, metric, styles, name=f"{name}-tuning", title=f"Tuning curves on {task}"
    )


def _budget(results: Results, trials: Sequence[Trial]) -> str:
    trial = trials[0]
    record = next(r for r in results.records if r.task == trial.task_name)
    rates = [f"{lr:g}" for lr in sorted({t.optimizer.options["lr"] for t in trials})]
    rate = (
        f"learning rate {rates[0]} (shared by the arms, not tuned)"
        if len(rates) == 1
        else f"learning rates {listed(rates)} (by arm, not tuned)"
    )
    return (
        f"{trial.epochs} epochs of {record.num_train:,} examples, batch size {trial.batch_size}, "
        f"{rate}, {trial.model.kind} with {record.num_parameters:,} parameters."
    )


def _ceiling_sentence(ceilings: Mapping[str, float], has_clean: bool) -> str:
    if not ceilings:
        return ""
    best = f"{100 * ceilings['test_accuracy']:.1f} %"
    if not has_clean:
        return f"No classifier can expect more than {best} here (Bayes-optimal accuracy)."
    clean = f"{100 * ceilings['test_accuracy_clean']:.1f} %"
    return (
        f"No classifier can expect more than {best} on the noisy test labels, or {clean} on the "
        f"clean ones (Bayes-optimal accuracy)."
    )
