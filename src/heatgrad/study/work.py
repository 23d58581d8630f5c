"""The work of one worker, wherever it is: run a job, store each trial, say what failed."""

import contextlib
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from heatgrad.core.errors import HeatgradError, RunError, StoreError
from heatgrad.study.jobs import Job, run_job
from heatgrad.study.store import Store
from heatgrad.study.trial import Trial

__all__ = ["Progress", "explained_failure", "run_and_store"]

# Called with the epochs done so far, and with the trial that has just been stored, or None.
Progress = Callable[[int, Trial | None], None]

_RESUMES = "finished trials are stored, the same command resumes"


class PartFailedError(Exception):
    """A part of the user's own failed; its arguments pass between processes.

    Attributes:
        args: What was being run, the error in one line, the key of the trial, the traceback.
    """


def run_and_store(
    job: Job,
    store: Store,
    *,
    environment: dict[str, Any],
    on_epoch: Callable[[int], None],
) -> Iterator[Trial]:
    """Run a job, and yield each trial as it is stored.

    Args:
        job: Of `jobs_of`.
        store: Open for writing.
        environment: Stored with every record.
        on_epoch: Called with the place in the job of each trial that has done an epoch.

    Raises:
        RunError: If a trial cannot be stored.
        PartFailedError: If anything else than heatgrad refuses to go on.
    """
    began = time.perf_counter()
    trial = job[0]
    try:
        for trial, result in run_job(job, on_epoch=on_epoch, unfinished=store.unfinished_path):
            # What is trained at once shares the time.
            seconds = (time.perf_counter() - began) / len(job)
            store.add(trial, result, environment=environment, seconds=seconds)
            if left := store.unfinished_path(trial.key):
                shutil.rmtree(left, ignore_errors=True)
                with contextlib.suppress(OSError):  # not empty, or not there
                    left.parent.rmdir()
            yield trial
    except StoreError as error:
        raise RunError(f"{error}; {_RESUMES}") from error
    except HeatgradError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PartFailedError(_named(job), reason, trial.key, traceback.format_exc()) from None


@contextlib.contextmanager
def explained_failure(folder: Path) -> Iterator[None]:
    """Turn the failure of a user's part into one line, and keep the traceback for them.

    Args:
        folder: Where the traceback is written.

    Raises:
        RunError: In place of a `PartFailedError`.
    """
    try:
        yield
    except PartFailedError as error:
        what, reason, key, trace = error.args
        log = folder / f"failed-{key[:12]}.txt"
        where = f"the traceback is in '{log}'"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            log.write_text(trace, encoding="utf-8")
        except OSError as refusal:
            where = f"the traceback cannot be written to '{log}' ({refusal.strerror})"
        raise RunError(f"{what} failed: {reason}; {where}; {_RESUMES}") from None


def _named(job: Job) -> str:
    first = job[0]
    if len(job) == 1:
        return f"{first.arm_name} on {first.task_name}, block {first.block},"
    return f"{len(job)} trials on {first.task_name}, from block {first.block} on,"
