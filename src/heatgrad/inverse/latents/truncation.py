"""Which modes are kept, and how they are packed into a square array."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

__all__ = ["Hyperbolic", "Square", "Truncation"]


@runtime_checkable
class Truncation(Protocol):
    """A choice of modes out of a square of them, those of low frequency first on each axis.

    A value that can be a key of a dictionary, as a frozen dataclass is.
    """

    def __hash__(self) -> int:
        """Return a number that is the same for the same choice."""
        ...

    @property
    def size(self) -> int:
        """Side of the packed array."""
        ...

    @property
    def needed(self) -> int:
        """Modes on an axis that there must be."""
        ...

    def places(self) -> Int64[Tensor, "size size 2"]:
        """Return the two mode numbers, from 0, that each cell holds; -1 where it is empty."""
        ...


@dataclass(frozen=True)
class Square:
    """The m lowest modes of each axis.

    Attributes:
        m: How many, at least 1.

    Raises:
        ValueError: If `m` is below 1.

    Example:
        >>> Square(2).places()[1, 0].tolist()
        [1, 0]
    """

    m: int

    def __post_init__(self) -> None:
        if self.m < 1:
            raise ValueError(f"m must be at least 1 mode, got {self.m}")

    @property
    def size(self) -> int:
        """Side of the packed array."""
        return self.m

    @property
    def needed(self) -> int:
        """Modes on an axis that there must be."""
        return self.m

    def places(self) -> Int64[Tensor, "size size 2"]:
        """Return the two mode numbers, from 0, that each cell holds."""
        line = torch.arange(self.m)
        return torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)


@dataclass(frozen=True)
class Hyperbolic:
    r"""A dense block of low modes, and high modes of one axis where the other's is low.

    $$\{k_1, k_2 < b\} \cup \bigcup_{i \ge 1} \{i b \le k_1 < (i + 1) b,\ k_2 < w_i\} \cup
    \{k_2 \leftrightarrow k_1\}, \tag{I.3}$$

    packed into a square of side $b + \sum_i w_i$: line f of band i stands at index
    $b + w_1 + \dots + w_{i-1} + f$. The far corner of the square is empty.

    Attributes:
        base: b, side of the dense block, at least 1.
        bands: $w_i$, lines of each band, at least 1 and at most b.

    Raises:
        ValueError: If a number is out of range.

    References:
        [PISD], the presets (24, (6, 2)), (38, (4, 2)) and (54, (10,)). Theory page: Eq. (I.3).

    Example:
        >>> few = Hyperbolic(38, (4, 2))
        >>> few.size, few.needed, int((few.places()[..., 0] >= 0).sum())
        (44, 114, 1900)
    """

    base: int
    bands: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", tuple(self.bands))
        if self.base < 1:
            raise ValueError(f"base must be at least 1 mode, got {self.base}")
        if any(not 1 <= width <= self.base for width in self.bands):
            raise ValueError(f"bands must be from 1 to {self.base} lines each, got {self.bands}")

    @property
    def size(self) -> int:
        """Side of the packed array."""
        return self.base + sum(self.bands)

    @property
    def needed(self) -> int:
        """Modes on an axis that there must be."""
        return self.base * (1 + len(self.bands))

    def places(self) -> Int64[Tensor, "size size 2"]:
        """Return the two mode numbers, from 0, that each cell holds; -1 where it is empty."""
        found = torch.full((self.size, self.size, 2), -1)
        found[: self.base, : self.base] = Square(self.base).places()
        along, start = torch.arange(self.base), self.base
        for band, width in enumerate(self.bands, start=1):
            for line in range(width):
                found[start + line, : self.base, 0] = line
                found[start + line, : self.base, 1] = band * self.base + along
                found[: self.base, start + line, 0] = band * self.base + along
                found[: self.base, start + line, 1] = line
            start += width
        return found
