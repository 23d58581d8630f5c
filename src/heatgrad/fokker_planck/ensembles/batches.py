"""Which samples the minibatches of many replicas are made of."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["draw_batches", "subsets"]

Indices = Int[Tensor, "replicas batch"]


def draw_batches(
    num_samples: int,
    batch_size: int,
    replicas: int,
    *,
    replacement: bool,
    epochs: bool,
    generator: torch.Generator,
) -> Iterator[Indices]:
    """Yield the indices of one batch of each replica, for ever.

    With `epochs`, each replica goes through a permutation of its own and then draws another; the
    last batch of a pass is smaller where B does not divide N, as a `DataLoader`'s is.

    Args:
        num_samples: N, the number of samples.
        batch_size: B, from 1 on; without replacement and in passes at most N.
        replicas: How many batches at once.
        replacement: Whether a sample can come twice in a batch; passes never repeat one.
        epochs: Whether to go through the samples in passes.
        generator: Of the indices.

    Example:
        >>> batches = draw_batches(5, 2, 1, replacement=False, epochs=True,
        ...                        generator=torch.Generator().manual_seed(0))
        >>> one_pass = torch.cat([next(batches)[0] for _ in range(3)])
        >>> one_pass.sort().values
        tensor([0, 1, 2, 3, 4])
    """
    device = generator.device
    while True:
        if epochs:
            noise = torch.rand(replicas, num_samples, generator=generator, device=device)
            yield from torch.split(noise.argsort(1), batch_size, dim=1)
        elif replacement:
            yield torch.randint(
                num_samples, (replicas, batch_size), generator=generator, device=device
            )
        else:
            yield subsets(num_samples, batch_size, replicas, generator)


def subsets(
    num_samples: int, size: int, replicas: int, generator: torch.Generator, *, sort: bool = False
) -> Indices:
    """Return one random subset for each replica, all subsets being as likely.

    Small subsets are drawn by Floyd's method, whose cost does not grow with N, others by sorting
    random numbers. The order within a subset is not random.

    Args:
        num_samples: N, of which to choose.
        size: At most N.
        replicas: How many subsets.
        generator: Of the random numbers.
        sort: Whether to sort in any case.
    """
    device = generator.device
    if sort or size**2 > num_samples:
        noise = torch.rand(replicas, num_samples, generator=generator, device=device)
        return noise.argsort(1)[:, :size]
    chosen = torch.empty(replicas, size, dtype=torch.int64, device=device)
    for column, top in enumerate(range(num_samples - size, num_samples)):
        new = torch.randint(top + 1, (replicas,), generator=generator, device=device)
        taken = (chosen[:, :column] == new.unsqueeze(1)).any(1)
        chosen[:, column] = torch.where(taken, torch.full_like(new, top), new)
    return chosen
