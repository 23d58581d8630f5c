"""Solutions drawn from a law to train a prior on, kept chunk by chunk."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.core.steps import Progress, Steps, Values
from heatgrad.solving.prior_spec import PriorSpec
from heatgrad.solving.problems import Problem

__all__ = ["cache_folder", "drawn_pairs"]

_CHUNK = 200  # solutions that are drawn and kept at once


def cache_folder() -> Path:
    """Return where priors and their data are kept: `$HEATGRAD_CACHE` or `~/.cache/heatgrad`."""
    return Path(os.environ.get("HEATGRAD_CACHE") or "~/.cache/heatgrad").expanduser()


def drawn_pairs(
    spec: PriorSpec,
    problem: Problem,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Return the solutions that a prior is trained on; those drawn before are read.

    Chunk k comes from the stream `(seed, "prior-data", k)`, so more pairs begin with the same ones.

    Args:
        spec: Of the prior.
        problem: That it names.
        device: Where they are solved for; random numbers are the same everywhere.
        progress: Called with the solutions that are there and all.

    Returns:
        Each field, shape (pairs, n, n), float32.

    Raises:
        StoreError: If they cannot be kept.
    """
    steps = Steps(cache_folder() / "pairs" / f"{_named(spec)}-{spec.data_id[:12]}", spec.data_id)
    chunks = []
    for index, first in enumerate(range(0, spec.pairs, _CHUNK)):
        count = min(_CHUNK, spec.pairs - first)

        def chunk(index: int = index, count: int = count) -> Values:
            stream = stream_generator(spec.seed, "prior-data", index)
            where = {} if device == "cpu" else {"device": device}
            fields = problem.sample(count, stream, **where)
            return {k: field.numpy(force=True).astype(np.float32) for k, field in fields.items()}

        chunks.append(steps.once(f"chunk-{index:04d}", chunk))
        if progress is not None:
            progress(first + count, spec.pairs)
    return {
        name: torch.from_numpy(np.concatenate([chunk[name] for chunk in chunks]))
        for name in problem.names
    }


def _named(spec: PriorSpec) -> str:
    """Return the problem as part of a folder's name."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in spec.problem)
