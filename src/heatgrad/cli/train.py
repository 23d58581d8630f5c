"""`heatgrad train`: one training, that goes on where it was left."""

import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from heatgrad.training import EpochRecord, Training

__all__ = ["train"]


def train(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A TOML file, or a preset's name.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default runs/<name>.")
    ] = None,
) -> None:
    """Train one network, with a checkpoint after every epoch, or what is left of it."""
    from heatgrad.core.errors import RunError
    from heatgrad.study import TrainSpec, run_training
    from heatgrad.study.presets import training_file

    path = training_file(spec)
    sys.path.insert(0, str(path.resolve().parent))  # parts of the user's own lie beside their spec
    training = TrainSpec.from_toml(path)
    folder = out if out is not None else Path("runs") / training.name
    with _Shown() as shown:
        try:
            trained = run_training(
                training,
                out=folder,
                on_start=shown.start,
                on_step=shown.step,
                on_epoch=shown.epoch,
            )
        except KeyboardInterrupt:
            raise RunError(
                f"interrupted; the epochs that are done are kept in '{folder}', the same command "
                f"goes on"
            ) from None
    last = trained.records[-1]
    if _is_first():
        score = _accuracy(last) or f"test loss {last.test_loss:.4f}"
        typer.echo(f"{trained.weights} (epoch {last.epoch}, {score})")


def _is_first() -> bool:
    """Whether this is the first, or the only, of the processes that train together."""
    return os.environ.get("RANK", "0") == "0"


def _accuracy(record: "EpochRecord", *, after: str = "") -> str:
    """Return the words for an accuracy; none where the loss knows none."""
    if math.isnan(record.test_accuracy):
        return ""
    return f"test accuracy {100 * record.test_accuracy:.2f} %{after}"


class _Shown:
    """A bar of the epoch's examples on a terminal, and a line an epoch."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(
            stderr=True, markup=False, emoji=False, highlight=False, quiet=not _is_first()
        )
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._epochs = self._seen = 0
        self._began = time.monotonic()

    def __enter__(self) -> "_Shown":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def start(self, training: "Training") -> None:
        self._epochs = training.epochs
        count = len(training.dataset.y_train)
        size = sum(p.numel() for p in training.model.parameters())
        self._console.print(
            f"{count:,} training and {len(training.dataset.y_test):,} test examples, "
            f"{size:,} parameters, {training.epochs} epochs"
        )
        if training.num_done == training.epochs:
            self._console.print("finished before; another training needs another folder")
        elif training.num_done:
            self._console.print(f"going on after epoch {training.num_done}")
        self._task = self._bar.add_task("", total=count, rate="")
        self._name(training.num_done + 1)

    def step(self, examples: int) -> None:
        self._seen += examples
        rate = self._seen / max(1e-9, time.monotonic() - self._began)
        self._bar.update(self._task, advance=examples, rate=f"{rate:,.0f} examples/s")

    def epoch(self, record: "EpochRecord") -> None:
        rate = self._seen / max(1e-9, record.seconds)
        self._console.print(
            f"epoch {record.epoch}/{self._epochs}  lr {record.lr:.4g}  loss "
            f"{record.train_loss:.4f}  test loss {record.test_loss:.4f}  "
            f"{_accuracy(record, after='  ')}{rate:,.0f} examples/s",
            soft_wrap=True,
        )
        self._name(record.epoch + 1)

    def _name(self, epoch: int) -> None:
        self._seen, self._began = 0, time.monotonic()
        shown = min(epoch, self._epochs)
        self._bar.reset(self._task, description=f"epoch {shown}/{self._epochs}", rate="")
