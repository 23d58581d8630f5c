"""Lists of tensors in runs that fit a cache."""

from collections.abc import Iterator, Sequence

from torch import Tensor

__all__ = ["in_chunks"]

_CHUNK_BYTES = 1 << 22


def in_chunks(tensors: Sequence[Tensor]) -> Iterator[list[int]]:
    """Split the places of a list into runs of about four megabytes.

    On a CPU many launches cost nothing and memory traffic is all, so what is computed on the way
    should stay in cache, and its memory be used again. Elsewhere all places are one run.
    """
    chunk: list[int] = []
    size = 0
    for i, tensor in enumerate(tensors):
        num_bytes = tensor.numel() * tensor.element_size() if tensor.device.type == "cpu" else 0
        if chunk and size + num_bytes > _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(i)
        size += num_bytes
    if chunk:
        yield chunk
