"""Checkpoints of a training: whole or not there, whatever happens while they are written."""

import contextlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from heatgrad.core.environment import is_out_of_memory
from heatgrad.core.errors import HeatgradWarning, RunError, StoreError
from heatgrad.training.loop import Training
from heatgrad.training.processes import cut_like, whole
from heatgrad.training.record import EpochRecord

__all__ = ["Checkpoints", "weights_of"]

_NAME = re.compile(r"epoch-(\d{6})")
_WEIGHTS, _STATE, _ABOUT = "weights.safetensors", "state.pt", "about.json"


class Checkpoints:
    """The checkpoints of one training, a folder for each of its last epochs.

    A folder `epoch-000012` holds the network (`weights.safetensors`), the state of optimizer,
    schedules and averages (`state.pt`) and the records so far (`about.json`). It is written under
    another name, and takes its own when everything lies on the disk; so the latest is always whole.

    Args:
        folder: Where they lie; made when the first is written.
        identity: A text that says what is trained, as the hash of its specification: checkpoints
            of anything else are refused.
        keep: How many are kept, at least 1.

    Raises:
        ValueError: If `keep` is below 1.
    """

    def __init__(self, folder: str | Path, *, identity: str, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.folder, self.identity, self.keep = Path(folder), identity, keep

    @property
    def latest(self) -> Path | None:
        """The folder of the last epoch that was written whole, or None."""
        found = self._folders()
        return found[-1] if found else None

    def save(self, training: Training, records: Sequence[EpochRecord]) -> Path:
        """Write a checkpoint, and remove those that are no longer kept.

        Of several processes that train together all call it, and the first writes.

        Args:
            training: Between two epochs.
            records: Of all epochs so far.

        Returns:
            Its folder.

        Raises:
            RunError: If it cannot be written; the one before is still there.
        """
        place = self.folder / f"epoch-{training.num_done:06d}"
        unfinished = place.with_suffix(".unfinished")
        weights, state = weights_of(training.model), training.state_dict()
        if training.processes.rank > 0:
            training.processes.wait()
            return place
        about = {
            "identity": self.identity,
            "torch": torch.__version__,
            "records": [asdict(record) for record in records],
        }
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            save_file(weights, unfinished / _WEIGHTS)
            torch.save(state, unfinished / _STATE)
            (unfinished / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
            # safetensors leaves a file that only its owner may read.
            (unfinished / _WEIGHTS).chmod((unfinished / _ABOUT).stat().st_mode)
            for name in (_WEIGHTS, _STATE, _ABOUT):
                _settle(unfinished / name)
            shutil.rmtree(place, ignore_errors=True)
            unfinished.rename(place)
            _settle(self.folder)
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            reason = " ".join(str(error).split())
            raise RunError(
                f"cannot write the checkpoint '{place}' ({reason}); free some space: the same "
                f"command goes on from {self._last_words()}"
            ) from error
        for old in self._folders()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)
        training.processes.wait()
        return place

    def restore(self, training: Training) -> list[EpochRecord]:
        """Put a training where the latest checkpoint was; where there is none, leave it.

        Warns if it was written under another version of PyTorch.

        Returns:
            The records of the epochs that are done.

        Raises:
            StoreError: If the checkpoint is that of another training or network, or damaged.
        """
        place = self.latest
        if place is None:
            return []
        about, weights, state = self._read(place)
        if about.get("identity") != self.identity:
            raise StoreError(
                f"'{place}' is a checkpoint of another training (its specification differs); give "
                f"another folder, or the specification that it was made with"
            )
        try:
            records = [EpochRecord(**record) for record in about["records"]]
        except (LookupError, TypeError) as error:
            raise self._damaged(place, error) from error
        try:
            training.model.load_state_dict(cut_like(weights, training.model.state_dict()))
            training.load_state_dict(state)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())
            raise StoreError(
                f"'{place}' is a checkpoint of another network or optimizer ({reason}); give "
                f"another folder"
            ) from error
        if training.processes.rank == 0 and about.get("torch") != torch.__version__:
            warnings.warn(
                f"'{place}' was written by PyTorch {about.get('torch')}, and this is "
                f"{torch.__version__}: the training goes on, but may end with other bits; install "
                f"that version if they matter",
                HeatgradWarning,
                stacklevel=2,
            )
        return records

    def _folders(self) -> list[Path]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(p for p in self.folder.iterdir() if _NAME.fullmatch(p.name))
        return []

    def _last_words(self) -> str:
        return "the start" if self.latest is None else f"'{self.latest}'"

    def _read(self, place: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, Any]]:
        try:
            about = json.loads((place / _ABOUT).read_text(encoding="utf-8"))
            weights = load_file(place / _WEIGHTS)
            state = torch.load(place / _STATE, weights_only=True, map_location="cpu")
            if not isinstance(about, dict):
                raise TypeError(f"{_ABOUT} must hold an object, got a {type(about).__name__}")
        except Exception as error:  # torch.load raises many kinds
            if is_out_of_memory(error):
                raise
            raise self._damaged(place, error) from error
        return about, weights, state

    def _damaged(self, place: Path, error: Exception) -> StoreError:
        """Return what is said of a checkpoint that cannot be read."""
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        before = [f"'{folder}'" for folder in self._folders() if folder < place]
        return StoreError(
            f"the checkpoint '{place}' is damaged ({reason}); remove it: the same command goes on "
            f"from {before[-1] if before else 'the start'}"
        )


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and buffers, each in memory of its own (tied ones twice), on the CPU."""
    return {
        name: whole(value.detach()).cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
        if isinstance(value, torch.Tensor)
    }


def _settle(path: Path) -> None:
    """Wait until a file, or the names in a folder, lie on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
