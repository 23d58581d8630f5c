"""What an optimizer's diffusion does to each frequency, told group by group."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["StabilityReport", "StabilityRow"]


@dataclass(frozen=True)
class StabilityRow:
    """The diffusion of the tensors of one group that have the same number of diffused axes.

    Attributes:
        group: Index of the parameter group.
        what: The operator and its axes, in words.
        num_tensors: Number of tensors.
        num_dims: N, the number of diffused axes.
        coefficient: λ or β [1].
        bound: The coefficient above which some frequency grows [1].
        gains: Smallest and largest factor that one application puts on a frequency of these
            tensors: of the gradient, or of the velocity from step to step [1].
    """

    group: int
    what: str
    num_tensors: int
    num_dims: int
    coefficient: float
    bound: float
    gains: tuple[float, float]

    @property
    def is_stable(self) -> bool:
        """Whether no frequency grows."""
        return max(abs(gain) for gain in self.gains) <= 1 + 1e-12


@dataclass(frozen=True)
class StabilityReport:
    """What `optimizer.stability()` returns; printed, it is a table.

    Attributes:
        symbol: The paper's letter of the coefficient.
        rows: One row per group and number of axes.
    """

    symbol: str
    rows: tuple[StabilityRow, ...]

    @property
    def is_stable(self) -> bool:
        """Whether no frequency of any group grows."""
        return all(row.is_stable for row in self.rows)

    def __iter__(self) -> Iterator[StabilityRow]:
        return iter(self.rows)

    def __str__(self) -> str:
        head = ("group", "diffusion", "tensors", "N", self.symbol, "bound", "gains", "")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    __repr__ = __str__


def _cells(row: StabilityRow) -> tuple[str, ...]:
    low, high = row.gains
    return (
        str(row.group),
        row.what,
        str(row.num_tensors),
        str(row.num_dims),
        f"{row.coefficient:.4g}",
        f"{row.bound:.4g}",
        f"{low:.4g} to {high:.4g}",
        "" if row.is_stable else "GROWS",
    )
