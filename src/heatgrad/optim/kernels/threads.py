"""Blocks of work on a few threads, each in compiled code that holds no lock."""

import ctypes
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch

__all__ = ["for_each_run"]

_WORTH_A_THREAD = 1 << 16
_RUNS = 4  # that each thread may take: few calls, yet an even end where threads are not alike
_HOME = os.getpid()


def for_each_run(work: Callable[[int, int], None], num_blocks: int, size: int) -> None:
    """Call `work(first, last)` on runs of blocks that cover them all, on torch's threads.

    Which thread takes which run is left open, so the result of a block must not depend on it.
    This thread works too. Any number of threads may call this at once.

    Args:
        work: Compiled code that holds no lock.
        num_blocks: Number of blocks.
        size: Number of elements in all; little work stays in this thread.
    """
    num_threads = max(1, min(torch.get_num_threads(), num_blocks, size // _WORTH_A_THREAD))
    if num_threads == 1:
        work(0, num_blocks)
        return
    run = max(1, num_blocks // (_RUNS * num_threads))
    starts = itertools.count(0, run)

    def take_runs() -> None:
        # next() on a count is one step of the interpreter: no two threads get the same.
        while (first := next(starts)) < num_blocks:
            work(first, min(first + run, num_blocks))

    # The threads of OpenMP do not outlive a fork, and asking for them in a child waits for ever.
    if _openmp() is not None and os.getpid() == _HOME:
        _on_openmp(take_runs, num_threads)
    else:
        _on_pool(take_runs, num_threads)


def _on_openmp(task: Callable[[], None], num_threads: int) -> None:
    """Call the task on each of the threads that torch's own operations use from this thread.

    Between two operations those threads stay awake for a while, and would be in the way of others.
    """
    raised: list[BaseException] = []

    def guarded(_: int | None) -> None:
        try:
            task()
        except BaseException as error:  # nothing may leave a callback; it is raised below
            raised.append(error)

    callback = _CALLBACK(guarded)  # lives until all threads are back
    _openmp()(callback, None, num_threads, 0)
    if raised:
        raise raised[0]


def _on_pool(task: Callable[[], None], num_threads: int) -> None:
    others = [_pool(os.getpid()).submit(task) for _ in range(num_threads - 1)]
    task()
    for other in others:
        other.result()


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


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


@cache
def _pool(pid: int) -> ThreadPoolExecutor:
    """Return this process's pool; a forked child has a pid, and so a pool, of its own."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="heatgrad")
