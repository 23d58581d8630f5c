"""The progress of a running study: trials done, time left, the figures so far."""

import statistics
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from heatgrad.study.metric import METRICS
from heatgrad.study.results import Results
from heatgrad.study.run import Workload, workload
from heatgrad.study.spec import StudySpec
from heatgrad.study.store import Store
from heatgrad.study.trial import Trial
from heatgrad.study.wording import show_value

__all__ = ["StudyProgress"]


class StudyProgress:
    """A live bar and table on a terminal; one line per trained tenth elsewhere.

    Use as a context manager and hand `update` to `run_study`.
    """

    def __init__(self, study: StudySpec, place: str | Path, console: Console | None = None) -> None:
        self._study = study
        self._place = place
        self._console = console or Console(stderr=True, markup=False, emoji=False, highlight=False)
        work = _workload(study, place)
        self._done, self._total = work.num_stored, work.num_trials
        self._num_epochs, self._tenth = max(1, work.epochs), 0
        self._trials = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=None
        )
        self._epochs = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("left"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        )
        self._trial_bar = self._trials.add_task("trials", total=self._total, completed=self._done)
        self._epoch_bar = self._epochs.add_task("epochs", total=self._num_epochs)
        self._measure_bar: TaskID | None = None
        self._shown, self._next_look = Table(), 0.0
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        if self._done and self._done < self._total:
            self._console.print(f"resuming: {self._done} of {self._total} trials are stored")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.update(Group(self._trials, self._epochs))
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, epochs: int, trial: Trial | None) -> None:
        """Show the number of epochs done in this call, and count a trial that was stored."""
        self._epochs.update(self._epoch_bar, completed=epochs)
        if not self._console.is_terminal:
            self._print_tenth(epochs)
        if trial is None:
            return
        self._done += 1
        self._trials.update(self._trial_bar, completed=self._done)
        if self._console.is_terminal:
            self._refresh()
            self._live.update(Group(self._shown, self._trials, self._epochs))
        elif self._done == self._total:
            self._console.print(f"{self._done} of {self._total} trials done")

    def measured(self, done: int, total: int) -> None:
        """Show how many measurements of the landscape are made."""
        if self._console.is_terminal:
            if self._measure_bar is None:
                self._measure_bar = self._trials.add_task("landscape", total=total)
            self._trials.update(self._measure_bar, completed=done)
        elif done == total or 10 * done // total > 10 * (done - 1) // total:
            self._console.print(f"{done} of {total} measurements of the landscape made")

    def _print_tenth(self, epochs: int) -> None:
        """Say how far it is: trials that are trained at once are done all at the end."""
        tenth = 10 * epochs // self._num_epochs
        if self._tenth < tenth < 10:
            self._tenth = tenth
            self._console.print(
                f"{10 * tenth} % trained; {self._done} of {self._total} trials done"
            )

    def _refresh(self) -> None:
        """Read the store again, for a tenth of the time at most: of a large study it takes long."""
        now = time.monotonic()
        if now >= self._next_look or self._done == self._total:
            self._shown = self._figures()
            self._next_look = now + 10 * (time.monotonic() - now)

    def _figures(self) -> Table:
        """Return the median of the primary metric so far, per task and arm."""
        results = Results.load(self._place)
        metric = METRICS[self._study.metric]
        table = Table(title=f"{metric.label}, median so far", title_justify="left")
        table.add_column("arm")
        for task in self._study.tasks:
            table.add_column(task, justify="right")
        for arm in self._study.arms:
            cells = []
            for task in self._study.tasks:
                values = list(results.values(task, arm).values())
                cells.append(
                    f"{show_value(statistics.median(values), metric)} (n={len(values)})"
                    if values
                    else "-"
                )
            table.add_row(arm, *cells)
        return table


def _workload(study: StudySpec, place: str | Path) -> Workload:
    if not Store.is_in(place):
        return workload(study, None)
    store = Store.create(place, study)
    try:
        return workload(study, store)
    finally:
        store.close()
