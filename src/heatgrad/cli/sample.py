"""`heatgrad sample`: images of a trained denoiser, with a page that says how good they are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from heatgrad.study.denoisers import TrainedDenoiser
    from heatgrad.study.sample_run import Sampled
    from heatgrad.study.sampling import SampleSpec

__all__ = ["sample"]

_GUIDANCE = "w of (1 + w) D(told the class) - w D(not told); 0 is none."


def sample(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder of heatgrad train, or its weights.")
    ],
    n: Annotated[int, typer.Option(help="Number of samples.")] = 64,
    label: Annotated[
        str | None,
        typer.Option(help="A class, all or none; default all, where there are classes."),
    ] = None,
    guidance: Annotated[float, typer.Option(help=_GUIDANCE)] = 0.0,
    sampler: Annotated[str, typer.Option(help="ddim, ddpm or heun.")] = "ddim",
    steps: Annotated[int, typer.Option(help="Steps from noise to image.")] = 50,
    eta: Annotated[float, typer.Option(help="Of ddim: share of fresh noise, 0 to 1.")] = 0.0,
    levels: Annotated[
        str | None,
        typer.Option(
            help="karras, cosine, linear or trained; default karras for heun, else the chain that "
            "the network was trained on, or cosine."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides every sample.")] = 0,
    batch: Annotated[
        int, typer.Option(help="Samples a call of the network; changes no sample.")
    ] = 128,
    quality: Annotated[bool, typer.Option(help="Measure how good the samples are.")] = True,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default RUN/samples/<options>.")
    ] = None,
) -> None:
    """Draw samples of a trained denoiser and show them, with their quality, on one page."""
    from heatgrad.study.denoisers import trained_denoiser
    from heatgrad.study.sample_run import default_folder
    from heatgrad.study.sampling import SampleSpec

    denoiser = trained_denoiser(run, device=_device(device))
    spec = SampleSpec.checked(
        num_classes=denoiser.num_classes,
        has_chain=denoiser.chain is not None,
        n=n,
        label=label,
        guidance=guidance,
        sampler=sampler,
        steps=steps,
        eta=eta,
        levels=levels,
        seed=seed,
    )
    folder = out if out is not None else default_folder(denoiser, spec)
    _answer(denoiser, spec, folder, quality=quality, batch_size=batch)


def _device(name: str) -> Literal["cpu", "cuda"]:
    from heatgrad.core.errors import SpecError
    from heatgrad.core.lookup import nearest

    if name == "cuda":
        return "cuda"
    if name != "cpu":
        raise SpecError(f"unknown device '{name}'; {nearest(name, ('cpu', 'cuda'))}")
    return "cpu"


def _answer(
    denoiser: "TrainedDenoiser",
    spec: "SampleSpec",
    folder: Path,
    *,
    quality: bool,
    batch_size: int,
) -> None:
    """Draw the samples, write the page and the picture, and print what was found."""
    from heatgrad.cli.steps import StepsShown
    from heatgrad.core.errors import RunError
    from heatgrad.report.writing import check_replaceable
    from heatgrad.study.sample_run import run_sampling

    check_replaceable(folder / "report.html")
    try:
        with StepsShown() as shown:
            found = run_sampling(
                denoiser,
                spec,
                folder,
                quality=quality,
                batch_size=batch_size,
                tell=shown.tell,
                progress=shown.progress,
            )
    except KeyboardInterrupt:
        raise RunError(
            "interrupted; the same command goes on after the last 128 samples that are done"
        ) from None
    _show(found, folder)


def _show(found: "Sampled", folder: Path) -> None:
    from heatgrad.report.findings import write_findings
    from heatgrad.report.samples import samples_findings, write_png

    page = samples_findings(found)
    write_png(found, folder / "samples.png")
    write_findings(page, folder / "report.html")
    for sentence in (*page.warnings, *page.answer):
        typer.echo(sentence)
    typer.echo(f"{folder / 'report.html'}")
