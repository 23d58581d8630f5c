"""Tables of runs, read: one value for each arm and seed."""

import csv
import io
import math
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from heatgrad.core.errors import DataError, HeatgradWarning
from heatgrad.core.lookup import nearest
from heatgrad.core.spec import shown
from heatgrad.study.recorded import STATUS, is_record, without_torn_row
from heatgrad.study.wording import listed

__all__ = ["read_runs"]

_SEEDS = ("seed", "block")
_BROKEN = ("diverged", "failed")


@dataclass
class _Run:
    """What the rows of one run say: the metric by epoch, whether it broke, whether it ended."""

    values: dict[int, float] = field(default_factory=dict)
    is_broken: bool = False
    has_ended: bool = False


def read_runs(
    path: str | Path, metric: str, *, epoch: int | None = None, arms: Collection[str] = ()
) -> dict[str, dict[str, float]]:
    """Return the value of each run in a CSV file, by arm and seed.

    A file with a column `epoch` has a row for each epoch of a run, as `record` and `heatgrad study
    export` write them: of each run the last value is taken, or that of one epoch. There is no
    choice of the best epoch: it would favour the arm whose curve is noisier. A run diverged, and
    gets `nan`, if a value up to that epoch is not finite, or if the column `status` says `failed`
    or `diverged`.

    Args:
        path: A CSV file with a header: the columns `arm`, `seed` (or `block`) and the metric,
            and where runs have several rows, `epoch`; others are ignored. A run that diverged
            has `nan` or `inf`.
        metric: Name of the column of values.
        epoch: The epoch at which runs are compared; by default the last of each, with a warning
            where these differ.
        arms: The arms that matter: runs of others that have no value are left out. All by default.

    Raises:
        DataError: If the file cannot be read, a column is missing, a value is no number, a row
            stands twice for one arm, seed and epoch, or a recorded run did not end or has no
            value; the message names the line or the run.
    """
    place = shown(Path(path))
    try:
        text = without_torn_row(Path(path).read_text(encoding="utf-8-sig"))
        runs = _collect(text, place, metric)
    except OSError as error:
        raise DataError(f"cannot read '{place}': {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read '{place}' as CSV: {error}") from error
    if not runs:
        raise DataError(f"'{place}' holds no runs: a line per run must follow the header")
    found: dict[str, dict[str, float]] = {}
    ends: dict[int, str] = {}
    for (arm, seed), run in runs.items():
        name = f"arm '{arm}', seed {seed}"
        matters = not arms or arm in arms
        try:
            value = _value_of(run, epoch, metric, f"'{place}': the run of {name}")
        except DataError:
            if matters:
                raise
            continue
        found.setdefault(arm, {})[seed] = value
        if matters and math.isfinite(value):
            ends.setdefault(max(run.values), name)
    if epoch is None and len(ends) > 1:
        first, last = min(ends), max(ends)
        warnings.warn(
            f"runs of '{place}' end at different epochs, from {first} ({ends[first]}) to {last} "
            f"({ends[last]}); each one's last is taken; --epoch takes the same of all",
            HeatgradWarning,
            stacklevel=2,
        )
    return found


def _collect(text: str, place: str, metric: str) -> dict[tuple[str, str], _Run]:
    """Return the runs of a table, in its order."""
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    header = [name for name in reader.fieldnames or () if name]
    seed_column = next((name for name in _SEEDS if name in header), _SEEDS[0])
    for column in ("arm", seed_column, metric):
        if column not in header:
            hint = " (or 'block')" if column == seed_column else ""
            raise DataError(f"'{place}' has no column '{column}'{hint}; {nearest(column, header)}")
    has_epochs, was_recorded = "epoch" in header, is_record(header)
    runs: dict[tuple[str, str], _Run] = {}
    for row in reader:
        arm, seed = (row["arm"] or "").strip(), (row[seed_column] or "").strip()
        where = f"'{place}', line {reader.line_num}"
        if any(cell.strip() for cell in row.get(None) or ()):
            raise DataError(
                f"{where} must have as many cells as the header, {len(header)}, got "
                f"{len(header) + len(row[None])}; a decimal comma splits a number"
            )
        if not arm or not seed:
            raise DataError(
                f"{where}: arm and {seed_column} must be given, got {arm!r} and {seed!r}"
            )
        is_new = (arm, seed) not in runs
        run = runs.setdefault((arm, seed), _Run())
        status = (row.get(STATUS) or "").strip()
        run.is_broken |= status in _BROKEN
        run.has_ended = bool(status) or not was_recorded
        number = row[metric]
        if has_epochs and not (number or "").strip():
            continue  # not measured in this epoch
        epoch = _whole(row["epoch"], where) if has_epochs else 0
        if epoch in run.values or not (is_new or has_epochs):
            parts = [name for name in ("task", "regime") if name in header]
            of_each = f", of one {' and '.join(parts)}" if parts else ""
            remedy = (
                f" at epoch {epoch}; keep one line per run and epoch{of_each}"
                if has_epochs
                else "; keep one line per run, or number its lines in a column 'epoch'"
            )
            raise DataError(
                f"{where}: {seed_column} {seed} of arm '{arm}' stands there twice{remedy}"
            )
        run.values[epoch] = _number(number, where, metric)
    return runs


def _value_of(run: _Run, epoch: int | None, metric: str, name: str) -> float:
    """Return a run's value at an epoch, or after its last one; not finite if it diverged."""
    if epoch is None and not run.has_ended:
        at = f" (its last epoch is {max(run.values)})" if run.values else ""
        raise DataError(
            f"{name} did not end{at}: it runs still, or was stopped, or not closed; record it "
            f"again, which replaces its rows"
        )
    seen = {k: v for k, v in run.values.items() if epoch is None or k <= epoch}
    for value in seen.values():
        if not math.isfinite(value):
            return value
    if epoch in seen:
        return seen[epoch]
    if run.is_broken:
        return math.nan
    if epoch is None and seen:
        return seen[max(seen)]
    at = "" if epoch is None else f" at epoch {epoch}"
    known = (
        f"it has some at {listed(_few(run.values))}"
        if run.values
        else "nan is for a run that diverged"
    )
    raise DataError(f"{name} has no value of '{metric}'{at}; {known}")


def _few(epochs: Collection[int]) -> list[str]:
    names = [str(epoch) for epoch in sorted(epochs)]
    return names if len(names) <= 4 else [*names[:2], "...", names[-1]]


def _whole(text: str | None, where: str) -> int:
    try:
        number = float(text or "")
        if number == int(number):
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"{where}: epoch must be a whole number, got {text or ''!r}")


def _number(text: str | None, where: str, metric: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise DataError(
            f"{where}: {metric} must be a number, got {text or ''!r}; write nan for a run that "
            f"diverged"
        ) from None
