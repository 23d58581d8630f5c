"""Blocks of work on a few threads, each in compiled code that holds no lock."""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

__all__ = ["for_each_run"]

_WORTH_A_THREAD = 1 << 16
_RUNS = 4  # that each thread may take: few calls, yet an even end where threads are not alike


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

    others = [_pool(os.getpid()).submit(take_runs) for _ in range(num_threads - 1)]
    take_runs()
    for other in others:
        other.result()


@cache
def _pool(pid: int) -> ThreadPoolExecutor:
    """Return this process's pool; a forked child has a pid, and so a pool, of its own."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="heatgrad")
