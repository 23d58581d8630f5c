"""`heatgrad study`: run, resume and read matched comparisons of optimizers."""

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    help="Matched comparisons of optimizers, with verdicts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Place = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|URL", help="Folder of a study, e.g. runs/demo, or URL of its database."
    ),
]

Small = Annotated[bool, typer.Option("--small", help="The preset's small form, for two cores.")]


@app.command()
def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC|PRESET", help="A TOML file or a preset.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default runs/<name>.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of matched blocks.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task; may be given more than once.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes of one thread; default one per core.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Database for the results, e.g. postgresql+psycopg://host/name."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="auto|ADDRESS", help="Run on this Ray cluster; see the guide."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="cpu|cuda", help="Where it is trained; see the guide.")
    ] = None,
    small: Small = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print trials, steps and estimated hours only.")
    ] = False,
) -> None:
    """Run a study, or what is left of it, and write its report."""
    from heatgrad.cli import progress, tables, verdicts
    from heatgrad.core.errors import RunError
    from heatgrad.report import write_report
    from heatgrad.study.run import default_workers, load_study, run_study
    from heatgrad.study.store import shown_place

    if Path(spec).is_file():  # parts of the user's own lie beside their spec
        sys.path.insert(0, str(Path(spec).resolve().parent))
    study = load_study(spec, tasks=task or (), seeds=seeds, device=device, small=small)
    folder = out if out is not None else Path("runs") / study.name
    place = folder if store is None else store
    if dry_run:
        count = default_workers(study) if workers is None else workers
        tables.print_estimate(study, place, workers=count)
        return
    tables.print_study(study, place)
    try:
        with progress.StudyProgress(study, place) as shown:
            results = run_study(
                study,
                out=folder,
                store=store,
                workers=workers,
                ray=ray,
                on_progress=shown.update,
                on_measured=shown.measured,
            )
    except KeyboardInterrupt:
        raise RunError(
            f"interrupted; finished trials are stored in '{shown_place(place)}', "
            f"the same command resumes"
        ) from None
    verdicts.print_verdicts(results)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    write_report(results, page)
    typer.echo(f"{page}")


@app.command()
def presets() -> None:
    """List the studies that come with heatgrad."""
    from heatgrad.cli import tables

    tables.print_presets()


@app.command()
def show(
    preset: Annotated[str, typer.Argument(help="Name of a preset.")],
    small: Small = False,
) -> None:
    """Print the TOML of a preset, to read it or to start a study of your own from it."""
    from heatgrad.study.presets import preset_file

    typer.echo(preset_file(preset, small=small).read_text(encoding="utf-8"), nl=False)


@app.command()
def status(place: Place) -> None:
    """Show how much of a study is done."""
    from heatgrad.cli import tables
    from heatgrad.study import Results

    tables.print_status(Results.load(place), place)


@app.command()
def watch(
    place: Place,
    once: Annotated[bool, typer.Option("--once", help="Show it once and stop.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Show a running study live: what is done, how fast, and when it will end."""
    from heatgrad.cli.console import text_console
    from heatgrad.cli.watch import watch_study

    watch_study(place, text_console(), once=once, every=every)


@app.command()
def verdict(place: Place) -> None:
    """Print the verdicts of a study."""
    from heatgrad.cli import verdicts
    from heatgrad.study import Results

    verdicts.print_verdicts(Results.load(place))


@app.command()
def report(
    place: Place,
    out: Annotated[
        Path | None, typer.Option(help="The page to write; default report.html in the folder.")
    ] = None,
) -> None:
    """Write the page of a study: one HTML file that needs nothing else."""
    from heatgrad.report import write_report
    from heatgrad.study import Results

    results = Results.load(place)
    page = out if out is not None else _folder(place, results.study.name) / "report.html"
    write_report(results, page)
    typer.echo(f"{page}")


@app.command()
def export(
    place: Place,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="What to write; default trials.csv, trials.parquet, tensorboard or mlflow.db in "
            "the folder. For mlflow also a server's address.",
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option("--format", help="csv, parquet, tensorboard or mlflow.")
    ] = "csv",
) -> None:
    """Write the curves for other programs: by default one line per trial and epoch, as CSV."""
    from heatgrad.core.errors import SpecError, StoreError
    from heatgrad.core.lookup import nearest
    from heatgrad.study import Results
    from heatgrad.study.exports import EXPORTS

    if kind not in EXPORTS:
        raise SpecError(f"no format '{kind}'; {nearest(kind, EXPORTS)}")
    chosen = EXPORTS[kind]
    results = Results.load(place)
    target = out if out is not None else str(_folder(place, results.study.name) / chosen.place)
    try:
        count = chosen.write(results, target)
    except FileExistsError:
        raise StoreError(f"'{target}' is there already; give another with --out") from None
    except OSError as error:
        raise StoreError(f"cannot write '{target}': {error.strerror}") from error
    typer.echo(f"{target} ({count:,} {chosen.counted})")


@app.command()
def thin(
    place: Place,
    out: Annotated[Path, typer.Option(help="Folder of the copy; it must be new or empty.")],
) -> None:
    """Copy a study to be kept: the last epoch of each trial, without weights.

    Where the metric is averaged over the last epochs, those are kept. Verdicts, tables and maps are
    those of the whole study; curves are points. Write its page from the whole one.
    """
    from heatgrad.study.thin import thin as copy

    count = copy(place, out)
    typer.echo(f"{out} ({count:,} trials)")


@app.command()
def calibrate(
    studies: Annotated[int, typer.Option(help="Comparisons of each kind.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Pairs in each comparison.")] = 10,
    shape: Annotated[
        list[str] | None, typer.Option(help="Only this shape of noise; may be repeated.")
    ] = None,
    entropy: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> None:
    """Judge comparisons whose truth is known: are verdicts wrong as rarely as promised?"""
    from heatgrad.cli import calibration
    from heatgrad.core.errors import RunError
    from heatgrad.study.calibrate import SHAPES
    from heatgrad.study.calibrate import calibrate as count

    found = count(studies=studies, seeds=seeds, shapes=shape or tuple(SHAPES), entropy=entropy)
    calibration.print_calibration(found)
    faults = [fault for result in found for fault in result.faults()]
    if faults:
        raise RunError(f"not as promised: {'; '.join(faults)}")


def _folder(place: str, name: str) -> Path:
    """Return the folder of what is made from a study: its own, or that of its name."""
    from heatgrad.study.store import is_url

    if not is_url(place):
        return Path(place)
    folder = Path("runs") / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
