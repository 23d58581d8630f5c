"""One function of many things, each thread with its own."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["in_threads"]

T = TypeVar("T")
R = TypeVar("R")


def in_threads(make: Callable[[], Callable[[T], R]], things: Sequence[T]) -> list[R]:
    """Return what a function says of each thing, in their order.

    As many threads as PyTorch uses for one operation work on as many things at a time, each
    operation on one: small operations gain nothing from several threads.

    Args:
        make: Makes the function, for one thread.
        things: What it is asked of.
    """
    before = torch.get_num_threads()
    count = max(1, min(before, len(things)))
    if count == 1:
        return list(map(make(), things))
    found: dict[int, R] = {}
    is_over = threading.Event()
    left = iter(enumerate(things))  # next() of it is atomic
    functions = [make() for _ in range(count)]

    def work(function: Callable[[T], R]) -> None:
        torch.set_num_threads(1)
        try:
            for place, thing in left:
                if is_over.is_set():
                    return
                found[place] = function(thing)
        except BaseException:
            is_over.set()
            raise

    try:
        with ThreadPoolExecutor(count) as pool:
            try:
                for done in [pool.submit(work, function) for function in functions]:
                    done.result()
            except BaseException:  # Ctrl-C ends the threads after the thing that they are at
                is_over.set()
                raise
    finally:
        torch.set_num_threads(before)
    return [found[place] for place in range(len(things))]
