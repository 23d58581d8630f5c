"""Training a prior, and finding one that was trained before."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heatgrad.core.environment import check_device, describe_environment
from heatgrad.core.errors import SpecError, StoreError
from heatgrad.core.steps import Progress, Tell
from heatgrad.data import Dataset
from heatgrad.diffusion import NETWORKS, EDMLoss
from heatgrad.inverse import SpectralLatent
from heatgrad.solving.base import GaussianBased, fitted_axes
from heatgrad.solving.field_network import FieldNetwork
from heatgrad.solving.latents import AnyLatent, fitted_latent, latent_of, latent_parts, left_out
from heatgrad.solving.objective import ModeWeightedLoss, mode_weights
from heatgrad.solving.pairs import cache_folder, drawn_pairs
from heatgrad.solving.prior_spec import PriorSpec
from heatgrad.solving.problems import Problem, named_problem
from heatgrad.solving.symmetries import copies_of, num_copies_of
from heatgrad.training import (
    SCHEDULES,
    Checkpoints,
    Objective,
    Recipe,
    Training,
    initialised,
    weights_of,
)

__all__ = ["TrainedPrior", "load_prior", "prior_folder", "train_prior"]


_ABOUT, _FIT, _WEIGHTS = "prior.json", "fit.safetensors", "network.safetensors"
_HELD_OUT = 0.05  # of the pairs, for the loss that is shown
_LOG_MEAN = -0.5  # of the levels, for latents of deviation 1: EDM's -1.2 for 0.5
_LOG_STD = 1.4
_AT_ONCE = 500  # fields that are encoded together


@dataclass(frozen=True, eq=False)
class TrainedPrior:
    """A prior that was learned from solutions.

    Attributes:
        spec: What it was trained by.
        problem: Whose law it stands for.
        latent: Its coordinates.
        model: The denoiser, in evaluation mode.
        mean: Mean of the latents, shape (numbers,); None on the grid.
        variances: Of the latents along their principal axes; None on the grid.
        axes: These axes, in columns; None on the grid.
        left_out: Root mean square of what the latent leaves out of each field [field].
        about: Losses, epochs, seconds, parameters, machine.
    """

    spec: PriorSpec
    problem: Problem
    latent: AnyLatent
    model: nn.Module
    mean: Tensor | None
    variances: Tensor | None
    axes: Tensor | None
    left_out: Mapping[str, float]
    about: Mapping[str, Any]


def prior_folder(spec: PriorSpec) -> Path:
    """Return where the prior of a specification is kept.

    Example:
        >>> from heatgrad.solving import prior_spec
        >>> prior_folder(prior_spec("darcy")).name.startswith("darcy-")
        True
    """
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in spec.problem)
    return cache_folder() / "priors" / f"{name}-{spec.id[:12]}"


def load_prior(spec: PriorSpec, problem: Problem | None = None) -> TrainedPrior:
    """Return a prior that was trained before.

    Args:
        spec: What it was trained by.
        problem: The problem, if it is made already.

    Raises:
        SpecError: If it was not trained, with the command that trains it.
        StoreError: If its files are damaged.
    """
    folder = prior_folder(spec)
    if not (folder / _ABOUT).exists():
        raise SpecError(
            f"'{spec.problem}' needs a trained prior, and there is none in '{folder}'; train it "
            f"first: heatgrad solve {spec.problem} --train"
        )
    problem = named_problem(spec.problem, spec.options) if problem is None else problem
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        fit, weights = load_file(folder / _FIT), load_file(folder / _WEIGHTS)
        latent = latent_of(spec, problem, fit)
        model = _model(spec, latent, fit)
        model.load_state_dict(weights)
        left = {name: float(value) for name, value in about["left_out"].items()}
    except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as error:
        raise StoreError(
            f"the prior in '{folder}' is damaged ({' '.join(str(error).split())}); remove the "
            f"folder and train it again"
        ) from error
    mean, variances, axes = (fit.get(f"gaussian.{k}") for k in ("mean", "variances", "axes"))
    return TrainedPrior(spec, problem, latent, model.eval(), mean, variances, axes, left, about)


def train_prior(
    spec: PriorSpec,
    *,
    device: str = "cpu",
    tell: Tell = lambda what: None,
    progress: Progress | None = None,
) -> TrainedPrior:
    """Train a prior, or what is left of it, or return it if it was trained before.

    Everything lies in `prior_folder(spec)`: pairs chunk by chunk beside it, then the fit of the
    latent, then a checkpoint after every epoch.

    Args:
        spec: What is trained.
        device: Where, `"cpu"` or `"cuda"`; the prior that is returned is on the CPU.
        tell: Called with the name of each part that begins.
        progress: Called within a part with what is done and all.

    Raises:
        SpecError: If the problem or an option is unknown or does not fit.
        StoreError: If files cannot be written, or are damaged.
        RunError: If a checkpoint cannot be written.
    """
    folder = prior_folder(spec)
    if (folder / _ABOUT).exists():
        return load_prior(spec)
    if device not in ("cpu", "cuda"):
        raise SpecError(f"device must be cpu or cuda, got {device!r}")
    check_device(device)
    problem = named_problem(spec.problem, spec.options)
    started = time.monotonic()
    tell(f"solutions drawn from the law of {spec.problem}")
    fields = drawn_pairs(spec, problem, device=device, progress=progress)
    tell("latents")
    latent = fitted_latent(spec, problem, fields)
    z = _latents(spec, latent, fields, device)
    fit = latent_parts(latent)
    if spec.space == "spectral":
        is_held = _held_out(z, spec)
        mean, variances, axes = (x.cpu() for x in fitted_axes(z[~is_held], z[is_held]))
        fit |= {"gaussian.mean": mean, "gaussian.variances": variances}
        fit["gaussian.axes"] = axes.float()
    left = left_out(latent, fields)
    prepared = time.monotonic() - started
    model = initialised(lambda: _model(spec, latent, fit), seed=spec.seed).to(device)
    about = _trained(spec, latent, model, z, folder, tell, progress)
    sizes = {k: float(v.double().square().mean().sqrt()) for k, v in fields.items()}
    about |= {
        "left_out": left,
        "sizes": sizes,
        "numbers": latent.num_numbers,
        "seconds_prepared": prepared,
    }
    _save(folder, spec, model, fit, about)
    return load_prior(spec, problem)


def _latents(
    spec: PriorSpec, latent: AnyLatent, fields: Mapping[str, Tensor], device: str
) -> Tensor:
    """Return the latents of all copies, copy after copy, float32."""
    count = num_copies_of(spec.problem, spec.copies)
    copies = []
    for copy in range(count):
        for part in zip(*(torch.split(f, _AT_ONCE) for f in fields.values()), strict=True):
            some = {k: v.to(device).double() for k, v in zip(fields, part, strict=True)}
            turned = copies_of(spec.problem, some, copy, count)
            copies.append(latent.encode(turned).float())
    return torch.cat(copies)


def _model(spec: PriorSpec, latent: AnyLatent, fit: Mapping[str, Tensor]) -> nn.Module:
    """Return the network of a specification, untrained."""
    on_fields = spec.network.acts_on == "fields"
    shape = (len(latent.names), *latent.grid.shape) if on_fields else latent.shape
    try:
        network: nn.Module = NETWORKS[spec.network.kind](shape, None, **spec.network.options)
    except (TypeError, ValueError) as error:
        raise SpecError(f"network: {error}") from error
    if isinstance(latent, SpectralLatent) and on_fields:
        network = FieldNetwork(network, latent)
    if spec.base == "none":
        return network
    parts = (fit[f"gaussian.{name}"] for name in ("mean", "variances", "axes"))
    return GaussianBased(network, *parts)


def _trained(
    spec: PriorSpec,
    latent: AnyLatent,
    model: nn.Module,
    z: Tensor,
    folder: Path,
    tell: Tell,
    progress: Progress | None,
) -> dict[str, Any]:
    """Train a model in place, from its last checkpoint, and say how it went."""
    data = _dataset(z, spec)
    epochs = _epochs(spec, _loss(spec, latent), model, data, folder)
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.lr)
    training = Training(
        model,
        optimizer,
        data,
        loss=_loss(spec, latent),
        epochs=epochs,
        batch_size=spec.batch_size,
        seed=spec.seed,
        scheduler=SCHEDULES["cosine"](optimizer, epochs),
        recipe=Recipe(average=spec.average, average_warmup=spec.average > 0),
    )
    checkpoints = Checkpoints(folder / "checkpoints", identity=spec.id)
    records = checkpoints.restore(training)
    size = sum(p.numel() for p in model.parameters())
    tell(f"network of {size:,} weights, {len(data.y_train):,} latents, {epochs} epochs")
    for record in training.records():
        records.append(record)
        checkpoints.save(training, records)
        if not record.is_finite:
            raise SpecError(
                f"the training diverged in epoch {record.epoch}; give a smaller lr than {spec.lr:g}"
            )
        tell(
            f"epoch {record.epoch}/{epochs}, loss {record.train_loss:.4f}, held out "
            f"{record.test_loss:.4f}, {record.seconds:.0f} s"
        )
        if progress is not None:
            progress(record.epoch, epochs)
    return {
        "epochs": epochs,
        "losses": [record.train_loss for record in records],
        "held_out": [record.test_loss for record in records],
        "seconds_trained": sum(record.seconds for record in records),
        "parameters": size,
    }


def _loss(spec: PriorSpec, latent: AnyLatent) -> Objective:
    """Return what is made small."""
    if spec.weighting > 0 and isinstance(latent, SpectralLatent):
        weights = mode_weights(latent, spec.weighting).float()
        return ModeWeightedLoss(weights, _LOG_MEAN, _LOG_STD)
    return EDMLoss(log_mean=_LOG_MEAN, log_std=_LOG_STD, drop_label=1.0)


def _dataset(z: Tensor, spec: PriorSpec) -> Dataset:
    """Return the latents as a data set, all copies of the last pairs held out."""
    is_held = _held_out(z, spec)
    train, test = z[~is_held], z[is_held]
    test = test[torch.linspace(0, len(test) - 1, min(len(test), 512)).long()]
    labels = [torch.zeros(len(part), dtype=torch.int64).to(z.device) for part in (train, test)]
    return Dataset.from_clean(
        x_train=train, y_train=labels[0], x_test=test, y_test=labels[1], num_classes=2
    )


def _held_out(z: Tensor, spec: PriorSpec) -> Tensor:
    """Return which latents are copies of the last pairs."""
    held = max(2, round(_HELD_OUT * spec.pairs))
    return torch.arange(len(z), device=z.device) % spec.pairs >= spec.pairs - held


def _epochs(spec: PriorSpec, loss: Objective, model: nn.Module, data: Dataset, folder: Path) -> int:
    """Return how many epochs there are; of a time, as many as fit it here, decided once."""
    if spec.epochs is not None:
        return spec.epochs
    assert spec.seconds is not None
    plan = folder / "plan.json"
    if plan.exists():
        return int(json.loads(plan.read_text(encoding="utf-8"))["epochs"])
    steps = -(-len(data.y_train) // spec.batch_size)
    epochs = max(1, round(spec.seconds / (steps * _seconds_a_step(spec, loss, model, data))))
    folder.mkdir(parents=True, exist_ok=True)
    plan.write_text(json.dumps({"epochs": epochs}), encoding="utf-8")
    return epochs


def _seconds_a_step(spec: PriorSpec, loss: Objective, model: nn.Module, data: Dataset) -> float:
    """Return the time of a step, by a few that leave no trace."""
    x, y = data.x_train[: spec.batch_size], data.y_train[: spec.batch_size]
    times = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(5):
            started = time.perf_counter()
            loss(model, x, y).backward()  # type: ignore[no-untyped-call]
            times.append(time.perf_counter() - started)
    for p in model.parameters():
        p.grad = None
    return 1.05 * sorted(times[1:])[1]  # with the optimizer's own share


def _save(
    folder: Path,
    spec: PriorSpec,
    model: nn.Module,
    fit: Mapping[str, Tensor],
    about: Mapping[str, Any],
) -> None:
    """Write a finished prior; the description last, which marks it whole."""
    words = {"spec": spec.model_dump(mode="json"), **about, "environment": describe_environment()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in fit.items()}, folder / _FIT)
        save_file(weights_of(model), folder / _WEIGHTS)
        fresh = folder / f"{_ABOUT}.part"
        fresh.write_text(json.dumps(words, indent=1), encoding="utf-8")
        fresh.replace(folder / _ABOUT)
    except OSError as error:
        raise StoreError(f"cannot write the prior '{folder}': {error.strerror}") from error
