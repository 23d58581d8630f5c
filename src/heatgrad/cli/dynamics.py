"""`heatgrad escape` and `heatgrad flow`: questions about training dynamics, from a file."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heatgrad.cli.findings import answer_with_page

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

    asked = EscapeSpec.from_toml(_file(spec, ESCAPES, "escape"))

    def answer(steps: Path, shown: "StepsShown") -> "Findings":
        found = run_escape(asked, steps, tell=shown.tell, progress=shown.progress)
        return _said(escape_findings(found))

    answer_with_page(out or Path("runs") / asked.name, answer)


def flow(spec: Spec, out: Out = None) -> None:
    """Follow gradient flows to very long times and say where they go, on one page."""
    from heatgrad.dynamics import FLOWS, FlowSpec, run_flow
    from heatgrad.report.flow import flow_findings

    asked = FlowSpec.from_toml(_file(spec, FLOWS, "flow"))

    def answer(steps: Path, shown: "StepsShown") -> "Findings":
        return _said(flow_findings(run_flow(asked, steps, tell=shown.tell)))

    answer_with_page(out or Path("runs") / asked.name, answer)


def _said(found: "Findings") -> "Findings":
    """Say what makes an answer doubtful where warnings go, and return it."""
    for words in found.warnings:
        typer.echo(f"heatgrad: warning: {words}", err=True)
    return found


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
