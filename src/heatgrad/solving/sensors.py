"""Sensors: where which field was measured, from a file or drawn at random."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from heatgrad.core.errors import DataError
from heatgrad.core.lookup import nearest
from heatgrad.pde import Grid

__all__ = ["MOST_SENSORS", "Sensors", "check_counts", "draw_sensors", "read_sensors"]

MOST_SENSORS = 5000
"""Most observations of one answer: their matrix has the square of it, 200 MB."""

_NEEDED = ("x", "y", "value", "field")
_ALLOWED = (*_NEEDED, "noise")


@dataclass(frozen=True, eq=False)
class Sensors:
    """Points of the unit square at which fields were measured.

    Attributes:
        field: Name of the field of each, length m.
        points: x and y of each, shape (m, 2) [length].
        value: What was measured, shape (m,); NaN where it is not drawn yet [field].
        noise: Standard deviation of each measurement, shape (m,); NaN where it is not given
            [field].

    Example:
        >>> one = Sensors(("u",), np.zeros((1, 2)), np.ones(1), np.zeros(1))
        >>> len(one), one.of("u").tolist()
        (1, [0])
    """

    field: tuple[str, ...]
    points: NDArray[np.float64]
    value: NDArray[np.float64]
    noise: NDArray[np.float64]

    def __len__(self) -> int:
        """Return their number."""
        return len(self.field)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that were measured, in the order of their first sensor."""
        return tuple(dict.fromkeys(self.field))

    def of(self, field: str) -> NDArray[np.int64]:
        """Return the places of the sensors of one field."""
        return np.flatnonzero(np.array([name == field for name in self.field]))

    def only(self, places: NDArray[np.int64]) -> "Sensors":
        """Return some of them."""
        names = tuple(self.field[k] for k in places.tolist())
        return Sensors(names, self.points[places], self.value[places], self.noise[places])


def draw_sensors(grid: Grid, counts: Mapping[str, int], generator: torch.Generator) -> Sensors:
    """Return points of the grid, drawn without repetition, for each field its own.

    Args:
        grid: Of the fields.
        counts: How many of each field, at least 1.
        generator: What they are drawn from.

    Raises:
        DataError: If there are fewer points on the grid, or more are asked for in all than can be
            handled.

    Example:
        >>> found = draw_sensors(Grid(9), {"u": 4}, torch.Generator().manual_seed(0))
        >>> len(found), found.fields
        (4, ('u',))
    """
    check_counts(grid, counts)
    places = grid.points().reshape(-1, 2)
    names: list[str] = []
    chosen = []
    for field, count in counts.items():
        order = torch.randperm(len(places), generator=generator)[:count]
        chosen.append(places[order])
        names += [field] * count
    points = torch.cat(chosen).numpy()
    unknown = np.full(len(names), math.nan)
    return Sensors(tuple(names), points, unknown, unknown.copy())


