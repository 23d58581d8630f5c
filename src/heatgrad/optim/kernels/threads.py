"""Blocks of work on a few threads, each in compiled code that holds no lock."""

import ctypes
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, partial
from typing import Any

import numpy as np
import torch

__all__ = ["for_each_run"]

_WORTH_A_THREAD = 1 << 16
_RUNS = 4  # that each thread may take: few calls, yet an even end where threads are not alike
_HOME = os.getpid()


def for_each_run(
    work: Callable[..., None], arguments: tuple[Any, ...], num_blocks: int, size: int
) -> None:
    """Call `work` on torch's threads until all blocks are done.

    Which thread takes which run of blocks is left open, so the result of a block must not depend
    on it. This thread works too. Any number of threads may call this at once.

    Args:
        work: Compiled code that holds no lock, called on each thread as `work(*arguments,
            num_blocks, run, turns, _)`: it takes runs of `run` blocks while `addresses.take_turn(
            turns)` gives one.
        arguments: Its first ones.
        num_blocks: Number of blocks.
        size: Number of elements in all; little work stays in this thread.
    """
    num_threads = max(1, min(torch.get_num_threads(), num_blocks, size // _WORTH_A_THREAD))
    run = num_blocks if num_threads == 1 else max(1, num_blocks // (_RUNS * num_threads))
    turns = np.zeros(2, np.int64)  # lives until all threads are back
    task = partial(work, *arguments, num_blocks, run, turns.ctypes.data)
    if num_threads == 1:
        task(0)
    elif _openmp() is None or _is_forked():
        _on_pool(task, num_threads)
    else:
        work(*arguments, 0, 1, turns[1:].ctypes.data, 0)  # no blocks: it is compiled here, if ever
        _on_openmp(task, num_threads)


def _on_openmp(task: Callable[[int], None], num_threads: int) -> None:
    """Call the task on each of the threads that torch's own operations use from this thread.

    Between two operations those threads stay awake for a while, and would be in the way of others.
    The callback is compiled code, called without a line of Python: what a signal's handler raises
    in a callback is lost.
    """
    callback = _CALLBACK(task)  # lives until all threads are back
    _openmp()(callback, None, num_threads, 0)


def _on_pool(task: Callable[[int], None], num_threads: int) -> None:
    others = [_pool(os.getpid()).submit(task, 0) for _ in range(num_threads - 1)]
    try:
        task(0)
    finally:
        wait(others)
    for other in others:
        other.result()


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int64)


@cache
def _openmp() -> Any:
    """Return the entry of the OpenMP library that torch is linked with; None if it has none."""
    try:
        entry = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (OSError, AttributeError):
        return None
    entry.argtypes = [_CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    entry.restype = None
    return entry


def _is_forked() -> bool:
    """Whether this process is a fork: OpenMP's threads are not there, and asking for them hangs."""
    return os.getpid() != _HOME or _is_forked_worker()


@cache
def _is_forked_worker() -> bool:
    if multiprocessing.parent_process() is None:
        return False
    process = multiprocessing.current_process()
    method = getattr(process, "_start_method", None) or multiprocessing.get_start_method()
    return bool(method == "fork")


@cache
def _pool(pid: int) -> ThreadPoolExecutor:
    """Return this process's pool; a forked child has a pid, and so a pool, of its own."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="heatgrad")
