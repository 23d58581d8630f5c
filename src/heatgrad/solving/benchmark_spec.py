"""What the benchmark of posteriors compares, on which cases."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from heatgrad.core.spec import Positive, Spec, digest
from heatgrad.solving.prior_spec import NetworkSpec, PriorSpec, prior_spec

__all__ = ["Arm", "BenchmarkSpec", "Direction", "arms_of", "benchmark_priors"]

Direction = Literal["forward", "inverse"]
Source = Literal["law", "trained", "grid"]

_LINEAR = ("poisson", "helmholtz")


class BenchmarkSpec(Spec):
    """The whole benchmark.

    Attributes:
        problems: Names of `PROBLEMS`.
        cases: Solutions a seed.
        seeds: Each has another mask of sensors and other solutions.
        sensors: Observed points of the one field that is observed.
        draws: Draws a case.
        dps_cases: Of each seed, the first that the slow DPS answers.
        adam_cases: Of each seed, the first that the slower Adam guidance answers.
        slow_draws: Draws a case of these two.
        dps_steps: Steps of DPS, each a call with a gradient.
        adam_steps: Steps of Adam guidance, each a call with a gradient.
        steps: Steps of pseudo-inverse guidance.
        prior_seconds: Time of training for each of the priors that are compared with each other,
            in spectral latents and on the grid [s].
    """

    problems: tuple[str, ...] = Field(
        default=("poisson", "helmholtz", "darcy", "navier-stokes"), strict=False
    )
    cases: Positive = 100
    seeds: Positive = 3
    sensors: Positive = 500
    draws: Annotated[int, Field(ge=2)] = 16
    dps_cases: Positive = 6
    adam_cases: Positive = 4
    slow_draws: Annotated[int, Field(ge=2)] = 8
    dps_steps: Positive = 200
    adam_steps: Positive = 500
    steps: Annotated[int, Field(ge=2)] = 15
    prior_seconds: Annotated[float, Field(gt=0)] = 600.0

    def id_of(self, problem: str) -> str:
        """Return the SHA-256 of all that decides the results of one problem."""
        return digest({"problem": problem, **self.model_dump(mode="json", exclude={"problems"})})


@dataclass(frozen=True)
class Arm:
    """A method with a prior.

    Attributes:
        name: Short name, part of a file's.
        title: As it is read.
        method: A name of `METHODS`.
        source: Where its prior comes from: the law itself, a network in latents, one on the grid.
        share: Which number of cases it answers: `"all"`, `"dps"` or `"adam"`.
        jacobian: Of pseudo-inverse guidance, see `Options`.
    """

    name: str
    title: str
    method: str
    source: Source
    share: Literal["all", "dps", "adam"] = "all"
    jacobian: bool = False

    def cases(self, spec: BenchmarkSpec) -> int:
        """Return how many cases of a seed it answers."""
        limit = {"all": spec.cases, "dps": spec.dps_cases, "adam": spec.adam_cases}[self.share]
        return min(limit, spec.cases)

    def draws(self, spec: BenchmarkSpec) -> int:
        """Return how many draws it makes for a case."""
        is_slow = self.method in ("dps", "adam")
        return min(spec.draws, spec.slow_draws) if is_slow else spec.draws


def arms_of(problem: str, direction: Direction) -> tuple[Arm, ...]:
    """Return what is compared on a problem.

    Example:
        >>> [arm.name for arm in arms_of("navier-stokes", "forward")]
        ['exact', 'kriging', 'pseudo-inverse', 'jacobian', 'dps', 'adam']
    """
    is_linear = problem in _LINEAR
    own: Source = "law" if is_linear else "trained"
    arms = []
    if is_linear or (problem == "navier-stokes" and direction == "forward"):
        arms.append(Arm("exact", "exact posterior", "exact", "law"))
    arms.append(Arm("kriging", "kriging, fitted covariance", "kriging", own))
    words = "exact denoiser" if is_linear else "trained prior"
    arms += [
        Arm("pseudo-inverse", f"pseudo-inverse guidance, {words}", "pseudo-inverse", own),
        *_with_jacobian(is_linear),
        Arm("dps", f"DPS, {words}", "dps", own, "dps"),
        Arm("adam", f"Adam guidance, {words}", "adam", own, "adam"),
    ]
    if is_linear:
        arms += [
            Arm("latent", "pseudo-inverse, trained spectral latent", "pseudo-inverse", "trained"),
            Arm("latent-adam", "Adam guidance, trained spectral latent", "adam", "trained", "adam"),
            Arm("grid", "pseudo-inverse, trained on the grid", "pseudo-inverse", "grid", "dps"),
            Arm("grid-dps", "DPS, trained on the grid", "dps", "grid", "dps"),
        ]
    return tuple(arms)


def _with_jacobian(is_linear: bool) -> tuple[Arm, ...]:
    """Return the other form of pseudo-inverse guidance, which is the same for a Gaussian."""
    if is_linear:
        return ()
    title = "pseudo-inverse guidance with the Jacobian, trained prior"
    return (Arm("jacobian", title, "pseudo-inverse", "trained", jacobian=True),)


def benchmark_priors(spec: BenchmarkSpec, problem: str) -> dict[str, PriorSpec]:
    """Return the priors that must be trained before a problem's benchmark, by source.

    Example:
        >>> sorted(benchmark_priors(BenchmarkSpec(), "poisson"))
        ['grid', 'trained']
    """
    if problem not in _LINEAR:
        return {"trained": prior_spec(problem)}
    seconds: dict[str, Any] = {"seconds": spec.prior_seconds}
    unet = NetworkSpec(
        kind="DenoisingUNet", options={"width": 32, "multipliers": (1, 2, 2), "patch": 4}
    )
    return {
        "trained": prior_spec(problem, **seconds),
        "grid": prior_spec(problem, space="grid", copies=1, network=unet.model_dump(), **seconds),
    }