def read_sensors(path: str | Path, fields: Sequence[str]) -> Sensors:
    r"""Return the sensors of a file of comma-separated values.

    The first line names the columns: x, y, value and field, in any order, and noise if it is
    known. Empty lines and lines that begin with # are left out.

    Args:
        path: The file, UTF-8.
        fields: Names that there are.

    Raises:
        DataError: With the number of the line: a column is missing, a cell is no finite number, a
            point lies outside the unit square, a field is unknown, a noise is negative.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "sensors.csv"
        >>> _ = file.write_text("x,y,value,field,noise\n0.5,0.5,1.0,u,0.1\n")
        >>> read_sensors(file, ("a", "u")).value.tolist()
        [1.0]
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"no file of sensors at '{place}'") from None
    except OSError as error:
        raise DataError(f"cannot read the sensors '{place}': {error.strerror}") from error
    except UnicodeDecodeError:
        raise DataError(f"the sensors '{place}' must be UTF-8 text; save them as CSV") from None
    lines = _lines(text, place)
    if not lines:
        raise DataError(f"'{place}' is empty; its first line must be {','.join(_NEEDED)}")
    columns = _columns(lines[0][1], place)
    rows = [_row(number, cells, columns, fields, place) for number, cells in lines[1:]]
    if not rows:
        raise DataError(f"'{place}' has no line of values under its header; give one sensor a line")
    check_count(len(rows))
    names, *numbers = zip(*rows, strict=True)
    x, y, value, noise = (np.array(column, dtype=np.float64) for column in numbers)
    return Sensors(names, np.stack([x, y], -1), value, noise)


def check_counts(grid: Grid, counts: Mapping[str, int]) -> None:
    """Refuse more sensors of a field than its grid has points, and more than can be handled."""
    for field, count in counts.items():
        if count > grid.n**2:
            raise DataError(
                f"field '{field}' has {grid.n**2} points on its grid, got {count} sensors; ask for "
                f"fewer"
            )
    check_count(sum(counts.values()))


def check_count(count: int) -> None:
    """Refuse more sensors than their matrix can hold."""
    if count > MOST_SENSORS:
        raise DataError(
            f"at most {MOST_SENSORS} observations fit one answer, whose matrix has the square of "
            f"them, got {count}; leave some out, or average neighbours"
        )


def _lines(text: str, place: Path) -> list[tuple[int, list[str]]]:
    """Return the lines that say something, with their numbers."""
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        read = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise DataError(f"'{place}' is not comma-separated text: {error}") from error
    return [(n, cells) for n, cells in read if any(cells) and not cells[0].startswith("#")]


def _columns(header: Sequence[str], place: Path) -> dict[str, int]:
    names = [name.lower() for name in header]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        separated = ";" in header[0] or "\t" in header[0]
        hint = "columns must be separated by commas" if separated else "the first line names them"
        raise DataError(
            f"'{place}' needs the columns {', '.join(_NEEDED)}, and has no "
            f"{' and no '.join(missing)}; {hint}"
        )
    for name in names:
        if name not in _ALLOWED:
            raise DataError(f"'{place}' has an unknown column '{name}'; {nearest(name, _ALLOWED)}")
        if names.count(name) > 1:
            raise DataError(f"'{place}' has the column '{name}' twice")
    return {name: names.index(name) for name in names}


def _row(
    line: int, cells: Sequence[str], columns: Mapping[str, int], fields: Sequence[str], place: Path
) -> tuple[str, float, float, float, float]:
    """Return field, x, y, value and noise of a line."""
    if len(cells) != len(columns):
        raise DataError(
            f"'{place}' line {line} must have {len(columns)} cells as the header, got {len(cells)}"
        )
    numbers: dict[str, float] = {}
    for name in ("x", "y", "value", "noise"):
        cell = cells[columns[name]] if name in columns else ""
        if name == "noise" and not cell:
            numbers[name] = math.nan
            continue
        numbers[name] = _number(cell, f"'{place}' line {line}: {name}")
    for name in ("x", "y"):
        if not 0 <= numbers[name] <= 1:
            raise DataError(
                f"'{place}' line {line}: the sensor at ({numbers['x']:g}, {numbers['y']:g}) lies "
                f"outside the domain, the unit square; scale x and y to 0..1"
            )
    if numbers["noise"] < 0:
        raise DataError(
            f"'{place}' line {line}: noise is a standard deviation, at least 0, got "
            f"{numbers['noise']:g}"
        )
    field = cells[columns["field"]]
    if field not in fields:
        raise DataError(f"'{place}' line {line}: unknown field '{field}'; {nearest(field, fields)}")
    return field, numbers["x"], numbers["y"], numbers["value"], numbers["noise"]


def _number(cell: str, what: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise DataError(f"{what} must be a number, got {cell!r}") from None
    if not math.isfinite(value):
        raise DataError(f"{what} must be finite, got {cell!r}; leave out what was not measured")
    return value
