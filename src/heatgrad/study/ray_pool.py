"""The same jobs on a Ray cluster: one task a job, which stores its own results."""

import contextlib
import importlib.util
import itertools
import logging
import os
import secrets
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from heatgrad.core.environment import describe_environment
from heatgrad.core.errors import HeatgradError, HeatgradWarning, RunError, SpecError
from heatgrad.study.jobs import Job, jobs_of
from heatgrad.study.store import Store, is_url
from heatgrad.study.trial import Trial
from heatgrad.study.work import PartFailedError, Progress, explained_failure, run_and_store

__all__ = ["Run", "check_address", "own_paths", "prepare_node", "run_on_ray"]

_RETRIES = 4  # of a task whose worker or node was lost
_PAUSE = 0.5  # between two messages of a task about its progress [s]
_SAME = ("heatgrad", "python", "torch", "numpy")


@dataclass(frozen=True)
class Run:
    """What all tasks of a run are told.

    Attributes:
        place: Folder, absolute, or URL of the store.
        mark: Name of a file in the folder: who sees it sees this very folder.
        environment: Of the driver.
        paths: Where the driver imports from, to find parts of the user's own.
        data: `$HEATGRAD_DATA` of the driver.
        device: Where trials are trained: `"cuda"` takes a GPU a task.
    """

    place: str
    mark: str | None
    environment: dict[str, Any]
    paths: tuple[str, ...]
    data: str | None
    device: str = "cpu"


class _Counter:
    """The number of epochs done, by place of a trial: an actor, which tasks tell."""

    def __init__(self) -> None:
        self._epochs: dict[int, int] = {}

    def set(self, epochs: dict[int, int]) -> None:
        """Take what a task has done; of a task that began anew, what it has done since."""
        self._epochs |= epochs

    def total(self) -> int:
        """Return the sum over all trials."""
        return sum(self._epochs.values())


def run_on_ray(
    trials: Sequence[Trial],
    *,
    address: str,
    place: str | Path,
    folder: Path,
    workers: int | None,
    on_progress: Progress,
    device: str = "cpu",
    poll_seconds: float = 0.5,
) -> None:
    """Run trials as tasks on a Ray cluster, of one core or of one GPU; each stores its own results.

    A task whose worker or node is lost runs again elsewhere, without the trials that it had
    stored. Whatever ends the run, what is stored stays.

    Args:
        trials: What is to be done; order is kept when work is handed out.
        address: Of the cluster, or `"auto"` for the one at hand.
        place: URL of the store, or a folder that all nodes share; already made.
        folder: Where the traceback of a part that fails is written.
        workers: Number of tasks at once; None for one a core, or a GPU, of the cluster.
        on_progress: Called with the number of epochs done so far, over all trials, and with
            each trial once it is stored, or None.
        device: Where trials are trained, `"cpu"` or `"cuda"`.
        poll_seconds: How often progress is looked at [s].

    Raises:
        SpecError: If there is no cluster, or no GPU in it that is needed.
        RunError: If a task was lost too often, a part fails, or a node cannot take part: other
            versions than the driver's, or a folder that it does not see.
        HeatgradError: If a trial's spec or data cannot be used.
    """
    with _cluster(address) as ray, explained_failure(folder), _marked(place) as mark:
        _check_gpus(ray, device)
        run = Run(
            place=str(place) if is_url(place) else str(Path(place).resolve()),
            mark=mark,
            environment=describe_environment(),
            paths=own_paths(),
            data=os.environ.get("HEATGRAD_DATA"),
            device=device,
        )
        jobs = jobs_of(trials, workers or _num_places(ray, device))
        _drive(ray, jobs, run, workers, on_progress, poll_seconds)


