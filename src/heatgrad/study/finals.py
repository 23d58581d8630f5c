"""The final value of a run, by which it is judged."""

from heatgrad.study.metric import METRICS
from heatgrad.study.store import Record

__all__ = ["final_value", "is_whole"]


def final_value(record: Record, metric: str) -> float:
    """Return a metric after the last epoch, or its worst value if the run diverged.

    A finite value that is worse still is ranked with the diverged ones.
    """
    value, scale = record.curves[metric][-1], METRICS[metric]
    if record.status == "diverged" or value is None:
        return scale.worst
    return scale.sign * max(scale.sign * value, scale.sign * scale.worst)


def is_whole(record: Record) -> bool:
    """Whether a run's curves are all there: a thin copy has the last epoch only."""
    longest = max(map(len, record.curves.values()), default=0)
    return record.status != "finished" or longest >= record.spec["epochs"]
