"""Networks to be measured: those of a study, or those whose weights lie in files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import lookup, nearest
from heatgrad.landscape import DataLoss
from heatgrad.study import Results
from heatgrad.study.components import build
from heatgrad.study.geometry import loss_on, trained_network
from heatgrad.study.store import Store
from heatgrad.study.trial import Trial
from heatgrad.training import LOSSES

__all__ = ["Networks", "of_files", "of_study"]


@dataclass(frozen=True)
class Networks:
    """Networks with one loss.

    Attributes:
        by_name: The networks, in evaluation mode.
        loss: Their loss.
        title: What they are, for a heading.
        note: What the loss is of.
    """

    by_name: dict[str, nn.Module]
    loss: DataLoss
    title: str
    note: str


def of_study(
    place: str,
    *,
    task: str | None,
    arms: Sequence[str],
    regime: str,
    block: int,
    examples: int,
) -> Networks:
    """Return the trained networks of one block of a study, by arm.

    Args:
        place: Folder or URL of the study.
        task: Name of the task; the study's first, if None.
        arms: Names of arms; all, if there is none.
        regime: How options were chosen.
        block: Number of the block.
        examples: Training examples that the loss is taken over, at most.

    Raises:
        SpecError: If a name is not in the study, or no run of the block is finished.
        StoreError: If there is no study, or it holds no weights.
    """
    results = Results.load(place)
    study = results.study
    chosen = task if task is not None else next(iter(study.tasks))
    for name, known, what in (
        (chosen, study.tasks, "task"),
        (regime, study.regimes, "regime"),
        *((arm, study.arms, "arm") for arm in arms),
    ):
        if name not in known:
            raise SpecError(f"no {what} '{name}' in '{place}'; {nearest(name, known)}")
    wanted = [r for arm in arms or study.arms for r in results.select(chosen, arm, regime)]
    trials = [
        Trial.model_validate(r.spec) for r in wanted if r.block == block and r.status == "finished"
    ]
    if not trials:
        raise SpecError(f"no finished run of block {block} on '{chosen}', {regime}, in '{place}'")
    store = Store.open(place)
    try:
        networks = {trial.arm_name: trained_network(trial, store) for trial in trials}
    finally:
        store.close()
    objective = loss_on(trials[0], "train", examples)
    measured = f"{trials[0].loss.kind} on {objective.num_examples:,} "
    note = f"{chosen}, {regime}, block {block}; {measured}"
    return Networks(networks, objective, study.title or study.name, note + "training examples.")


def of_files(places: Sequence[str], model: str | None, data: str | None, loss: str) -> Networks:
    """Return networks with the weights of some files, by the names of the files.

    Args:
        places: The files, of `torch.save` or of safetensors.
        model: Import path of what makes the network.
        data: Import path of what gives inputs and labels, or batches of both.
        loss: A name of `heatgrad.training.LOSSES`, or an import path.

    Raises:
        SpecError: If something cannot be imported, read, or made to fit.
    """
    if model is None or data is None:
        missing = "--model" if model is None else "--data"
        raise SpecError(
            f"files of weights need --model and --data as 'package.module:name', got no {missing}"
        )
    if len(set(places)) < len(places):
        raise SpecError(f"files of weights must be different ones, got {', '.join(places)}")
    make, load = _imported(model, "--model"), _imported(data, "--data")
    criterion = lookup(loss, LOSSES, "loss")
    names = [Path(place).stem for place in places]
    if len(set(names)) < len(names):
        names = list(places)
    networks = {
        name: _with_weights(build(make, "--model"), place)
        for name, place in zip(names, places, strict=True)
    }
    try:
        objective = DataLoss(criterion, build(load, "--data"))
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"--data must give inputs and labels, or batches of both: {error}"
        ) from error
    for name, network in networks.items():
        _check_fits(name, network, objective)
    note = f"{loss} on {objective.num_examples:,} examples."
    return Networks(networks, objective, ", ".join(names), note)


def _imported(path: str, option: str) -> Any:
    if ":" not in path:
        raise SpecError(f"{option} must be 'package.module:name', got '{path}'")
    return lookup(path, {}, option)


@torch.no_grad()
def _check_fits(name: str, network: nn.Module, loss: DataLoss) -> None:
    """Take one batch through a network and the loss."""
    x, y = next(loss.batches())
    try:
        loss.criterion(network(x), y)
    except Exception as error:  # whatever a network of the user's own may raise
        reason = " ".join(str(error).split()) or type(error).__name__
        shapes = f"inputs {tuple(x.shape)}, labels {tuple(y.shape)} of {y.dtype}"
        raise SpecError(
            f"the network, the data and the loss must go together, got {shapes} for {name}: "
            f"{reason}"
        ) from error


def _with_weights(network: nn.Module, place: str) -> nn.Module:

    state = _state_in(place)
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        hint = "; take the prefix 'module.' off its names" if "module." in reason else ""
        raise SpecError(
            f"the weights in '{place}' do not fit the network: {reason}{hint}"
        ) from error
    return network.eval()


def _state_in(place: str) -> dict[str, Any]:
    """Return the state dict in a file of PyTorch or safetensors."""
    if not Path(place).is_file():
        raise SpecError(f"no study and no file of weights '{place}'")
    try:
        if Path(place).suffix == ".safetensors":
            return dict(load_file(place))
        found = torch.load(place, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        reason = type(error).__name__
        raise SpecError(
            f"cannot read '{place}' as weights: {reason}; save a state_dict with torch.save"
        ) from error
    for state in _states_in(found):
        return state
    raise SpecError(f"'{place}' holds no state_dict; save one with torch.save(model.state_dict())")


def _states_in(found: Any) -> Iterator[dict[str, Any]]:
    """Yield what may be a state dict: the file itself, or a part of a checkpoint."""
    parts = ("model", "state_dict", "model_state_dict", "model_state")
    inner = [found.get(part) for part in parts] if isinstance(found, dict) else []
    for state in (found, *inner):
        if isinstance(state, dict) and any(isinstance(v, torch.Tensor) for v in state.values()):
            yield state
