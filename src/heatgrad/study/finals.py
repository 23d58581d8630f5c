"""The final value of a run, by which it is judged."""

from statistics import fmean

from heatgrad.study.metric import METRICS
from heatgrad.study.store import Record

__all__ = ["final_value", "is_whole"]


def final_value(record: Record, metric: str, epochs: int = 1) -> float:
    """Return a metric's mean over the last epochs, or its worst value if the run diverged.

    A finite value that is worse still is ranked with the diverged ones.

    Args:
        record: Of the run.
        metric: A key of `METRICS`.
        epochs: Number of last epochs.
    """
    scale = METRICS[metric]
    values = [value for value in record.curves[metric][-epochs:] if value is not None]
    if record.status == "diverged" or len(values) < epochs:
        return scale.worst
    return scale.sign * max(scale.sign * fmean(values), scale.sign * scale.worst)


def is_whole(record: Record) -> bool:
    """Whether a run's curves are all there: a thin copy has the last ones only."""
    longest = max(map(len, record.curves.values()), default=0)
    return record.status != "finished" or longest >= record.spec["epochs"]
