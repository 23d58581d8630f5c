"""A page of findings: an answer, tables and figures of one question about training dynamics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heatgrad.report.panels import Picture
from heatgrad.report.rows import Cell
from heatgrad.report.writing import write_page

__all__ = ["Findings", "Grid", "Section", "write_findings"]


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        name: What its rows are, for those who do not see it.
        columns: Headings of the columns of numbers.
        rows: Name of each row, and its cells.
        note: What to mind.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: Its heading.
        text: Sentences.
        grids: Its tables.
        pictures: Its figures.
    """

    title: str
    text: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Findings:
    """All that a page of findings shows.

    Attributes:
        kind: The command that found it, as `"escape"`.
        title: The heading.
        question: The question in plain words.
        answer: Sentences that answer it.
        sections: The parts.
        warnings: What makes the answer doubtful.
        notes: Sentences on what was chosen.
        spec: The whole specification, as text.
        environment: Versions and machine, by name.
    """

    kind: str
    title: str
    question: str
    answer: tuple[str, ...]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()
    notes: Sequence[str] = ()
    spec: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def write_findings(findings: Findings, path: str | Path) -> None:
    """Write the page; an older page of heatgrad at the same place is replaced.

    Args:
        findings: What it shows.
        path: The HTML file to write.

    Raises:
        StoreError: If the place is taken by another file, or cannot be written.
    """
    write_page(
        path,
        "findings.html",
        scripts=("page.js",),
        title=findings.title,
        found=findings,
        versions=", ".join(f"{name} {value}" for name, value in findings.environment.items()),
    )
