"""`heatgrad compare`: a verdict on any table of runs."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare"]


def compare(
    table: Annotated[
        Path,
        typer.Argument(help="CSV with the columns arm, seed (or block), the metric, maybe epoch."),
    ],
    metric: Annotated[str, typer.Option(help="The column to compare.")],
    baseline: Annotated[str, typer.Option(help="The arm that the others are compared with.")],
    margin: Annotated[float, typer.Option(help="Smallest difference that matters.")],
    arm: Annotated[
        list[str] | None,
        typer.Option(help="An arm to judge; may be given more than once; default all others."),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help="An arm that has to be beaten too; may be given more than once."),
    ] = None,
    higher_is_better: Annotated[
        bool | None,
        typer.Option("--higher-is-better/--lower-is-better", help="Direction; higher by default."),
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="The epoch of each run to compare; its last by default.")
    ] = None,
) -> None:
    """Judge the runs of any training loop, a line per run or per epoch, paired by seed."""
    from heatgrad.cli import verdicts
    from heatgrad.study.reading import read_runs
    from heatgrad.study.table import compare_table

    named = (baseline, *(arm or ()), *(control or ())) if arm else ()
    found = compare_table(
        read_runs(table, metric, epoch=epoch, arms=named),
        baseline=baseline,
        margin=margin,
        arms=arm or (),
        controls=control or (),
        metric=metric,
        higher_is_better=higher_is_better,
    )
    verdicts.print_task(found)
    for verdict in found:
        verdicts.print_details(verdict)
