"""One training, kept in a folder, that goes on where it was left."""

import contextlib
import csv
import io
import json
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from heatgrad.core.environment import check_device, is_out_of_memory
from heatgrad.core.errors import HeatgradError, RunError, SpecError, StoreError
from heatgrad.core.random import own_random_state
from heatgrad.study.components import build
from heatgrad.study.presets import training_file
from heatgrad.study.train_spec import TrainSpec
from heatgrad.study.trained import SPEC_FILE, described
from heatgrad.study.trial import Trial, load_data, make_training
from heatgrad.training import (
    Checkpoints,
    EpochRecord,
    Training,
    is_objective,
    joined,
    weights_of,
)

__all__ = ["Trained", "run_training"]


@dataclass(frozen=True)
class Trained:
    """A training that has come to its end.

    Attributes:
        folder: Where its files lie.
        records: One an epoch, those before an interruption included.
    """

    folder: Path
    records: tuple[EpochRecord, ...]

    @property
    def weights(self) -> Path:
        """The file of the final weights (safetensors)."""
        return self.folder / "weights.safetensors"


def run_training(
    spec: TrainSpec | str | Path,
    *,
    out: str | Path | None = None,
    on_start: Callable[[Training], None] = lambda training: None,
    on_step: Callable[[int], None] = lambda examples: None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> Trained:
    """Run one training, or what is left of it, with a checkpoint after every epoch.

    The folder holds `checkpoints`, `curves.csv` (a line an epoch), `spec.json` (what
    `trained_model` needs beside weights) and in the end `weights.safetensors`. A call after an
    interruption goes on after the last whole epoch, and ends with the same bits on the same
    machine. Several processes that `torchrun` has started train together: each takes a share of
    every batch.

    Args:
        spec: A training, the path of its TOML file, or the name of one that comes with the package.
        out: Folder of the results, made if needed; default `runs/<name>`.
        on_start: Called with the training before its first step, from where it goes on.
        on_step: Called after every step with the number of its examples.
        on_epoch: Called with the record of each epoch.

    Raises:
        SpecError: If the specification cannot be used.
        DataError: If data are missing or damaged.
        StoreError: If the folder holds another training or its results, or cannot be used.
        RunError: If the training diverges, memory runs out, or a file cannot be written.
    """
    if not isinstance(spec, TrainSpec):
        spec = TrainSpec.from_toml(training_file(spec))
    folder = Path(out) if out is not None else Path("runs") / spec.name
    check_device(spec.device)
    with joined(spec.device) as processes:
        trial = spec.trial()
        checkpoints = Checkpoints(folder / "checkpoints", identity=trial.key)
        if checkpoints.latest is None:
            _check_free(folder)
        with _fitting():
            training = make_training(trial, processes=processes, parallel=spec.parallel)
            _try_a_batch(training, trial)
            _make(folder)
            records = checkpoints.restore(training)
        about = described(spec, training.model, load_data(trial))
        on_start(training)
        try:
            for record in training.records(on_step=on_step):
                records.append(record)
                on_epoch(record)
                _keep(training, records, checkpoints, folder, about)
        except HeatgradError:
            raise
        except Exception as error:  # whatever a part of the user's own may raise
            raise _explained(error, trial, folder) from error
        trained = Trained(folder, tuple(records))
        weights = weights_of(training.model)
        if processes.rank == 0:
            with _writing(trained.weights) as path:
                save_file(weights, path)
        processes.wait()
    return trained


def _keep(
    training: Training,
    records: Sequence[EpochRecord],
    checkpoints: Checkpoints,
    folder: Path,
    about: dict[str, Any],
) -> None:
    """Write what an epoch has added, or say that it has diverged."""
    last = records[-1]
    if not last.is_finite:
        raise RunError(
            f"the training diverged in epoch {last.epoch} (training loss {last.train_loss:g}, test "
            f"loss {last.test_loss:g}); lower the learning rate and give another folder"
        )
    checkpoints.save(training, records)
    if training.processes.rank == 0:
        for name, text in (
            ("curves.csv", _table(records)),
            (SPEC_FILE, json.dumps(about, indent=1) + "\n"),
        ):
            with _writing(folder / name) as path:
                path.write_text(text, encoding="utf-8")


def _try_a_batch(training: Training, trial: Trial) -> None:
    """Call the network and its loss once, so that what does not fit is said before the start."""
    x, y = (part[:2] for part in (training.dataset.x_train, training.dataset.y_train))
    model = training.model.eval()
    if is_objective(training.loss):
        what = f"model '{trial.model.kind}' with loss '{trial.loss.kind}'"
        with torch.no_grad(), own_random_state(x.device):
            build(training.loss, f"{what} on inputs of shape {tuple(x.shape[1:])}", model, x, y)
        return
    if hasattr(model, "sigma_data"):
        raise SpecError(
            f"loss must be one of diffusion for model '{trial.model.kind}', got "
            f"'{trial.loss.kind}'; use loss = 'edm'"
        )
    with torch.no_grad():
        what = f"model '{trial.model.kind}' on inputs of shape {tuple(x.shape[1:])}"
        logits = build(model, what, x)
        build(training.loss, f"loss '{trial.loss.kind}'", logits, y)


def _check_free(folder: Path) -> None:
    """Refuse a folder with results that are not those of an interrupted training."""
    for name in ("weights.safetensors", "curves.csv", SPEC_FILE):
        if os.path.lexists(folder / name):
            raise StoreError(
                f"'{folder / name}' would be overwritten, and no checkpoint says that it is this "
                f"training's; give another folder with --out, or move the file away"
            )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder '{folder}' ({error.strerror}); give another with --out"
        ) from error


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    """Say what to do where the network and the data do not fit in memory."""
    try:
        yield
    except HeatgradError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(
            f"memory ran out before the first step ({_told(error)[:120]}); network and data must "
            f"fit: take fewer examples (num_train, num_test) or a smaller network"
        ) from error


def _explained(error: Exception, trial: Trial, folder: Path) -> RunError:
    """Return what is said of an error in the middle of a training, and keep its traceback."""
    words = _told(error)
    if is_out_of_memory(error):
        count = 2 * trial.recipe.accumulate
        return RunError(
            f"memory ran out with batches of {trial.batch_size} ({words[:120]}); take each batch "
            f"in parts (recipe.accumulate = {count}) or a smaller batch_size, and another folder"
        )
    place = folder / "error.txt"
    with contextlib.suppress(OSError):
        place.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return RunError(
        f"the training stopped with {type(error).__name__}: {words[:200]}; the epochs that are "
        f"done are kept, the traceback is in '{place}'"
    )


def _told(error: Exception) -> str:
    """Return the words of an error in one line, or its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _table(records: Sequence[EpochRecord]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(asdict(records[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in records)
    return text.getvalue()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Yield a place beside `path`, which takes its name once it is written whole."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch()
        mode = unfinished.stat().st_mode  # safetensors leaves a file that only its owner may read
        yield unfinished
        unfinished.chmod(mode)
        unfinished.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise RunError(
            f"cannot write '{path}' ({_told(error)}); free some space: the epochs that are done "
            f"are kept, and the same command goes on"
        ) from error