class _Count:
    """The driver's view of the counter; it is asked, and never waited for."""

    def __init__(self, ray: Any) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # Beside the driver: no other node can take it along.
        node = ray.get_runtime_context().get_node_id()
        beside = NodeAffinitySchedulingStrategy(node, soft=True)
        options = {"num_cpus": 0, "scheduling_strategy": beside}
        self._ray, self._total = ray, 0
        self.counter = ray.remote(_Counter).options(**options).remote()
        self._asked = self.counter.total.remote()

    def total(self) -> int:
        """Return the newest answer that has come."""
        # A number on a screen is nothing to stop for.
        with contextlib.suppress(self._ray.exceptions.RayError):
            if self._ray.wait([self._asked], timeout=0)[0]:
                answer, self._asked = self._asked, self.counter.total.remote()
                self._total = int(self._ray.get(answer))
        return self._total


def _drive(
    ray: Any,
    jobs: Sequence[Job],
    run: Run,
    workers: int | None,
    on_progress: Progress,
    poll_seconds: float,
) -> None:
    count = _Count(ray)
    needed = {"num_cpus": 1, "num_gpus": int(run.device == "cuda")}
    task = ray.remote(_work).options(**needed, max_retries=_RETRIES, name="heatgrad")
    starts = itertools.accumulate((len(job) for job in jobs), initial=0)
    waiting = zip(starts, jobs, strict=False)
    running: dict[Any, Job] = {}
    try:
        while True:
            # A few more than cores: enough to keep them busy, and to make a cluster grow.
            room = (workers or 2 * _num_places(ray, run.device)) - len(running)
            for start, job in itertools.islice(waiting, max(0, room)):
                running[task.remote(start, job, run, count.counter)] = job
            if not running:
                break
            finished, _ = ray.wait(list(running), timeout=poll_seconds)
            total = count.total()
            for ref in finished:
                job = running.pop(ref)
                _check(ray, ref)
                for trial in job:
                    on_progress(total, trial)
            on_progress(total, None)
    finally:
        for ref in running:
            ray.cancel(ref, force=True)
        if running:  # so that nothing is stored once this has returned
            ray.wait(list(running), num_returns=len(running), timeout=10.0)
        ray.kill(count.counter)


def _check(ray: Any, ref: Any) -> None:
    """Raise what a task has met, in one line."""
    try:
        met = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise RunError(
            f"a task could not start ({reason}); all nodes need the same installation of heatgrad "
            f"as this one; finished trials are stored, the same command resumes"
        ) from error
    except ray.exceptions.RayError as error:
        raise RunError(
            f"a task was lost {_RETRIES + 1} times with its worker or node "
            f"({type(error).__name__}: killed, or out of memory?); finished trials are stored, "
            f"the same command resumes"
        ) from error
    if met is not None:
        raise met


def _work(start: int, job: Job, run: Run, counter: Any) -> Exception | None:
    """Run and store a job, on a node; return what a person has to know of."""
    try:
        prepare_node(run)
        epochs = dict.fromkeys(range(start, start + len(job)), 0)
        store = Store.attach(run.place, is_shared=True)
        try:
            _store_rest(start, job, store, epochs, counter, run.device)
        finally:
            store.close()
    except (HeatgradError, PartFailedError) as error:
        return error
    return None


def _store_rest(
    start: int, job: Job, store: Store, epochs: dict[int, int], counter: Any, device: str
) -> None:
    stored = store.keys()  # by this very job, if a node was lost under it
    places = {trial.key: place for place, trial in enumerate(job, start)}
    rest = tuple(trial for trial in job if trial.key not in stored)
    epochs |= {places[trial.key]: trial.epochs for trial in job if trial.key in stored}
    told = 0.0

    def tell() -> None:
        nonlocal told
        if time.monotonic() > told + _PAUSE:
            told = time.monotonic()
            counter.set.remote(epochs)

    def count(place: int) -> None:
        epochs[places[rest[place].key]] += 1
        tell()

    environment = describe_environment(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HeatgradWarning)  # said once, before the run
        for trial in run_and_store(rest, store, environment=environment, on_epoch=count):
            # A diverged trial stops early; its place is filled all the same.
            epochs[places[trial.key]] = trial.epochs
            tell()
    counter.set.remote(epochs)


