"""`heatgrad escape` and `heatgrad flow`: questions about training dynamics, from a file."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

if TYPE_CHECKING:
    from heatgrad.cli.steps import StepsShown
    from heatgrad.report.findings import Findings

__all__ = ["escape", "flow"]

Out = Annotated[Path | None, typer.Option(help="Folder for the results; default runs/<name>.")]
Spec = Annotated[str, typer.Argument(metavar="SPEC", help="A TOML file, or a preset's name.")]


def escape(spec: Spec, out: Out = None) -> None:
    """Say how long a process stays in a well, by every method that applies, on one page."""
    from heatgrad.dynamics import ESCAPES, EscapeSpec, run_escape
    from heatgrad.report.escape import escape_findings

    def answer(asked: EscapeSpec, steps: Path, shown: "StepsShown") -> "Findings":
        found = run_escape(asked, steps, tell=shown.tell, progress=shown.progress)
        return escape_findings(found)

    _answer(EscapeSpec.from_toml(_file(spec, ESCAPES, "escape")), out, answer)


def flow(spec: Spec, out: Out = None) -> None:
    """Follow gradient flows to very long times and say where they go, on one page."""
    from heatgrad.dynamics import FLOWS, FlowSpec, run_flow
    from heatgrad.report.flow import flow_findings

    def answer(asked: FlowSpec, steps: Path, shown: "StepsShown") -> "Findings":
        return flow_findings(run_flow(asked, steps, tell=shown.tell))

    _answer(FlowSpec.from_toml(_file(spec, FLOWS, "flow")), out, answer)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Asked = TypeVar("Asked", bound=_Named)


def _answer(
    asked: Asked, out: Path | None, answer: "Callable[[Asked, Path, StepsShown], Findings]"
) -> None:
    """Answer what was asked, write the page and print its tables."""
    from heatgrad.cli.steps import StepsShown
    from heatgrad.core.errors import RunError
    from heatgrad.report.findings import write_findings
    from heatgrad.report.writing import check_replaceable

    folder = out or Path("runs") / asked.name
    page = folder / "report.html"
    check_replaceable(page)
    try:
        with StepsShown() as shown:
            found = answer(asked, folder / "steps", shown)
    except KeyboardInterrupt:
        raise RunError("interrupted; the same command goes on after the last step") from None
    write_findings(found, page)
    _print(found, page)


def _file(spec: str, presets: Mapping[str, Path], kind: str) -> Path:
    """Return the file that was named, beside which parts of the user's own lie."""
    from heatgrad.core.errors import SpecError
    from heatgrad.core.lookup import nearest

    path = Path(spec)
    if spec in presets and not path.exists():
        return presets[spec]
    if not path.exists() and path.suffix != ".toml":
        raise SpecError(f"no file and no preset of {kind} '{spec}'; {nearest(spec, presets)}")
    sys.path.insert(0, str(path.resolve().parent))
    return path


def _print(found: "Findings", page: Path) -> None:
    from rich.table import Table

    from heatgrad.cli.console import text_console

    for grid in (grid for section in found.sections for grid in section.grids):
        table = Table()
        for name in ("", *grid.columns):
            table.add_column(name)
        for name, cells in grid.rows:
            table.add_row(name, *(cell.text for cell in cells))
        text_console().print(table)
    for sentence in (*found.warnings, *found.answer):
        typer.echo(sentence)
    typer.echo(f"{page}")
