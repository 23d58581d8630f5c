"""Samples of a trained denoiser, kept in a folder, that go on where they were left."""

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from heatgrad.core.environment import describe_environment, is_out_of_memory
from heatgrad.core.errors import RunError, SpecError, StoreError
from heatgrad.core.spec import digest
from heatgrad.core.steps import Steps
from heatgrad.data import Dataset, Pixels
from heatgrad.study.denoisers import TrainedDenoiser
from heatgrad.study.sampling import LOT, SampleSpec, draw_lot, labels_of, levels_for
from heatgrad.training.judge import kept_judge
from heatgrad.training.quality import Quality, quality_of

__all__ = ["Nearest", "Sampled", "default_folder", "run_sampling", "to_pixels"]

_JUDGE, _ARRAYS, _PICTURE = "classifier.safetensors", "samples.npz", "samples.png"
_PAIRS = 10


@dataclass(frozen=True, eq=False)
class Nearest:
    """The samples that are nearest to a training image, and those images.

    Attributes:
        samples: As pixels, the nearest first.
        images: The training image of each, as pixels.
    """

    samples: UInt8[Tensor, "pairs c h w"]
    images: UInt8[Tensor, "pairs c h w"]


@dataclass(frozen=True, eq=False)
class Sampled:
    """Samples, and what was measured of them.

    Attributes:
        about: What was asked of which network, by name, as plain values.
        images: The samples as pixels.
        labels: The class that each should have, or None where the network was told none.
        quality: What was measured; None where that was not asked for.
        nearest: Samples beside training images; None as `quality`.
        environment: Versions and machine.
    """

    about: Mapping[str, Any]
    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"] | None
    quality: Quality | None
    nearest: Nearest | None
    environment: Mapping[str, Any]


