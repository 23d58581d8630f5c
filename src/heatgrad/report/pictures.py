"""The figures of a study's page, drawn from its records."""

import statistics
from collections.abc import Mapping, Sequence

from heatgrad.core.errors import HeatgradError
from heatgrad.data import TASKS
from heatgrad.report.curves import plot_curves
from heatgrad.report.datasets import plot_dataset
from heatgrad.report.finals import plot_finals
from heatgrad.report.noise import plot_against_noise
from heatgrad.report.panels import Picture, legend, line_key
from heatgrad.report.style import arm_styles, figure, to_svg
from heatgrad.study import METRICS, Results
from heatgrad.study.finals import is_whole
from heatgrad.study.question import AS_PUBLISHED
from heatgrad.study.trial import Trial, load_data

__all__ = [
    "ceilings_of",
    "curves_picture",
    "data_picture",
    "finals_picture",
    "labels_are_noisy",
    "noise_pictures",
]


def curves_picture(
    results: Results, task: str, name: str, *, regime: str = AS_PUBLISHED
) -> Picture | None:
    """Return the training curves on a task under a regime; None where runs have not all of them.

    Args:
        results: Of the study.
        task: Name of the task.
        name: Of the figure, unique in the page.
        regime: Name of the regime.
    """
    panels = [
        ("train_loss", "training loss [loss]", {"log": True}),
        ("test_accuracy", "test accuracy [%]", {"percent": True}),
        ("grad_norm", "gradient norm [loss/param]", {"log": True}),
        ("diffusion_ratio", "diffused / plain gradient norm", {}),
    ]
    primary = results.study.metric
    if primary not in [quantity for quantity, _, _ in panels]:
        panels[1:1] = [(primary, *_shown(primary))]
    styles, ceilings = arm_styles(results.study), ceilings_of(results, task)
    arms = _arms(results, task, regime)
    runs = {arm: results.select(task, arm, regime) for arm in arms}
    if not arms or not all(is_whole(record) for of_arm in runs.values() for record in of_arm):
        return None
    svgs = []
    for quantity, label, how in panels:
        curves = {arm: [record.curves[quantity] for record in runs[arm]] for arm in arms}
        with figure(4.5, 2.6) as fig:
            ax = fig.subplots()
            plot_curves(ax, curves, styles, label=label, ceiling=ceilings.get(quantity), **how)
            title = f"{label.partition(' [')[0].capitalize()} on {task}"
            svgs.append(to_svg(fig, name=f"{name}-{quantity}", title=title))
    caption = (
        f"Line: median over runs; band: quartiles; {_count(results, [task], arms, regime)}. Arms "
        f"that coincide hide each other; the table has the differences.{line_key(styles, arms)}"
    )
    return Picture(tuple(svgs), caption, legend(styles, arms))


def finals_picture(
    results: Results, task: str, name: str, *, regime: str = AS_PUBLISHED
) -> Picture | None:
    """Return the final values of the primary metric, and the accuracies; arguments as above."""
    styles, ceilings = arm_styles(results.study), ceilings_of(results, task)
    arms = _arms(results, task, regime)
    if not arms:
        return None
    shown = dict.fromkeys([results.study.metric, "test_accuracy"])
    if labels_are_noisy(results, task):
        shown["test_accuracy_clean"] = None
    svgs = []
    for quantity in shown:
        values = {arm: [*results.values(task, arm, quantity, regime).values()] for arm in arms}
        label = METRICS[quantity].label
        with figure(4.5, 0.8 + 0.25 * len(arms)) as fig:
            plot_finals(
                fig.subplots(),
                values,
                styles,
                label=f"{label} {'[%]' if METRICS[quantity].percent else '[loss]'}",
                percent=METRICS[quantity].percent,
                ceiling=ceilings.get(quantity),
            )
            title = f"Final {label} on {task}"
            svgs.append(to_svg(fig, name=f"{name}-{quantity}", title=title))
    caption = f"{_count(results, [task], arms, regime)}."
    return Picture(tuple(svgs), caption)


