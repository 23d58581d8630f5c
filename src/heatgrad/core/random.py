"""Random streams named by ``(seed, purpose)``: changing the method moves nothing else."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import torch

__all__ = ["own_random_state", "stream_generator", "stream_seed"]


def stream_seed(seed: int, purpose: str, *index: int) -> int:
    """Return the seed of one named stream.

    Streams of different purpose or index are independent, and none depends on how much was
    drawn from another: `(seed, "order")` is the same whatever happens to `(seed, "init")`.

    Args:
        seed: Seed of the block of matched runs, at least 0.
        purpose: What the numbers are for: `"data"`, `"init"`, `"order"`, `"dropout"`, ...
        index: Further non-negative integers, e.g. the epoch.

    Returns:
        An unsigned 32-bit integer (PyTorch's CPU generator keeps 32 bits of a seed).

    Raises:
        ValueError: If `seed` is negative.

    Example:
        >>> stream_seed(0, "init") == stream_seed(0, "init")
        True
        >>> stream_seed(0, "init") == stream_seed(0, "order")
        False
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "little")
    sequence = np.random.SeedSequence(seed, spawn_key=(word, *index))
    return int(sequence.generate_state(1, np.uint32)[0])


def stream_generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """Return a CPU generator at the start of the stream `(seed, purpose, *index)`."""
    return torch.Generator().manual_seed(stream_seed(seed, purpose, *index))


@contextlib.contextmanager
def own_random_state(device: torch.device) -> Iterator[Callable[[int], None]]:
    """Give a function that seeds the default generators; their states come back at the end.

    Args:
        device: Whose generator is seeded beside that of the CPU.
    """
    is_cuda = device.type == "cuda"

    def seed_with(seed: int) -> None:
        torch.default_generator.manual_seed(seed)
        if is_cuda:
            torch.cuda.manual_seed(seed)

    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        yield seed_with
