"""Answering a question with a page: what the commands of findings share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from heatgrad.cli.steps import StepsShown
    from heatgrad.report.findings import Findings

__all__ = ["answer_with_page", "print_findings"]


def answer_with_page(folder: Path, answer: "Callable[[Path, StepsShown], Findings]") -> None:
    """Answer, write `report.html` into a folder and print its tables.

    Args:
        folder: Of the results; steps are kept in `steps` below it.
        answer: Of that folder of steps, and where progress is shown.

    Raises:
        RunError: If it is interrupted.
        StoreError: If the page's place is taken by another file.
    """
    from heatgrad.cli.steps import StepsShown
    from heatgrad.core.errors import RunError
    from heatgrad.report.findings import write_findings
    from heatgrad.report.writing import check_replaceable

    page = folder / "report.html"
    check_replaceable(page)
    try:
        with StepsShown() as shown:
            found = answer(folder / "steps", shown)
    except KeyboardInterrupt:
        raise RunError("interrupted; the same command goes on after the last step") from None
    write_findings(found, page)
    print_findings(found, page)


def print_findings(found: "Findings", page: Path) -> None:
    """Print tables, sentences and the place of a page; warnings went to standard error before."""
    from rich.table import Table

    from heatgrad.cli.console import text_console

    for grid in (grid for section in found.sections for grid in section.grids):
        table = Table()
        for name in ("", *grid.columns):
            table.add_column(name)
        for name, cells in grid.rows:
            table.add_row(name, *(cell.text for cell in cells))
        text_console().print(table)
    for sentence in found.answer:
        typer.echo(sentence)
    typer.echo(f"{page}")
