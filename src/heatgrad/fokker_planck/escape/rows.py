"""The rows of a comparison of escape times, and what each is held against."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from heatgrad.fokker_planck.ensembles.survival import FirstExits

__all__ = ["EscapeComparison", "EscapeRow", "against_reference", "reference_of"]

_REFERENCES = ("quadrature", "grid", "sde")  # the most exact first
_TRUSTED = ("converged", "complete", "censored")  # good for a reference


@dataclass(frozen=True)
class EscapeRow:
    """What one method says.

    Attributes:
        method: Its name.
        value: The mean time of escape [time].
        error: Its standard error, or an estimate of the method's own error [time].
        low: Lower end of its interval of 95 % [time].
        high: Upper end.
        status: Of the method.
        seconds: It took.
        notes: What to know about it.
        z: The difference to the reference over both errors; NaN for the reference itself.
        relative: The difference to the reference over the reference.
        sample: The exits that it was found from, of an ensemble.
    """

    method: str
    value: float
    error: float
    low: float
    high: float
    status: str
    seconds: float
    notes: tuple[str, ...] = ()
    z: float = math.nan
    relative: float = math.nan
    sample: FirstExits | None = None


@dataclass(frozen=True)
class EscapeComparison:
    """A table of methods, the most exact first.

    Attributes:
        rows: One for each method that applied.
        reference: The name of the most exact that succeeded; None if none did.
        skipped: Why the others did not apply.
    """

    rows: tuple[EscapeRow, ...]
    reference: str | None
    skipped: dict[str, str]

    def __getitem__(self, method: str) -> EscapeRow:
        """Return the row of a method.

        Raises:
            KeyError: If it has none, with the reason.
        """
        for row in self.rows:
            if row.method == method:
                return row
        raise KeyError(f"no row for {method!r}: {self.skipped.get(method, 'not asked for')}")

    def __str__(self) -> str:
        """Return the table as text."""
        lines = [f"{'method':15} {'mean time':>12} {'error':>10} {'z':>7}  {'status':12} seconds"]
        lines += [
            f"{r.method:15} {r.value:12.6g} {r.error:10.2g} {r.z:7.2f}  {r.status:12} "
            f"{r.seconds:.2g}" + "".join(f"\n    {note}" for note in r.notes)
            for r in self.rows
        ]
        lines += [f"{name:15} skipped: {why}" for name, why in self.skipped.items()]
        return "\n".join(lines)


def against_reference(rows: Sequence[EscapeRow]) -> tuple[EscapeRow, ...]:
    """Return rows with their differences to the most exact of those that succeeded.

    For rows that were made one by one, with one name in `methods` each.
    """
    best = reference_of(rows)
    return tuple(
        replace(row, z=math.nan, relative=math.nan)
        if best is None or row is best
        else _against(row, best)
        for row in rows
    )


def reference_of(rows: Sequence[EscapeRow]) -> EscapeRow | None:
    """Return the most exact of the rows that succeeded, or None."""
    exact = [r for r in rows if r.method in _REFERENCES and r.status in _TRUSTED]
    return min(exact, key=lambda r: _REFERENCES.index(r.method), default=None)


def _against(row: EscapeRow, best: EscapeRow) -> EscapeRow:
    gap = row.value - best.value
    errors = math.hypot(row.error, best.error)
    return replace(row, z=gap / errors if errors else math.nan, relative=gap / best.value)
