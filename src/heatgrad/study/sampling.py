"""Samples of a trained denoiser: what is asked, and how they are drawn."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from heatgrad.core.errors import RunError, SpecError
from heatgrad.core.lookup import nearest
from heatgrad.core.random import stream_generator
from heatgrad.core.spec import Positive, Spec
from heatgrad.diffusion import (
    Denoiser,
    classifier_free,
    cosine_alpha_bars,
    ddim,
    ddpm,
    heun,
    karras_levels,
    levels_of,
    linear_alpha_bars,
    sigmas_of,
    start,
)
from heatgrad.study.denoisers import TrainedDenoiser

__all__ = ["LEVELS", "LOT", "SAMPLERS", "SampleSpec", "draw_lot", "labels_of", "levels_for"]

LOT = 128  # samples that share a stream of noise
Label = Annotated[int, Field(ge=0)] | Literal["all", "none"]

# Name of each way down, and the levels that it takes unless others are asked for.
SAMPLERS: dict[str, str] = {"ddim": "cosine", "ddpm": "cosine", "heun": "karras"}
# Chains of a thousand times, by name; the other kind is not one of a chain.
_CHAINS: dict[str, Callable[[], Tensor]] = {
    "cosine": cosine_alpha_bars,
    "linear": linear_alpha_bars,
}
LEVELS = ("karras", *_CHAINS, "trained")


class SampleSpec(Spec):
    """What samples are asked for.

    Attributes:
        n: How many.
        label: Class of all; `"all"`: sample k has class k modulo the number of classes; `"none"`:
            the network is not told one.
        guidance: w of classifier-free guidance, $(1 + w) D_c - w D$, Eq. (D.16): 0 is the plain
            denoiser that is told the class [1].
        sampler: A name of `SAMPLERS`.
        steps: Steps from the highest level to 0.
        eta: Of DDIM, the share of fresh noise: 0 for none, 1 for as much as DDPM [1].
        levels: A name of `LEVELS`.
        seed: Sample k depends on it and on k, not on `n`.

    Example:
        >>> SampleSpec.checked(sampler="heun").levels
        'karras'
    """

    n: Positive = 64
    label: Label = "none"
    guidance: float = 0.0
    sampler: str = "ddim"
    steps: Positive = 50
    eta: float = 0.0
    levels: str = "cosine"
    seed: Annotated[int, Field(ge=0)] = 0

    @classmethod
    def checked(
        cls, *, num_classes: int | None = None, has_chain: bool = False, **options: Any
    ) -> "SampleSpec":
        """Return the samples that plain options ask for, with what is left out filled in.

        Args:
            num_classes: Of the network; None for one that is never told a class.
            has_chain: Whether it was trained on a chain of times, which ddim and ddpm then take.
            options: Attributes by name; None for one that is left out. Labels are texts.

        Raises:
            SpecError: If an option is out of range, or does not fit the network.
        """
        given = {name: value for name, value in options.items() if value is not None}
        sampler = given.setdefault("sampler", "ddim")
        _check_name("sampler", sampler, SAMPLERS)
        usual = "trained" if has_chain and sampler != "heun" else SAMPLERS[sampler]
        _check_name("levels", given.setdefault("levels", usual), LEVELS)
        given["label"] = _label(given.get("label"), num_classes)
        for name, least in (("n", 1), ("steps", 1 + (given["levels"] == "karras")), ("seed", 0)):
            if given.get(name, least) < least:
                raise SpecError(f"--{name} must be at least {least}, got {given[name]}")
        guidance, eta = given.get("guidance", 0.0), given.get("eta", 0.0)
        if not -1 <= guidance < math.inf:
            raise SpecError(f"--guidance must be at least -1 and finite, got {guidance:g}")
        if guidance and given["label"] == "none":
            raise SpecError(
                f"--guidance needs classes that the network is told, got {guidance:g} and "
                f"{'--label none' if num_classes else 'a network without any'}"
            )
        if eta and sampler != "ddim":
            raise SpecError(f"--eta is an option of ddim, got {eta:g} and sampler {sampler}")
        if not 0 <= eta <= 1:
            raise SpecError(f"--eta must be from 0 to 1, got {eta:g}")
        return cls(**given)


def _check_name(what: str, name: str, choices: Mapping[str, Any] | tuple[str, ...]) -> None:
    if name not in choices:
        raise SpecError(f"unknown {what} '{name}'; {nearest(name, choices)}")


def _label(text: str | None, num_classes: int | None) -> int | str:
    """Return the class that is asked for."""
    if num_classes is None:
        if text not in (None, "none"):
            raise SpecError(
                f"--label needs a network that is told classes, got {text} and one without any; "
                f"leave it out"
            )
        return "none"
    if text in (None, "all", "none"):
        return text or "all"
    if not text.isdecimal() or int(text) >= num_classes:
        raise SpecError(f"--label must be 0 to {num_classes - 1}, all or none, got {text}")
    return int(text)


def labels_of(spec: SampleSpec, num_classes: int | None) -> Int64[Tensor, " n"] | None:
    """Return the class of each sample, or None where they are told none.

    Example:
        >>> labels_of(SampleSpec(n=5, label="all"), 3).tolist()
        [0, 1, 2, 0, 1]
    """
    if spec.label == "none":
        return None
    if spec.label == "all":
        assert num_classes is not None
        return torch.arange(spec.n) % num_classes
    return torch.full((spec.n,), spec.label)


def levels_for(
    spec: SampleSpec,
    *,
    sigma_min: float,
    sigma_max: float,
    chain: Float[Tensor, " times"] | None = None,
) -> Float[Tensor, " levels"]:
    """Return the levels of the samples, all in a range but the last, 0.

    Args:
        spec: Which levels, and how many.
        sigma_min: The lowest level that the network is used at [data].
        sigma_max: The highest [data].
        chain: Shares of variance of the chain that it was trained on, for levels `"trained"`.

    Raises:
        SpecError: If levels are `"trained"` and there is no such chain, or if a chain has fewer
            times in the range than there are to be steps.

    Example:
        >>> levels = levels_for(SampleSpec(steps=3), sigma_min=0.01, sigma_max=80.0)
        >>> [round(v, 2) for v in levels.tolist()]
        [71.29, 1.71, 0.59, 0.0]
    """
    if spec.levels == "karras":
        return karras_levels(spec.steps, sigma_min=sigma_min, sigma_max=sigma_max)
    if spec.levels != "trained":
        chain = _CHAINS[spec.levels]()
    if chain is None:
        raise SpecError(
            "--levels trained needs a network that was trained on a chain of times, got one that "
            "was trained at any level; take karras, cosine or linear"
        )
    sigmas = sigmas_of(chain)
    chain = chain[(sigmas >= sigma_min) & (sigmas <= sigma_max)]
    if spec.steps > len(chain):
        raise SpecError(
            f"--steps must be at most {len(chain)}, the times of the {spec.levels} chain with "
            f"noise from {sigma_min:g} to {sigma_max:g}, got {spec.steps}; for more take "
            f"--levels karras"
        )
    return levels_of(chain, spec.steps)


def draw_lot(
    trained: TrainedDenoiser,
    spec: SampleSpec,
    labels: Int64[Tensor, " n"] | None,
    levels: Float[Tensor, " levels"],
    lot: int,
    *,
    batch_size: int = LOT,
    on_call: Callable[[int], None] = lambda samples: None,
) -> Float[Tensor, "count *shape"]:
    """Return a lot of samples: those from `lot` times `LOT` on, `LOT` of them or what is left.

    Noise is drawn for a whole lot always, and the network sees only the samples that are wanted.
    So a sample depends on the seed and its number, but for rounding, and on no size of a batch.

    Args:
        trained: The denoiser.
        spec: What is asked.
        labels: Class of each of all samples, or None.
        levels: Of `levels_for`.
        lot: Number of the lot, from 0.
        batch_size: Samples a call of the network; it bounds the memory.
        on_call: Called with the number of samples after each.

    Raises:
        RunError: If what the network returns is not finite.
    """
    model = trained.model
    device = next(iter(model.parameters()), torch.empty(0)).device
    generator = stream_generator(spec.seed, "sample", lot)
    first, count = lot * LOT, min(LOT, spec.n - lot * LOT)
    parts = []
    for begin in range(0, count, batch_size):
        rows = slice(begin, min(begin + batch_size, count))
        own = None if labels is None else labels[first:][rows]
        denoiser = model if own is None else classifier_free(model, own, spec.guidance)
        parts.append((rows, denoiser))

    def whole(x: Tensor, sigma: Tensor) -> Tensor:
        found = torch.zeros_like(x)
        for rows, denoiser in parts:
            found[rows] = denoiser(x[rows], sigma)
            on_call(rows.stop - rows.start)
        return found

    x = start((LOT, *trained.shape), levels, generator, device=device, data_std=trained.sigma_data)
    try:
        return _down(spec, whole, x, levels, generator)[:count].cpu()
    except ValueError as error:  # of a sampler: what the network returned
        raise RunError(f"no samples at these options: {error}") from error


def _down(
    spec: SampleSpec, denoiser: Denoiser, x: Tensor, levels: Tensor, generator: torch.Generator
) -> Tensor:
    if spec.sampler == "heun":
        return heun(denoiser, x, levels)
    if spec.sampler == "ddpm":
        return ddpm(denoiser, x, levels, generator=generator)
    return ddim(denoiser, x, levels, eta=spec.eta, generator=generator if spec.eta else None)
