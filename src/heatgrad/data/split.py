"""Random splits and subsets that keep the class proportions."""

import torch
from jaxtyping import Int64
from torch import Generator, Tensor

__all__ = ["stratified_split", "stratified_subset"]


def stratified_split(
    labels: Int64[Tensor, " n"], num_test: int, generator: Generator
) -> tuple[Int64[Tensor, " train"], Int64[Tensor, " test"]]:
    """Return the indices of a random training and test part, each in random order.

    Each class has its share in the test part, rounded by largest remainders; the shares are
    exact where they are whole numbers.
    """
    order = torch.randperm(labels.numel(), generator=generator)
    is_test = torch.zeros(labels.numel(), dtype=torch.bool)
    sizes = torch.bincount(labels).tolist()
    for label, count in enumerate(_shares(sizes, num_test)):
        # Positions in `order`, so the first ones of a class are a random choice from it.
        is_test[(labels[order] == label).nonzero()[:count, 0]] = True
    return order[~is_test], order[is_test]


def stratified_subset(
    labels: Int64[Tensor, " n"], size: int, generator: Generator
) -> Int64[Tensor, " size"]:
    """Return the indices of a random subset with the class proportions, in random order."""
    return stratified_split(labels, size, generator)[1]


def _shares(sizes: list[int], total: int) -> list[int]:
    """Divide `total` in proportion to `sizes`, rounding by largest remainders."""
    whole = sum(sizes)
    shares = [total * size // whole for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda k: (-(total * sizes[k] % whole), k))
    for k in by_remainder[: total - sum(shares)]:
        shares[k] += 1
    return shares
