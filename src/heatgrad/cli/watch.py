"""A running study, seen from another terminal: what is done, how fast, until when."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from heatgrad.study.finals import final_value
from heatgrad.study.metric import METRICS
from heatgrad.study.results import Results
from heatgrad.study.spec import StudySpec
from heatgrad.study.store import Record, shown_place
from heatgrad.study.wording import show_value

__all__ = ["Pace", "frame", "pace", "watch_study"]

# A longer silence is a pause, unless trials themselves take that long [s].
_PAUSE = 3600.0
_LATEST = 6


@dataclass(frozen=True)
class Pace:
    """How fast trials come.

    Attributes:
        per_hour: Trials an hour since the last pause; None where that is not known.
        end: When the study will be done at this rate; None where that is not known, or it is.
        silence: Time since the latest trial [s]; None where there is none.
    """

    per_hour: float | None
    end: datetime | None
    silence: float | None


def pace(records: Sequence[Record], num_missing: int, *, now: datetime) -> Pace:
    """Return how fast trials come, from the times at which they were stored.

    Counted are all trials since the last pause of an hour (or of three times the longest trial),
    from the start of the first of them to now. Trials that are trained at once are stored at
    once, so that the rate jumps from batch to batch.

    Args:
        records: Finished trials, in any order.
        num_missing: Trials still to be done.
        now: The present, with a time zone.
    """
    if not records:
        return Pace(None, None, None)
    newest_first = sorted(records, key=_stored_at, reverse=True)
    silence = (now - _stored_at(newest_first[0])).total_seconds()
    pause = max(_PAUSE, 3 * max(record.seconds for record in records))
    if silence > pause:
        return Pace(None, None, silence)
    counted = newest_first[:1]
    for record in newest_first[1:]:
        if (_stored_at(counted[-1]) - _stored_at(record)).total_seconds() > pause:
            break
        counted.append(record)
    # Times are stored in whole seconds: of a shorter stretch nothing is known.
    began = _stored_at(counted[-1]) - timedelta(seconds=counted[-1].seconds)
    stretch = max(1.0, (now - began).total_seconds())
    rate = len(counted) / stretch
    end = now + timedelta(seconds=num_missing / rate) if num_missing else None
    return Pace(3600 * rate, end, silence)


def frame(results: Results, place: str | Path, *, now: datetime) -> RenderableType:
    """Return what is to be seen of a study at this moment."""
    records = (*results.records, *results.tuning_records)
    done, planned = len(records), results.num_planned
    diverged = sum(record.status == "diverged" for record in records)
    head = Text(f"study {results.study.name} in {shown_place(place)}", style="bold")
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(1, planned), completed=done, width=40),
        f"{done} of {planned} trials",
        f"{diverged} diverged" if diverged else "none diverged",
    )
    parts: list[RenderableType] = [head, bar, Text(_pace_line(results, now))]
    for regime in results.study.regimes:
        if len(results.study.regimes) > 1:
            parts.append(Text(regime))
        parts.append(_counts(results, regime))
    if results.study.tuning is not None:
        parts.append(Text(f"tuning: {len(results.tuning_records)} trials"))
    if records:
        parts.append(_latest(records, results.study))
    return Group(*parts)


def watch_study(
    place: str | Path, console: Console, *, once: bool = False, every: float = 2.0
) -> None:
    """Show a study until it is done, or until the user has seen enough.

    Without a terminal, or with `once`, it is shown once.

    Args:
        place: Folder of the study, or URL of its database.
        console: Where to show it.
        once: Whether to stop after the first look.
        every: Time between looks, longer where reading the store takes long [s].

    Raises:
        StoreError: If there is no store that can be read.
    """
    results, seconds = _timed(place)
    if once or not console.is_terminal:
        console.print(frame(results, place, now=datetime.now(UTC)))
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        try:
            while True:
                live.update(frame(results, place, now=datetime.now(UTC)), refresh=True)
                if not results.num_missing:
                    return
                time.sleep(max(every, 10 * seconds))
                results, seconds = _timed(place)
        except KeyboardInterrupt:
            return


def _timed(place: str | Path) -> tuple[Results, float]:
    started = time.perf_counter()
    return Results.load(place), time.perf_counter() - started


def _pace_line(results: Results, now: datetime) -> str:
    records = (*results.records, *results.tuning_records)
    found = pace(records, results.num_missing, now=now)
    if not results.num_missing:
        return "done"
    if found.silence is None:
        return "no trial is finished yet"
    if found.per_hour is None or found.end is None:
        return f"no trial for {_span(found.silence)}: paused or stopped"
    left = (found.end - now).total_seconds()
    return (
        f"{found.per_hour:,.0f} trials an hour; about {_span(left)} left, until "
        f"{_clock(found.end, now)}; the latest {_span(found.silence)} ago"
    )


def _counts(results: Results, regime: str) -> Table:
    """Return done and planned trials by arm and task, the longer of the two downwards."""
    study = results.study

    def count(task: str, arm: str) -> str:
        if regime not in study.regimes_of(task):
            return "-"
        records = results.select(task, arm, regime)
        diverged = sum(record.status == "diverged" for record in records)
        note = f", {diverged} diverged" if diverged else ""
        return f"{len(records)}/{study.blocks_of(task)}{note}"

    if len(study.tasks) > len(study.arms):
        table = Table("task", *study.arms)
        for task in study.tasks:
            table.add_row(task, *(count(task, arm) for arm in study.arms))
        return table
    table = Table("arm", *study.tasks)
    for arm in study.arms:
        table.add_row(arm, *(count(task, arm) for task in study.tasks))
    return table


def _latest(records: Sequence[Record], study: StudySpec) -> Table:
    metric = METRICS[study.metric]
    table = Table("latest", "task", "arm", "block", metric.label, "seconds")
    for record in sorted(records, key=_stored_at, reverse=True)[:_LATEST]:
        has_diverged = record.status == "diverged"
        value = show_value(final_value(record, study.metric, study.metric_epochs), metric)
        table.add_row(
            _stored_at(record).astimezone().strftime("%H:%M:%S"),
            record.task,
            record.arm,
            str(record.block),
            "diverged" if has_diverged else value,
            f"{record.seconds:.1f}",
        )
    return table


def _stored_at(record: Record) -> datetime:
    return datetime.fromisoformat(record.stored_at)


def _span(seconds: float) -> str:
    """Return a time span in its two largest units."""
    whole = max(0, round(seconds))
    for unit, size, lesser, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {lesser}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _clock(moment: datetime, now: datetime) -> str:
    """Return a moment in local time, with its day where that is another."""
    local = moment.astimezone()
    is_today = local.date() == now.astimezone().date()
    return local.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")
