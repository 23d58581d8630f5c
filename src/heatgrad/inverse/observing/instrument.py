"""All operators of an observation on one grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from heatgrad.inverse.observing.operators import Operator
from heatgrad.inverse.observing.stencil import Stencil
from heatgrad.pde.grid import Grid

__all__ = ["SAME", "Instrument"]

SAME = 1e-6
"""Of the size of a field's values: what differs by less is taken for rounding."""

_DIGITS = 1e12  # weights that differ by less than one over it are the same


@dataclass(frozen=True, eq=False)
class Instrument:
    r"""Linear functionals of named fields, $y = H f$, in the order of the operators.

    Args:
        grid: Of the fields.
        operators: At least one; several may measure the same field.
        names: Fields that there are; others are refused.

    Raises:
        ValueError: If there is no operator, or one measures an unknown field.

    Example:
        >>> from heatgrad.inverse import Points
        >>> two = Instrument(Grid(3), [Points("u", [(0.5, 0.5), (0.0, 0.5)])], ("u",))
        >>> two({"u": torch.arange(9.0).reshape(1, 3, 3)}).tolist()
        [[4.0, 1.0]]
    """

    grid: Grid
    operators: Sequence[Operator]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", tuple(self.operators))
        if not self.operators:
            raise ValueError("operators must hold at least one, got none")
        for operator in self.operators:
            if operator.field not in self.names:
                raise ValueError(
                    f"operators must measure one of {', '.join(self.names)}, got the unknown "
                    f"field {operator.field!r}"
                )

    def __len__(self) -> int:
        return sum(len(operator) for operator in self.operators)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields that are measured."""
        return tuple(dict.fromkeys(operator.field for operator in self.operators))

    def of(self, field: str) -> Bool[Tensor, " m"]:
        """Return which observations are of a field."""
        parts = [torch.full((len(op),), op.field == field) for op in self.operators]
        return torch.cat(parts)

    def __call__(self, fields: Mapping[str, Float[Tensor, "num n n"]]) -> Float[Tensor, "num m"]:
        """Return what is observed of fields without noise, differentiable.

        Raises:
            ValueError: If a field is missing or of another shape.
        """
        total: Tensor | None = None
        for name, stencil in self._stencils.items():
            if name not in fields or tuple(fields[name].shape[1:]) != self.grid.shape:
                got = tuple(fields[name].shape) if name in fields else "none"
                raise ValueError(
                    f"fields must hold {name} of shape (num, {self.grid.n}, {self.grid.n}), "
                    f"got {got}"
                )
            field = fields[name]
            rows, places = stencil.rows.to(field.device), stencil.places.to(field.device)
            terms = field.flatten(1)[:, places] * stencil.weights.to(field)
            if total is None:
                total = field.new_zeros(len(field), len(self))
            total = total.index_add(1, rows, terms)
        assert total is not None
        return total

    def transposed(
        self, first: int, last: int, like: Tensor
    ) -> dict[str, Float[Tensor, "rows n n"]]:
        r"""Return rows of H as fields, $H^\top e_i$ for `first <= i < last`; 0 fields are left out.

        Args:
            first: The first row.
            last: The row after the last.
            like: Whose type and device they take.
        """
        found = {}
        for name, stencil in self._stencils.items():
            own = (stencil.rows >= first) & (stencil.rows < last)
            if not bool(own.any()):
                continue
            flat = torch.zeros((last - first) * self.grid.n**2, dtype=torch.float64)
            places = (stencil.rows[own] - first) * self.grid.n**2 + stencil.places[own]
            flat = flat.index_add(0, places, stencil.weights[own])
            found[name] = flat.reshape(last - first, *self.grid.shape).to(like)
        return found

    def refuse_contradictions(
        self, values: Float[Tensor, "cases m"], is_exact: Bool[Tensor, " m"], scale: Tensor
    ) -> None:
        """Raise if two sensors that measure the same without noise say different things.

        Args:
            values: What they said.
            is_exact: Which have no noise.
            scale: Typical size of the values of each, shape (m,) [field].

        Raises:
            ValueError: With their numbers and values.
        """
        same = self.same_as.to(values.device)
        gap = (values - values[:, same]).abs()
        wrong = (gap > SAME * scale) & is_exact & is_exact[same]
        if bool(wrong.any()):
            case, sensor = (int(k) for k in torch.nonzero(wrong)[0])
            other = int(same[sensor])
            raise ValueError(
                f"sensors {other} and {sensor} measure the same without noise and must agree, got "
                f"{float(values[case, other]):g} and {float(values[case, sensor]):g} in case "
                f"{case}; give a noise, or leave one out"
            )

    @cached_property
    def same_as(self) -> Int64[Tensor, " m"]:
        """The first observation that measures the same as each one: its own number if none does."""
        terms: list[list[tuple[int, int]]] = [[] for _ in range(len(self))]
        owner = [name for operator in self.operators for name in [operator.field] * len(operator)]
        for stencil in self._stencils.values():
            weights = (stencil.weights * _DIGITS).round().long().tolist()
            for row, place, weight in zip(
                stencil.rows.tolist(), stencil.places.tolist(), weights, strict=True
            ):
                if weight:
                    terms[row].append((place, weight))
        first: dict[tuple[str, tuple[tuple[int, int], ...]], int] = {}
        found = [
            first.setdefault((owner[row], tuple(sorted(own))), row) for row, own in enumerate(terms)
        ]
        return torch.tensor(found)

    @cached_property
    def _stencils(self) -> dict[str, Stencil]:
        """The terms of each field, with rows counted through all operators."""
        parts: dict[str, list[Stencil]] = {name: [] for name in self.fields}
        start = 0
        for operator in self.operators:
            own = operator.stencil(self.grid)
            parts[operator.field].append(
                Stencil(own.count, own.rows + start, own.places, own.weights)
            )
            start += own.count
        return {
            name: Stencil(
                start,
                torch.cat([part.rows for part in own]),
                torch.cat([part.places for part in own]),
                torch.cat([part.weights for part in own]),
            )
            for name, own in parts.items()
        }
