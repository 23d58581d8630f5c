"""The network that a training has left in its folder, ready to be used."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from heatgrad.core.environment import check_device
from heatgrad.core.errors import SpecError, StoreError
from heatgrad.data import Dataset, Pixels
from heatgrad.study.components import Component, build, find
from heatgrad.study.networks import ALL_NETWORKS
from heatgrad.study.train_spec import TrainSpec
from heatgrad.study.trial import load_data

__all__ = ["SPEC_FILE", "TrainedModel", "described", "trained_model"]

SPEC_FILE = "spec.json"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained network, and what it was trained on.

    Attributes:
        model: The network with its trained weights, in evaluation mode.
        spec: The training, its parts written out to the last option.
        input_shape: Shape of one example.
        num_classes: Number of classes of the labels.
        pixels: How its inputs were made from pixels, or None where they are no images.
        weights: The file that the weights were read from.
    """

    model: nn.Module
    spec: TrainSpec
    input_shape: tuple[int, ...]
    num_classes: int
    pixels: Pixels | None
    weights: Path

    def load_data(self) -> Dataset:
        """Return the data set that it was trained on, of the same seed.

        Raises:
            DataError: If its files are missing or damaged.
        """
        return load_data(self.spec.trial())


def trained_model(folder: str | Path, *, device: str = "cpu") -> TrainedModel:
    """Return the network that `heatgrad train` has left in a folder; no data are read.

    Where the training is under way, or was interrupted, it is the network of the last epoch that
    is done; of a training with an average of weights, the average.

    Args:
        folder: A folder of results, as `runs/mnist-diffusion`.
        device: Where the network is put, `"cpu"` or `"cuda"`.

    Raises:
        SpecError: If a part of the training is not known (any more).
        StoreError: If the folder is none of a training, or its files are missing or damaged.
    """
    check_device(device)
    folder = Path(folder)
    about = _read(folder / SPEC_FILE)
    path, weights = _weights(folder)
    try:
        spec = TrainSpec.from_dict(about["spec"], source=str(folder / SPEC_FILE))
        shape, num_classes = tuple(about["input_shape"]), about["num_classes"]
        kept = about["pixels"]
        pixels = None if kept is None else Pixels(tuple(kept["mean"]), tuple(kept["std"]))
        component = Component.model_validate(about["model"])
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged(folder / SPEC_FILE, error) from error
    where = f"'{folder / SPEC_FILE}': model"
    target = find(component, ALL_NETWORKS, "model", where)
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = build(target, where, shape, num_classes, **component.options)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StoreError(
            f"'{path}' holds the weights of another network than '{folder / SPEC_FILE}' describes "
            f"({' '.join(str(error).split())[:200]})"
        ) from error
    return TrainedModel(model.to(device).eval(), spec, shape, num_classes, pixels, path)


def described(spec: TrainSpec, model: nn.Module, dataset: Dataset) -> dict[str, Any]:
    """Return what a folder keeps of a training beside its weights: plain values.

    A network that reads files as it is built says by its attribute `rebuilt_with` which options
    rebuild it without them; its weights hold what they held.
    """
    resolved = spec.resolved()
    options = resolved.model.options | getattr(model, "rebuilt_with", {})
    pixels = dataset.pixels
    return {
        "spec": resolved.model_dump(mode="json"),
        "model": {"kind": resolved.model.kind, "options": options},
        "input_shape": list(dataset.input_shape),
        "num_classes": dataset.num_classes,
        "pixels": None if pixels is None else {"mean": pixels.mean, "std": pixels.std},
    }


def _read(path: Path) -> Mapping[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(
            f"no '{path}'; give the folder of a training, as heatgrad train writes it (runs/<name>)"
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(about, dict):
        raise _damaged(path, TypeError(f"it must hold an object, got a {type(about).__name__}"))
    return about


def _weights(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Return the final weights, else those of the last epoch, with the file they lie in."""
    path = folder / "weights.safetensors"
    if path.exists():
        return path, _load(path)
    epochs = sorted((folder / "checkpoints").glob("epoch-" + 6 * "[0-9]"))
    if not epochs:
        raise StoreError(f"no weights in '{folder}'; train for one epoch at least")
    path, state = epochs[-1] / "weights.safetensors", epochs[-1] / "state.pt"
    try:
        kept = torch.load(state, weights_only=True, map_location="cpu").get("average")
    except Exception as error:  # torch.load raises many kinds
        raise _damaged(state, error) from error
    if kept is None:
        return path, _load(path)
    prefix = "module."
    average = {k.removeprefix(prefix): v for k, v in kept.items() if k.startswith(prefix)}
    return state, average


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    return weights


def _damaged(path: Path, error: Exception) -> StoreError | SpecError:
    if isinstance(error, SpecError):
        return error
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return StoreError(f"'{path}' is damaged ({reason}); train again into another folder")
