"""One function of many things, each thread with its own."""

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
    count = max(1, min(torch.get_num_threads(), len(things)))
    if count == 1:
        return list(map(make(), things))
    found: dict[int, R] = {}
    left = iter(enumerate(things))  # next() of it is atomic
    functions = [make() for _ in range(count)]

    def work(function: Callable[[T], R]) -> None:
        torch.set_num_threads(1)
        for place, thing in left:
            found[place] = function(thing)

    try:
        with ThreadPoolExecutor(count) as pool:
            for done in [pool.submit(work, function) for function in functions]:
                done.result()
    finally:
        torch.set_num_threads(count)
    return [found[place] for place in range(len(things))]
