"""`heatgrad solve`: the fields of an equation, from a handful of sensors."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from heatgrad.cli.steps import StepsShown
    from heatgrad.report.findings import Findings
    from heatgrad.solving import Problem, SolveSpec

__all__ = ["solve"]


def solve(
    problem: Annotated[
        str,
        typer.Argument(
            metavar="PROBLEM",
            help="poisson, helmholtz, darcy or navier-stokes, or your own as package.module:Name.",
        ),
    ],
    observe: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD:NUMBER, sensors at random points of a drawn solution; repeatable."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="CSV of sensors: x, y, value, field and, if known, noise.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of the posterior.")] = 16,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Deviation of a measurement over its field's size; 0 if drawn, 0.01 of a file."
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="pseudo-inverse, exact, dps, adam or kriging.")
    ] = "pseudo-inverse",
    grid: Annotated[int | None, typer.Option(help="Points a side; the problem's own.")] = None,
    seed: Annotated[int, typer.Option(help="Of the solution, the sensors and the draws.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default runs/solve-<problem>-<id>.")
    ] = None,
    train: Annotated[
        bool,
        typer.Option("--train", help="Train the problem's prior first, or what is left of it."),
    ] = False,
    device: Annotated[str, typer.Option(help="Where a prior is trained, cpu or cuda.")] = "cpu",
) -> None:
    """Find the fields that agree with sensors, with their uncertainty, on one page."""
    from heatgrad.core.errors import SpecError
    from heatgrad.solving import METHOD_NAMES, named_problem, needs_training
    from heatgrad.solving.solve_spec import parse_observe

    if ":" in problem:
        sys.path.insert(0, str(Path.cwd()))  # a problem of the user's own lies beside them
    options: dict[str, Any] = {} if grid is None else {"n": grid}
    equation = named_problem(problem, options)
    if method not in METHOD_NAMES:
        from heatgrad.core.lookup import nearest

        raise SpecError(f"unknown method '{method}'; {nearest(method, METHOD_NAMES)}")
    counts = parse_observe(observe or [], equation.names)
    if train:
        if not needs_training(equation):
            typer.echo(f"{problem} needs no training: its law is Gaussian and it is linear.")
        else:
            _train(problem, options, device)
        if not counts and data is None:
            return
    if counts and data is not None:
        raise SpecError("give --observe or --data, not both")
    if not counts and data is None:
        first = equation.names[-1]
        raise SpecError(f"give sensors: --observe {first}:500 draws some, --data FILE reads them")
    others = {
        "options": options,
        "draws": draws,
        "noise": noise,
        "method": method,
        "seed": seed,
    }
    from heatgrad.solving import SolveSpec

    asked = (
        SolveSpec.of_file(problem, data, **others)
        if data is not None
        else SolveSpec.from_dict({"problem": problem, "observe": counts, **others})
    )
    _answer(asked, equation, out)


def _train(problem: str, options: dict[str, Any], device: str) -> None:
    from heatgrad.cli.steps import StepsShown
    from heatgrad.core.errors import RunError
    from heatgrad.solving import prior_folder, prior_spec, train_prior

    spec = prior_spec(problem, options)
    try:
        with StepsShown() as shown:
            prior = train_prior(spec, device=device, tell=shown.tell, progress=shown.progress)
    except KeyboardInterrupt:
        raise RunError("interrupted; the same command goes on after the last epoch") from None
    about = prior.about
    typer.echo(
        f"{prior_folder(spec)} ({about['parameters']:,} weights, {about['epochs']} epochs, "
        f"{about['seconds_trained'] / 60:.1f} minutes, held-out loss {about['held_out'][-1]:.4f})"
    )


def _answer(asked: "SolveSpec", equation: "Problem", out: Path | None) -> None:
    from heatgrad.cli.findings import answer_with_page
    from heatgrad.report.solve import solve_findings
    from heatgrad.solving import run_solve

    named = asked.problem.replace(":", "-")
    folder = out or Path("runs") / f"solve-{named}-{asked.id[:8]}"

    def answer(steps: Path, shown: "StepsShown") -> "Findings":
        return solve_findings(run_solve(asked, steps, problem=equation, tell=shown.tell))

    answer_with_page(folder, answer)
