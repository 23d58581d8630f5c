"""What the study commands print."""

from pathlib import Path

from rich.table import Table

from heatgrad.cli.console import text_console
from heatgrad.study.estimate import estimate
from heatgrad.study.presets import PRESETS, SMALL
from heatgrad.study.results import Results
from heatgrad.study.spec import StudySpec
from heatgrad.study.store import shown_place

__all__ = ["print_estimate", "print_presets", "print_status", "print_study"]


def print_study(study: StudySpec, place: str | Path) -> None:
    """Print what is about to be run."""
    console = text_console()
    console.print(f"{study.title or study.name}", style="bold")
    console.print(
        f"{study.num_trials} trials: {len(study.tasks)} task(s) x {len(study.arms)} arms, matched "
        f"seed by seed; primary metric {study.metric}, margin {study.margin:g}; "
        f"results in {shown_place(place)}",
    )


def print_estimate(study: StudySpec, place: str | Path, *, workers: int) -> None:
    """Print trials, steps and the estimated time of a study that is not run."""
    with text_console(stderr=True).status("timing") as shown:  # on a terminal only

        def tell(done: int, total: int) -> None:
            shown.update(f"timing: {done} of {total} arms and tasks")

        result = estimate(study, place, workers=workers, on_timed=tell)
    console = text_console()
    console.print(f"study {study.name}, into {shown_place(place)} (dry run: nothing is written)")
    table = Table("task", "trials", "steps a trial", "seconds a trial (estimated)")
    for row in result.tasks:
        table.add_row(row.task, str(row.trials), f"{row.steps:,}", f"{row.seconds:.0f}")
    console.print(table)
    console.print(
        f"{result.num_trials} trials, {result.num_stored} stored, {result.steps:,} steps to do: "
        f"about {result.hours:.2f} hours on {max(1, workers)} worker(s), measured from a few "
        f"steps of every arm",
    )
    if study.geometry:
        names = ", ".join(study.geometry)
        console.print(f"Not counted: measurements of the landscape after training ({names}).")


def print_presets() -> None:
    """Print the name and title of every preset, and of its small form."""
    table = Table("preset", "what it asks", "trials")
    for name, path in PRESETS.items():
        forms = [(name, path)] + ([(f"{name} --small", SMALL[name])] if name in SMALL else [])
        for shown, file in forms:
            study = StudySpec.from_toml(file)
            table.add_row(shown, study.title, str(study.num_trials))
    text_console().print(table)


def print_status(results: Results, place: str | Path) -> None:
    """Print how many trials are stored, per task and arm."""
    console = text_console()
    study, done = results.study, results.num_planned - results.num_missing
    console.print(f"study {study.name} in {shown_place(place)}")
    for regime in study.regimes:
        title = regime if len(study.regimes) > 1 else None
        table = Table("arm", *study.tasks, title=title, title_justify="left")
        for arm in study.arms:
            cells = []
            for task in study.tasks:
                records = results.select(task, arm, regime)
                diverged = sum(r.status == "diverged" for r in records)
                note = f" ({diverged} diverged)" if diverged else ""
                is_judged = regime in study.regimes_of(task)
                cells.append(f"{len(records)}/{study.blocks_of(task)}{note}" if is_judged else "-")
            table.add_row(arm, *cells)
        console.print(table)
    if study.tuning is not None:
        planned = len(study.arms) * sum(map(study.num_tuning_trials_of, study.tasks))
        console.print(f"tuning: {len(results.tuning_records)}/{planned} trials")
    geometry = results.geometry
    if geometry.num_planned:
        made = geometry.num_planned - geometry.num_missing
        console.print(f"landscape: {made}/{geometry.num_planned} measurements")
    console.print(
        f"{done} of {results.num_planned} trials stored"
        + (
            "; 'heatgrad study run' with the same spec and folder resumes"
            if results.num_missing
            else ""
        ),
    )
