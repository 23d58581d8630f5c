"""The specification of a trained prior, and those that come with the library."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from heatgrad.core.spec import Positive, Spec, digest, parse

__all__ = ["PRIORS", "NetworkSpec", "PriorSpec", "prior_spec"]

Rate = Annotated[float, Field(gt=0)]


class NetworkSpec(Spec):
    """A denoising network.

    Attributes:
        kind: A name of `heatgrad.diffusion.networks.NETWORKS`.
        options: Keyword arguments for it.
        acts_on: `"latents"`, or `"fields"`: on what the Gaussian base has denoised and decoded.
    """

    kind: Literal["DenoisingTransformer", "DenoisingUNet"] = "DenoisingTransformer"
    options: dict[str, Any] = Field(default_factory=dict)
    acts_on: Literal["latents", "fields"] = "latents"


class PriorSpec(Spec):
    """What a prior is trained on, in which coordinates, and for how long.

    Attributes:
        problem: A name of `PROBLEMS`, or an import path.
        options: Keyword arguments for it.
        space: `"spectral"`: coefficients in the basis of each field's boundary condition, scaled by
            mode; `"grid"`: values at the points, scaled by field.
        modes: Coefficients kept along each side, where the space is spectral.
        base: What the network corrects: `"gaussian"`, the exact denoiser of a Gaussian with the
            fitted mean and covariance, so that an untrained network is that Gaussian; or `"none"`,
            as in [PISD].
        pairs: Solutions drawn from the law, at least 8.
        copies: How often each is taken, turned or shifted by a symmetry of its law.
        network: The network.
        epochs: Passes over all copies; or give `seconds`.
        seconds: Time for training on this machine, from which epochs follow [s].
        batch_size: Samples a step.
        lr: Learning rate of Adam, falling to zero along half a cosine.
        average: Decay of the average of the weights.
        weighting: p: the loss weighs modes by their deviation to this power; 0 as in EDM.
        seed: Of data, first weights, order and noise.
    """

    problem: str
    options: dict[str, Any] = Field(default_factory=dict)
    space: Literal["spectral", "grid"] = "spectral"
    modes: Positive = 40
    base: Literal["gaussian", "none"] = "gaussian"
    pairs: Annotated[int, Field(ge=8)] = 4000
    copies: Positive = 8
    network: NetworkSpec = NetworkSpec()
    epochs: Positive | None = None
    seconds: Rate | None = None
    batch_size: Annotated[int, Field(ge=2)] = 64
    lr: Rate = 1e-3
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    weighting: Annotated[float, Field(ge=0)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits(self) -> "PriorSpec":
        if (self.epochs is None) == (self.seconds is None):
            raise ValueError("give either epochs or seconds")
        if self.space == "grid" and self.base == "gaussian":
            raise ValueError("a prior on the grid has no Gaussian base; use base = 'none'")
        if self.base == "none" and self.network.acts_on == "fields":
            raise ValueError("a network on fields needs a Gaussian base, which denoises them first")
        if self.space == "grid" and self.weighting > 0:
            raise ValueError("weighting needs modes; use space = 'spectral', or weighting = 0")
        return self

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, source: str = "prior") -> "PriorSpec":
        """Return what plain values describe, or raise SpecError with one line."""
        return parse(cls, data, source=source)

    @property
    def id(self) -> str:
        """The SHA-256 of all that decides the prior."""
        return digest(self.model_dump(mode="json"))

    @property
    def data_id(self) -> str:
        """The SHA-256 of all that decides the pairs it is trained on."""
        return digest(self.model_dump(mode="json", include={"problem", "options", "pairs", "seed"}))


_ON_FIELDS = NetworkSpec(
    kind="DenoisingUNet",
    options={"width": 24, "multipliers": (1, 2, 2), "patch": 2},
    acts_on="fields",
)

_POISSON = PriorSpec(
    problem="poisson",
    options={"n": 128},
    modes=44,
    base="none",
    pairs=3000,
    copies=8,
    network=NetworkSpec(options={"patch": 4, "width": 96, "depth": 4}),
    seconds=780.0,
)

PRIORS: dict[str, PriorSpec] = {
    "darcy": PriorSpec(
        problem="darcy",
        options={"n": 65},
        network=_ON_FIELDS,
        seconds=780.0,
        average=0.995,
        weighting=1.0,
    ),
    "navier-stokes": PriorSpec(
        problem="navier-stokes",
        options={"n": 64},
        pairs=2000,
        copies=16,
        network=_ON_FIELDS,
        seconds=780.0,
        average=0.995,
        weighting=1.0,
    ),
    "poisson": _POISSON,
    "helmholtz": _POISSON.model_copy(update={"problem": "helmholtz"}),
}
"""Trained priors by the names of the problems; Poisson's and Helmholtz's serve comparison only."""


def prior_spec(problem: str, options: dict[str, Any] | None = None, **changes: Any) -> PriorSpec:
    """Return the specification of the trained prior of a problem.

    Args:
        problem: A key of `PRIORS`, or an import path: then as for Darcy.
        options: Options of the problem that differ from the default's.
        changes: Other keys that differ.

    Raises:
        SpecError: If a key is unknown or a value does not fit.

    Example:
        >>> prior_spec("darcy", epochs=3, seconds=None).epochs
        3
    """
    known = PRIORS.get(problem)
    # One's own problem: as for Darcy, on fields.
    plain: dict[str, Any] = (PRIORS["darcy"] if known is None else known).model_dump()
    if known is None:
        plain |= {"problem": problem, "options": {}}
    plain["options"] = {**plain.get("options", {}), **(options or {})}
    if changes.get("space") == "grid":
        changes = {"base": "none", "weighting": 0.0, **changes}
    return PriorSpec.from_dict(plain | changes, source=f"prior of {problem}")