def data_picture(trial: Trial, name: str) -> Picture | None:
    """Return a picture of a trial's data, or None if they cannot be loaded here and now.

    Only our own tasks are loaded: a store may come from anyone, and an import path in it is
    not code that the reader chose to run.
    """
    if trial.task.kind not in TASKS:
        return None
    try:
        dataset = load_data(trial)
    except HeatgradError:
        return None
    is_images = len(dataset.input_shape) == 3
    with figure(4.6, 2.3 if is_images else 3.6) as fig:
        plot_dataset(fig.subplots(), dataset)
        svg = to_svg(fig, name=name, title=f"Training data of {trial.task_name}")
    what = (
        "The first training images of block 0."
        if is_images
        else "Training points of block 0, coloured by the label the learner sees."
    )
    return Picture((svg,), what)


def noise_pictures(results: Results) -> list[tuple[str, Picture]]:
    """Return the figures against label noise, for tasks that differ in nothing else, by regime."""
    groups: dict[str, dict[float, str]] = {}
    for name, task in results.study.tasks.items():
        rate = task.options.get("label_noise")
        if rate is not None and _arms(results, name):
            same = task.model_dump(mode="json")
            for part in ("options", "dials"):
                same[part] = {k: v for k, v in same[part].items() if k != "label_noise"}
            groups.setdefault(str(same), {})[float(rate)] = name
    groups = {same: by_rate for same, by_rate in groups.items() if len(by_rate) > 1}
    regimes = results.study.regimes
    found = []
    for number, by_rate in enumerate(groups.values()):
        for place, regime in enumerate(regimes):
            if any(_arms(results, task, regime) for task in by_rate.values()):
                picture = _noise_picture(results, by_rate, f"noise-{number}-{place}", regime)
                found.append((regime if len(regimes) > 1 else "", picture))
    return found


def ceilings_of(results: Results, task: str) -> dict[str, float]:
    """Return the median ceiling over blocks, by metric; empty where it is not known."""
    known = [r.ceiling for r in results.records if r.task == task and r.ceiling is not None]
    if not known:
        return {}
    return {name: statistics.median(c[name] for c in known) for name in known[0]}


def labels_are_noisy(results: Results, task: str) -> bool:
    """Return whether accuracy on clean labels differs from that on the labels as scored."""
    return any(
        r.curves["test_accuracy"] != r.curves["test_accuracy_clean"]
        for r in results.records
        if r.task == task
    )


def _shown(metric: str) -> tuple[str, dict[str, bool]]:
    """Return the axis label of a metric and how it is drawn."""
    if METRICS[metric].percent:
        return f"{METRICS[metric].label} [%]", {"percent": True}
    return f"{METRICS[metric].label} [loss]", {"log": True}


def _noise_picture(
    results: Results, by_rate: Mapping[float, str], name: str, regime: str
) -> Picture:
    panels = [
        ("test_accuracy", "test accuracy, noisy labels [%]", {"percent": True}),
        ("test_accuracy_clean", "test accuracy, clean labels [%]", {"percent": True}),
        ("train_loss", "final training loss [loss]", {"log": True}),
    ]
    styles = arm_styles(results.study)
    arms = [
        arm
        for arm in results.study.arms
        if any(results.select(task, arm, regime) for task in by_rate.values())
    ]
    svgs = []
    for quantity, label, how in panels:
        values = {
            arm: {
                rate: list(results.values(task, arm, quantity, regime=regime).values())
                for rate, task in by_rate.items()
            }
            for arm in arms
        }
        ceilings = {rate: ceilings_of(results, task) for rate, task in by_rate.items()}
        ceiling = {rate: known[quantity] for rate, known in ceilings.items() if quantity in known}
        with figure(3.4, 2.9) as fig:
            plot_against_noise(fig.subplots(), values, styles, label=label, ceiling=ceiling, **how)
            title = f"{label.partition(' [')[0].capitalize()} against label noise"
            svgs.append(to_svg(fig, name=f"{name}-{quantity}", title=title))
    caption = (
        f"Final values: median and quartiles over runs, arms set side by side; "
        f"{_count(results, list(by_rate.values()), arms, regime)} for each rate."
        f"{line_key(styles, arms)} Grey dots: the ceiling."
    )
    return Picture(tuple(svgs), caption, legend(styles, arms))


def _arms(results: Results, task: str, regime: str = AS_PUBLISHED) -> list[str]:
    """Return the arms with at least one record on a task, in the study's order."""
    return [arm for arm in results.study.arms if results.select(task, arm, regime)]


def _count(results: Results, tasks: Sequence[str], arms: Sequence[str], regime: str) -> str:
    counts = sorted({len(results.select(task, arm, regime)) for task in tasks for arm in arms})
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