def run_sampling(
    denoiser: TrainedDenoiser,
    spec: SampleSpec,
    out: str | Path | None = None,
    *,
    quality: bool = True,
    batch_size: int = LOT,
    tell: Callable[[str], None] = lambda step: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sampled:
    """Draw samples, or what is left of them, measure them and keep them in a folder.

    The folder gets `samples.npz`: `samples` as the network makes them, `images` in pixels from 0
    to 255, `labels` (-1 where none was told), and `about`, a JSON text. It holds lots of samples as
    they are drawn: a call after an interruption goes on after the last whole one.

    Args:
        denoiser: Of `trained_denoiser`.
        spec: What is asked, of `SampleSpec.checked`.
        out: The folder, made if needed; default `default_folder`.
        quality: Whether samples are measured. A classifier is trained for that, once, and kept in
            the folder of the training.
        batch_size: Samples a call of the network, at least 1; it bounds the memory.
        tell: Called with the name of each step that begins.
        progress: Called with what is done of a step, and all of it.

    Raises:
        SpecError: If the network cannot do what is asked.
        DataError: If the data that samples are measured against are missing.
        StoreError: If the folder holds something else, or cannot be written.
        RunError: If samples are not finite, memory runs out or the disk is full.
    """
    if batch_size < 1:
        raise SpecError(f"--batch must be at least 1, got {batch_size}")
    _check_told(denoiser, spec)
    levels = _levels(denoiser, spec)
    about = _about(denoiser, spec, levels)
    folder = Path(out) if out is not None else default_folder(denoiser, spec)
    _check_free(folder)
    steps = Steps(folder / "steps", digest(about))
    labels = labels_of(spec, denoiser.num_classes)
    trained = denoiser.trained
    try:
        dataset = trained.load_data() if quality or trained.pixels is None else None
        samples = _drawn(denoiser, spec, labels, levels, steps, batch_size, tell, progress)
        pixels = trained.pixels or _pixels_of(dataset)
        images = to_pixels(samples, pixels)
        _keep(folder / _ARRAYS, samples, images, labels, about)
        found = near = None
        if quality and dataset is not None:
            tell("measuring, with a classifier that is trained once")
            found = _measured(denoiser, dataset, pixels.normalised(images), labels, spec, progress)
            near = _nearest(found, images, dataset, pixels)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(
            "memory ran out; take fewer samples a call (--batch), or fewer at all (--n)"
        ) from error
    environment = describe_environment(_device(denoiser.model).type)
    return Sampled(about, images, labels, found, near, environment)


def default_folder(denoiser: TrainedDenoiser, spec: SampleSpec) -> Path:
    """Return where samples lie that no other place was given for: in the folder of the training.

    Its name ends in the hash of the options and of the weights, so that no two share one.
    """
    levels = _levels(denoiser, spec)
    mark = digest(_about(denoiser, spec, levels))[:8]
    words = (str(spec.label), f"w{spec.guidance:g}", f"{spec.sampler}{spec.steps}", mark)
    return denoiser.folder / "samples" / "-".join(words)


def to_pixels(samples: Float[Tensor, "n c h w"], pixels: Pixels) -> UInt8[Tensor, "n c h w"]:
    """Return samples as 8-bit images; what lies beyond black or white is cut off.

    Args:
        samples: As a network makes them [data].
        pixels: How its data were made from pixels.

    Example:
        >>> gray = Pixels((0.5,), (0.25,))
        >>> to_pixels(torch.tensor([[[[-2.0, 0.0, 9.0]]]]), gray).flatten().tolist()
        [0, 128, 255]
    """
    mean, std = (
        torch.tensor(v, dtype=samples.dtype).view(-1, 1, 1) for v in (pixels.mean, pixels.std)
    )
    return (samples * std + mean).clamp(0, 1).mul(255).round().to(torch.uint8)


def _check_told(denoiser: TrainedDenoiser, spec: SampleSpec) -> None:
    """Refuse what the training has not taught."""
    if denoiser.drop_label != 0:
        return
    for what, is_asked in (
        ("--label none", spec.label == "none" and denoiser.num_classes is not None),
        (f"--guidance {spec.guidance:g}", spec.guidance != 0),
    ):
        if is_asked:
            raise SpecError(
                f"{what} needs a network that was trained with some labels dropped, got one of "
                f"drop_label = 0; train with loss = {{kind = "
                f"'{denoiser.trained.spec.loss.kind}', drop_label = 0.1}}"
            )


def _levels(denoiser: TrainedDenoiser, spec: SampleSpec) -> Tensor:
    return levels_for(
        spec,
        sigma_min=denoiser.sigma_min,
        sigma_max=denoiser.sigma_max,
        chain=denoiser.chain,
    )


def _about(denoiser: TrainedDenoiser, spec: SampleSpec, levels: Tensor) -> dict[str, Any]:
    """Return what decides the samples, as plain values."""
    trained = denoiser.trained
    try:
        weights = hashlib.sha256(trained.weights.read_bytes()).hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read '{trained.weights}': {error.strerror}") from error
    return {
        "training": trained.spec.name,
        "weights": weights,
        "network": trained.spec.model.kind,
        "classes": denoiser.num_classes,
        "samples": spec.model_dump(mode="json"),
        "levels": [float(f"{level:.9g}") for level in levels.tolist()],
        "lot": LOT,
    }


def _check_free(folder: Path) -> None:
    """Refuse a folder with files that are none of these samples."""
    if (folder / "steps" / "identity.txt").exists():
        return
    for place in (folder / _ARRAYS, folder / _PICTURE):
        if os.path.lexists(place):
            raise StoreError(
                f"'{place}' would be overwritten, and nothing says that heatgrad wrote it; give "
                f"another folder with --out, or move the file away"
            )


def _drawn(
    denoiser: TrainedDenoiser,
    spec: SampleSpec,
    labels: Tensor | None,
    levels: Tensor,
    steps: Steps,
    batch_size: int,
    tell: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> Float32[Tensor, "n c h w"]:
    """Return all samples, lot by lot, each kept when it is done."""
    calls = 2 * spec.steps - 1 if spec.sampler == "heun" else spec.steps
    found = []
    for lot in range(math.ceil(spec.n / LOT)):
        name, first = f"lot-{lot:05d}", lot * LOT
        count = min(LOT, spec.n - first)
        if not steps.has(name):
            tell(f"samples {first + 1} to {first + count} of {spec.n}")
        counter = _Counter(calls * count, progress)

        def draw(lot: int = lot, counter: _Counter = counter) -> dict[str, np.ndarray]:
            x = draw_lot(
                denoiser, spec, labels, levels, lot, batch_size=batch_size, on_call=counter
            )
            return {"samples": _decoded(denoiser.model, x, batch_size).float().numpy()}

        kept = steps.once(name, draw)["samples"]
        if kept.shape != (count, *denoiser.trained.input_shape):
            raise StoreError(f"'{steps.folder / name}.npz' is damaged; delete it and run again")
        found.append(torch.from_numpy(kept))
    return torch.cat(found)


class _Counter:
    """Adds up what is done."""

    def __init__(self, total: int, progress: Callable[[int, int], None]) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def __call__(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)


@torch.no_grad()
def _decoded(model: Any, x: Float[Tensor, "n *latent"], batch_size: int) -> Tensor:
    """Return the images of latents, of a latent diffusion; else what is given."""
    if not hasattr(model, "decode"):
        return x
    parts = torch.split(x, batch_size)
    images = torch.cat([model.decode(part.to(_device(model))).cpu() for part in parts])
    if not bool(images.isfinite().all()):
        raise RunError("the autoencoder decodes to NaN or inf; train it again, or take more steps")
    return images


def _device(model: nn.Module) -> torch.device:
    return next(iter(model.parameters()), torch.empty(0)).device


def _pixels_of(dataset: Dataset | None) -> Pixels:
    """Return pixels from the least to the largest value, where a data set says nothing of them."""
    assert dataset is not None
    low, high = float(dataset.x_train.min()), float(dataset.x_train.max())
    channels = dataset.input_shape[0]
    return Pixels(channels * (low,), channels * (max(high - low, 1e-12),))


def _measured(
    denoiser: TrainedDenoiser,
    dataset: Dataset,
    samples: Float32[Tensor, "n c h w"],
    labels: Tensor | None,
    spec: SampleSpec,
    progress: Callable[[int, int], None],
) -> Quality:
    training = denoiser.trained.spec
    task = training.trial().task.model_dump(mode="json")
    judge = kept_judge(
        denoiser.folder / _JUDGE,
        dataset,
        digest({"task": task, "seed": training.seed}),
        on_step=progress,
    )
    return quality_of(judge, dataset, samples, labels, seed=spec.seed)


def _nearest(quality: Quality, images: Tensor, dataset: Dataset, pixels: Pixels) -> Nearest:
    order = quality.copies.samples.argsort()[:_PAIRS]
    theirs = dataset.x_train[quality.copies.of[order]]
    return Nearest(images[order], to_pixels(theirs, pixels))


def _keep(
    place: Path,
    samples: Tensor,
    images: Tensor,
    labels: Tensor | None,
    about: Mapping[str, Any],
) -> None:
    told = torch.full((len(samples),), -1) if labels is None else labels
    fresh = place.with_name(f"{place.name}.unfinished")
    try:
        with fresh.open("wb") as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                samples=samples.numpy(),
                images=images.numpy(),
                labels=told.numpy(),
                about=np.array(json.dumps(about)),
            )
        fresh.replace(place)
    except (OSError, zipfile.BadZipFile) as error:
        fresh.unlink(missing_ok=True)
        raise RunError(
            f"cannot write '{place}' ({error}); free some space: the samples that are drawn are "
            f"kept, and the same command goes on"
        ) from error