def prepare_node(run: Run) -> None:
    """Make this process one that works for a run, or say why it cannot.

    Raises:
        RunError: If versions differ from the driver's, the folder is another one or none, or
            there is no GPU that is needed.
    """
    host, here = socket.gethostname(), describe_environment()
    for name in _SAME:
        if here[name] != run.environment[name]:
            raise RunError(
                f"node '{host}' has {name} {here[name]}, the driver has {run.environment[name]}; "
                f"results would not be comparable: install the same on all nodes"
            )
    if run.device == "cuda" and not torch.cuda.is_available():
        raise RunError(
            f"node '{host}' has no GPU that its PyTorch {torch.__version__} sees, and the study "
            f"has device = 'cuda'; install a PyTorch for GPUs there, or use device = 'cpu'"
        )
    if run.mark is not None and not Path(run.place, run.mark).exists():
        raise RunError(
            f"node '{host}' does not see the folder '{run.place}'; give --out on a file system "
            f"that all nodes share, or a database with --store postgresql+psycopg://HOST/NAME"
        )
    sys.path += [path for path in run.paths if path not in sys.path]
    if run.data is not None:
        os.environ.setdefault("HEATGRAD_DATA", run.data)
    torch.set_num_threads(1)


def own_paths() -> tuple[str, ...]:
    """Return where this process imports from, but for what is installed."""
    installed = tuple(Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix))
    paths = [Path(path).resolve() for path in sys.path]
    return tuple(
        str(path)
        for path in paths
        if path.is_dir() and not any(path.is_relative_to(prefix) for prefix in installed)
    )


def check_address(address: str) -> None:
    """Refuse an address at which there is no cluster. Ray itself would try for minutes.

    Raises:
        SpecError: If Ray is not installed, or nothing answers at the address.
    """
    host, _, port = address.rpartition(":")
    is_form = host and "/" not in host and port.isdecimal() and int(port) < 1 << 16
    if address != "auto" and not is_form:
        raise SpecError(
            f"ray must be 'auto' or the HOST:6379 of a cluster's head, got '{address}'; from "
            f"outside a cluster use 'ray job submit'"
        )
    if importlib.util.find_spec("ray") is None:
        raise SpecError("ray is not installed; pip install 'heatgrad[ray]'")
    if address == "auto":
        return  # found, or not, by Ray
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10.0).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Give the module `ray`, connected; a connection of the caller's own is used and left."""
    import ray

    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _no_cluster(address: str, error: Exception) -> SpecError:
    reason = " ".join(str(error).split())[:200]
    return SpecError(
        f"no Ray cluster at '{address}' ({reason}); start one with 'ray start --head', or give "
        f"the HOST:6379 of its head"
    )


@contextlib.contextmanager
def _marked(place: str | Path) -> Iterator[str | None]:
    """Put a file into a folder, by which the nodes tell it from others of its name."""
    if is_url(place):
        yield None
        return
    mark = Path(place) / f".reached-{secrets.token_hex(8)}"
    mark.touch()
    try:
        yield mark.name
    finally:
        mark.unlink(missing_ok=True)


def _num_places(ray: Any, device: str) -> int:
    """Return the number of tasks that the cluster has room for, at least 1: nodes come and go."""
    kind = "CPU" if device == "cpu" else "GPU"
    return max(1, int(ray.cluster_resources().get(kind, 0)))


def _check_gpus(ray: Any, device: str) -> None:
    if device != "cpu" and not ray.cluster_resources().get("GPU", 0):
        raise SpecError(
            "the cluster has no GPU, and the study has device = 'cuda'; start its nodes with 'ray "
            "start --num-gpus', or use device = 'cpu'"
        )
