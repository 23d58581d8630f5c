"""A copy of a study that is small enough to be kept beside its words."""

from dataclasses import replace
from pathlib import Path

from heatgrad.core.errors import StoreError
from heatgrad.study.store import Record, Store

__all__ = ["thin"]


def thin(place: str | Path, out: str | Path) -> int:
    """Copy the last epochs of each trial, without weights; return the number of trials.

    Verdicts are the same, since they are made of final values: one epoch is kept, or as many as
    the study's metric is averaged over. Training times become those of the epochs that are kept;
    `Record.seconds` stays.

    Args:
        place: Folder or URL of the study.
        out: Folder of the copy.

    Raises:
        StoreError: If there is no study, or `out` is not a new or empty folder.
    """
    if Store.is_in(out):
        raise StoreError(f"'{out}' holds a study already; give a new folder with --out")
    source = Store.open(place)
    try:
        records, measured = source.records(), list(source.geometry().values())
        target = Store.create(out, source.study)
    finally:
        source.close()
    try:
        target.keep([_last(record, source.study.metric_epochs) for record in records])
        target.add_geometry(measured)
    finally:
        target.close()
    return len(records)


def _last(record: Record, epochs: int) -> Record:
    return replace(record, curves={name: curve[-epochs:] for name, curve in record.curves.items()})
