"""`heatgrad landscape`: the loss landscape around saved networks, or those of a study."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from torch import nn

    from heatgrad.landscape import Portrait

__all__ = ["landscape"]


def landscape(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|CHECKPOINT...",
            help="Folder or URL of a study; or files of weights, with --model and --data.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="Function that makes the network of the files."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="Function that gives inputs and labels, or batches of both in a fixed order.",
        ),
    ] = None,
    loss: Annotated[
        str, typer.Option(metavar="NAME|MODULE:NAME", help="Mean loss of logits and labels.")
    ] = "cross_entropy",
    task: Annotated[str | None, typer.Option(help="Of a study; its first by default.")] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="Of a study; may be given more than once; all by default."),
    ] = None,
    regime: Annotated[str, typer.Option(help="Of a study.")] = "as published",
    block: Annotated[int, typer.Option(min=0, help="Of a study.")] = 0,
    examples: Annotated[
        int, typer.Option(min=2, help="Of a study: training examples at most.")
    ] = 10_000,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="sharpness, path, spectrum or surface; may be repeated; all by default."),
    ] = None,
    directions: Annotated[
        str, typer.Option(help="Of surfaces: filter, hessian, or pca with --trajectory.")
    ] = "filter",
    points: Annotated[int, typer.Option(help="Places along each side of a surface, odd.")] = 25,
    reach: Annotated[float, typer.Option(help="Largest coordinate of a surface.")] = 1.0,
    radius: Annotated[float, typer.Option(help="Of sharpness in units of the weights.")] = 0.05,
    vectors: Annotated[int, typer.Option(help="Random starts of a spectrum.")] = 10,
    steps: Annotated[int, typer.Option(help="Products from each start.")] = 60,
    align: Annotated[
        bool, typer.Option("--align", help="Also measure paths after aligning hidden units.")
    ] = False,
    trajectory: Annotated[
        bool,
        typer.Option("--trajectory", help="The files are one network's way; the last is its end."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("landscape.html"),
) -> None:
    """Measure barriers, sharpness, spectra and surfaces, and write them on one page."""
    from heatgrad.cli import networks
    from heatgrad.core.errors import RunError, SpecError
    from heatgrad.landscape.portrait import MEASURES, portray
    from heatgrad.report.portraits import write_landscape
    from heatgrad.report.writing import check_replaceable

    check_replaceable(out)
    sys.path.insert(0, str(Path.cwd()))
    if measure == ["path"] and (len(places) == 1 or trajectory) and not Path(places[0]).is_dir():
        raise SpecError("a path needs two networks, got one")
    if len(places) == 1 and model is None and not Path(places[0]).is_file():
        found = networks.of_study(
            places[0], task=task, arms=arm or (), regime=regime, block=block, examples=examples
        )
    else:
        if task is not None or arm:
            raise SpecError("--task and --arm are of a study, got files of weights")
        found = networks.of_files(places, model, data, loss)
    measured, way = found.by_name, list[dict[str, Any]]()
    if trajectory:
        way = [network.state_dict() for network in measured.values()]
        measured = dict([list(measured.items())[-1]])
    elif directions == "pca":
        raise SpecError("directions 'pca' needs the files of one network's way; add --trajectory")
    first: nn.Module | None = None
    portraits: list[Portrait] = []
    try:
        for number, (name, network) in enumerate(measured.items(), 1):

            def tell(what: str, name: str = name, number: int = number) -> None:
                typer.echo(f"{number} of {len(measured)}: {name}, {what}", err=True)

            portraits.append(
                portray(
                    name,
                    network,
                    found.loss,
                    first=first,
                    measures=measure or MEASURES,
                    radius=radius,
                    points=points,
                    vectors=vectors,
                    steps=steps,
                    directions=directions,
                    reach=reach,
                    trajectory=way,
                    align=align,
                    seed=seed,
                    on_measure=tell,
                )
            )
            first = network if first is None else first
    except (ValueError, RuntimeError) as error:
        raise SpecError(" ".join(str(error).split())) from error
    except KeyboardInterrupt:
        raise RunError("interrupted; no page was written") from None
    write_landscape(portraits, out, title=found.title, note=found.note)
    _print(portraits)
    typer.echo(f"{out}")


def _print(portraits: "list[Portrait]") -> None:
    from rich.table import Table

    from heatgrad.cli.console import text_console
    from heatgrad.report.portraits import portrait_rows

    columns, rows = portrait_rows(portraits)
    table = Table()
    table.add_column("")
    for row in rows:
        table.add_column(row.name, justify="right")
    for column in columns:
        table.add_row(column, *(row.cells[column].text for row in rows))
    text_console().print(table)
