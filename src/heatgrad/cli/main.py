"""The command `heatgrad`, and what its exit codes mean: 0 done, 1 failed, 2 bad usage."""

import sys
import warnings
from typing import Annotated, NoReturn, cast

import typer

import heatgrad
from heatgrad.cli import study
from heatgrad.cli.compare import compare
from heatgrad.cli.dynamics import escape, flow
from heatgrad.cli.landscape import landscape
from heatgrad.cli.sample import sample
from heatgrad.cli.solve import solve
from heatgrad.cli.train import train
from heatgrad.core.errors import HeatgradError, RunError

__all__ = ["app", "main"]

app = typer.Typer(
    name="heatgrad",
    help="Drift and diffusion in learning: matched studies of optimizers that diffuse gradients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(study.app, name="study")
app.command()(compare)
app.command()(escape)
app.command()(flow)
app.command()(landscape)
app.command()(sample)
app.command()(solve)
app.command()(train)

# The base of all usage errors; typer exports this leaf of them only.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"heatgrad {heatgrad.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; an error that the user can mend is one line and exit code 2."""
    warnings.showwarning = _show_warning
    try:
        code = app(prog_name="heatgrad", standalone_mode=False)
    except _UsageError as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a command was left out: this is the whole help
            print(message, file=sys.stderr)
            sys.exit(2)
        place = error.ctx.command_path if error.ctx else "heatgrad"
        _fail(f"{message[:1].lower()}{message[1:].rstrip('.')}; see '{place} --help'", code=2)
    except HeatgradError as error:
        _fail(str(error), code=1 if isinstance(error, RunError) else 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", code=1)
    sys.exit(code if isinstance(code, int) else 0)


def _show_warning(message: Warning | str, *place: object, **options: object) -> None:
    print(f"heatgrad: warning: {' '.join(str(message).splitlines())}", file=sys.stderr)


def _fail(message: str, *, code: int) -> NoReturn:
    # One line, whatever a name or a library's words hold.
    print(f"heatgrad: {' '.join(message.splitlines())}", file=sys.stderr)
    sys.exit(code)
