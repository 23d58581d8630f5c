"""A pool of worker processes that run trials and measure their ends, and store both."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_handles
from pathlib import Path
from typing import Any, TypeVar

import torch

from heatgrad.core.errors import HeatgradWarning, RunError
from heatgrad.study.geometry import Measurement, measure_and_store
from heatgrad.study.jobs import Job, jobs_of
from heatgrad.study.store import Store
from heatgrad.study.trial import Trial
from heatgrad.study.work import Progress, explained_failure, run_and_store

__all__ = ["Progress", "measure_all", "run_trials"]

Item = TypeVar("Item", bound=tuple[Any, ...])
Answer = TypeVar("Answer")

_epochs_done: Any = None
_store: Store | None = None
_environment: dict[str, Any] = {}


def run_trials(
    trials: Sequence[Trial],
    *,
    place: str | Path,
    folder: Path,
    environment: dict[str, Any],
    workers: int,
    on_progress: Progress,
    poll_seconds: float = 0.5,
) -> None:
    """Run trials on `workers` processes of one thread; each stores its own result.

    Args:
        trials: What is to be done; order is kept when work is handed out.
        place: Folder or URL of the store, already made.
        folder: Where the traceback of a part that fails is written.
        environment: Stored with every record.
        workers: Number of processes; 0 runs in this one.
        on_progress: Called with the number of epochs done so far, over all trials, and with
            the trial that has just been stored, or None.
        poll_seconds: How often progress is looked at [s].

    Raises:
        RunError: If a worker was killed from outside.
        HeatgradError: If a trial's spec or data cannot be used.
    """
    with explained_failure(folder):
        if workers == 0:
            _run_here(trials, place, environment, on_progress)
        else:
            _run_there(trials, place, environment, workers, on_progress, poll_seconds)


def measure_all(
    todo: Sequence[Measurement],
    *,
    place: str | Path,
    folder: Path,
    workers: int,
    on_measured: Callable[[], None],
) -> list[str]:
    """Make measurements on `workers` processes of one thread; each stores what it finds.

    One that cannot be made leaves the others to be made.

    Args:
        todo: What is to be measured.
        place: Folder or URL of the store, with the weights of the trials.
        folder: Where the traceback of a part that fails is written.
        workers: Number of processes; 0 measures in this one.
        on_measured: Called after each measurement.

    Returns:
        Of each that could not be made the reason.

    Raises:
        RunError: If a worker was killed from outside.
        StoreError: If the store cannot be used, or has not the weights.
    """
    failures: list[str | None] = []
    with explained_failure(folder):
        if workers == 0:
            store, threads = Store.attach(place), torch.get_num_threads()
            torch.set_num_threads(1)  # as in the workers: the same bits
            try:
                for measurement in todo:
                    failures.append(measure_and_store(measurement, store))
                    on_measured()
            finally:
                torch.set_num_threads(threads)
                store.close()
        else:
            with _workers(workers, (None, place, {})) as executor:
                items = [(measurement,) for measurement in todo]
                for done in _finished(executor, _measured, items, 2 * workers, poll_seconds=0.5):
                    if done is not None:
                        failures.append(done[1])
                        on_measured()
    return [reason for reason in failures if reason is not None]


def _run_there(
    trials: Sequence[Trial],
    place: str | Path,
    environment: dict[str, Any],
    workers: int,
    on_progress: Progress,
    poll_seconds: float,
) -> None:
    epochs_done = multiprocessing.get_context("spawn").RawArray("i", len(trials))
    with _workers(workers, (epochs_done, place, environment)) as executor:
        items = _placed(jobs_of(trials, workers))
        for done in _finished(executor, _work, items, 2 * workers, poll_seconds):
            for trial in done[0][1] if done is not None else ():
                on_progress(sum(epochs_done), trial)
            on_progress(sum(epochs_done), None)


@contextlib.contextmanager
def _workers(count: int, start: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    """Start processes with `_start_worker`, and end them."""
    executor = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=start,
    )
    is_done = False
    try:
        yield executor
        is_done = True
    except BrokenProcessPool as error:
        raise RunError(
            "a worker process ended unexpectedly (killed, or out of memory; in a script of your "
            "own, call run_study under 'if __name__ == \"__main__\":'); finished trials are "
            "stored, the same command resumes"
        ) from error
    finally:
        _stop(executor, is_done)


def _finished(
    executor: ProcessPoolExecutor,
    function: Callable[..., Answer],
    items: Sequence[Item],
    ahead: int,
    poll_seconds: float,
) -> Iterator[tuple[Item, Answer] | None]:
    """Yield each item with a worker's answer, and None whenever nothing has ended.

    A few more than workers are handed out: enough to keep them busy, few enough to stop quickly.
    """
    waiting = iter(items)

    def submit(count: int) -> dict[Future[Answer], Item]:
        taken = list(itertools.islice(waiting, count))
        return {executor.submit(function, *item): item for item in taken}

    running = submit(ahead)
    while running:
        done, _ = wait(running, timeout=poll_seconds, return_when=FIRST_COMPLETED)
        for future in done:
            item = running.pop(future)
            answer = future.result()
            running |= submit(1)
            yield item, answer
        yield None


def _placed(jobs: Sequence[Job]) -> list[tuple[int, Job]]:
    """Return each job with the place of its first trial in the count of epochs."""
    starts = itertools.accumulate((len(job) for job in jobs), initial=0)
    return list(zip(starts, jobs, strict=False))


def _stop(executor: ProcessPoolExecutor, is_done: bool) -> None:
    """End the workers: idle ones in peace, busy ones now, so that they store nothing more."""
    if is_done:
        executor.shutdown()
        return
    processes = list((executor._processes or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def _run_here(
    trials: Sequence[Trial],
    place: str | Path,
    environment: dict[str, Any],
    on_progress: Progress,
) -> None:
    global _epochs_done, _store, _environment
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _epochs_done, _store, _environment = [0] * len(trials), Store.attach(place), environment
    try:
        for start, job in _placed(jobs_of(trials, 1)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", HeatgradWarning)
                for trial in _stored(start, job):
                    on_progress(sum(_epochs_done), trial)
    finally:
        torch.set_num_threads(threads)
        _store.close()


def _start_worker(epochs_done: Any, place: str | Path, environment: dict[str, Any]) -> None:
    global _epochs_done, _store, _environment
    # Ctrl-C reaches the whole group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", HeatgradWarning)  # said once, before the run
    _epochs_done, _store, _environment = epochs_done, Store.attach(place), environment


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_handles([parent.sentinel])
        os._exit(1)


def _measured(measurement: Measurement) -> str | None:
    assert _store is not None
    return measure_and_store(measurement, _store)


def _work(start: int, job: Job) -> None:
    for _ in _stored(start, job):
        pass


def _stored(start: int, job: Job) -> Iterator[Trial]:
    """Run and store a job, and fill the places of its trials in the count of epochs."""
    assert _store is not None

    def count(place: int) -> None:
        _epochs_done[start + place] += 1

    work = run_and_store(job, _store, environment=_environment, on_epoch=count)
    for place, trial in enumerate(work, start):
        # A diverged trial stops early; its place in the progress bar is filled all the same.
        _epochs_done[place] = trial.epochs
        yield trial
