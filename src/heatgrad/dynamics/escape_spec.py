"""The specification of an escape: a process, a well, and how it is looked at."""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator

from heatgrad.core.lookup import lookup
from heatgrad.core.spec import Positive, ShortName, Spec, digest, parse, read_toml
from heatgrad.dynamics.potentials import POTENTIALS
from heatgrad.dynamics.problems import PROBLEMS, Problem
from heatgrad.fokker_planck import (
    Ball,
    Box,
    HalfSpace,
    Kinetic,
    Langevin,
    Process,
    Region,
    SGDDiffusion,
)

__all__ = ["EscapeSpec", "GridSpec", "MonteCarloSpec"]

Rate = Annotated[float, Field(gt=0)]
Point = tuple[float, ...]


class LangevinSpec(Spec):
    """Motion down a potential, in noise of one temperature.

    Attributes:
        kind: `"langevin"`.
        potential: A name of `POTENTIALS`, or `"package.module:function"` of one point.
        temperature: T [loss].
    """

    kind: Literal["langevin"]
    potential: str
    temperature: Rate

    def process(self) -> Process:
        """Return the process."""
        return Langevin(lookup(self.potential, POTENTIALS, "potential"), self.temperature)


class KineticSpec(LangevinSpec):
    """The same of a unit mass with friction: positions, then velocities.

    Attributes:
        kind: `"kinetic"`.
        friction: γ [1 / time].
    """

    kind: Literal["kinetic"]  # type: ignore[assignment]
    friction: Rate

    def process(self) -> Process:
        """Return the process."""
        potential = lookup(self.potential, POTENTIALS, "potential")
        return Kinetic(potential, self.temperature, self.friction)


class SGDSpec(Spec):
    """Minibatch stochastic gradient descent.

    Attributes:
        kind: `"sgd"`.
        problem: A name of `PROBLEMS`, or `"package.module:function"` that returns one.
        options: Keyword arguments for it.
        lr: η [time].
        batch_size: B.
        order: Of the diffusion that stands for it, 1 or 2.
        extra_noise: ε, variance of noise added to each gradient.
        replacement: Whether batches are drawn with replacement.
    """

    kind: Literal["sgd"]
    problem: str
    options: dict[str, Any] = Field(default_factory=dict)
    lr: Rate
    batch_size: Positive
    order: Literal[1, 2] = 1
    extra_noise: Annotated[float, Field(ge=0)] = 0.0
    replacement: bool = True

    def process(self) -> SGDDiffusion:
        """Return the diffusion that stands for it; the samples go with it."""
        problem: Problem = lookup(self.problem, PROBLEMS, "problem")(**self.options)
        return SGDDiffusion(
            problem.loss,
            problem.data,
            lr=self.lr,
            batch_size=self.batch_size,
            order=self.order,
            extra_noise=self.extra_noise,
            replacement=self.replacement,
        )


class HalfSpaceSpec(Spec):
    """The points x with normal · x < offset."""

    kind: Literal["half-space"]
    normal: Point = Field(strict=False)
    offset: float

    def region(self) -> HalfSpace:
        """Return the region."""
        return HalfSpace(self.normal, self.offset)


class BallSpec(Spec):
    """The points nearer than a radius to a centre."""

    kind: Literal["ball"]
    center: Point = Field(strict=False)
    radius: Rate

    def region(self) -> Ball:
        """Return the region."""
        return Ball(self.center, self.radius)


class BoxSpec(Spec):
    """The points between two corners."""

    kind: Literal["box"]
    low: Point = Field(strict=False)
    high: Point = Field(strict=False)

    def region(self) -> Box:
        """Return the region."""
        return Box(self.low, self.high)


def _sides_of(region: HalfSpaceSpec | BallSpec | BoxSpec) -> tuple[Point, ...]:
    """Return what must have as many coordinates as a point."""
    if isinstance(region, BoxSpec):
        return region.low, region.high
    return (region.normal,) if isinstance(region, HalfSpaceSpec) else (region.center,)


class GridSpec(Spec):
    """The grid of the Fokker-Planck equation.

    Attributes:
        low: Lower corner; sides reflect.
        high: Upper corner.
        n: Cells along each side, at least 4.
    """

    low: Point = Field(strict=False)
    high: Point = Field(strict=False)
    n: tuple[Annotated[int, Field(ge=4)], ...] = Field(strict=False)

    @model_validator(mode="after")
    def _as_many(self) -> "GridSpec":
        if not len(self.low) == len(self.high) == len(self.n) <= 3:
            raise ValueError(
                f"low, high and n must have one number for each axis, at most 3, got "
                f"{len(self.low)}, {len(self.high)} and {len(self.n)}"
            )
        if not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"low must lie below high, got {self.low} and {self.high}")
        return self


class MonteCarloSpec(Spec):
    """Ensembles.

    Attributes:
        replicas: How many paths.
        dt: Time step of the stochastic equation.
        t_max: When paths that have not left are given up.
        seed: Of the noise.
    """

    replicas: Positive = 2000
    dt: Rate
    t_max: Rate
    seed: Annotated[int, Field(ge=0)] = 0


class EscapeSpec(Spec):
    """From a well, how long, by which way, and where then?

    Attributes:
        name: Short name; the default output folder is `runs/<name>`.
        title: One line for the page.
        question: The question in plain words.
        notes: Sentences for the page.
        process: What moves.
        start: A point in the well that is left.
        target: A point in another well; the saddle between is looked for.
        region: What is left; up to the saddle, across the line to it, unless given.
        grid: Of the Fokker-Planck equation; without it there is none.
        monte_carlo: Ensembles; without it there are none.
        times: When the density is drawn.
    """

    name: ShortName
    title: str = ""
    question: str = ""
    notes: tuple[str, ...] = Field(default=(), strict=False)
    process: Annotated[LangevinSpec | KineticSpec | SGDSpec, Field(discriminator="kind")]
    start: Point = Field(strict=False)
    target: Point | None = Field(default=None, strict=False)
    region: Annotated[HalfSpaceSpec | BallSpec | BoxSpec, Field(discriminator="kind")] | None = None
    grid: GridSpec | None = None
    monte_carlo: MonteCarloSpec | None = None
    times: tuple[Rate, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _fits(self) -> "EscapeSpec":
        if self.region is None and self.target is None:
            raise ValueError("give a target, a point in another well, or the region that is left")
        dim = len(self.start)
        for name, count in (
            ("target", len(self.target) if self.target else dim),
            ("grid", len(self.grid.n) if self.grid else dim),
        ):
            if count != dim:
                raise ValueError(f"{name} must have {dim} coordinates as start, got {count}")
        sides = () if self.region is None else _sides_of(self.region)
        for side in sides:
            if len(side) != dim:
                raise ValueError(f"region must have {dim} coordinates as start, got {len(side)}")
        if self.region is not None:
            self._start_is_in(self.region.region())
        if self.grid is not None:
            box = zip(self.grid.low, self.start, self.grid.high, strict=True)
            if not all(a < x < b for a, x, b in box):
                raise ValueError(
                    f"the grid must hold the start {self.start}, got {self.grid.low} to "
                    f"{self.grid.high}; widen it"
                )
        if self.times and self.grid is None:
            raise ValueError("times need a table [grid], on which densities are computed")
        return self

    def _start_is_in(self, region: Region) -> None:
        if not float(region(torch.tensor(self.start, dtype=torch.float64))) > 0:
            raise ValueError(f"region must hold the start {self.start}, got one that does not")

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, source: str = "escape") -> "EscapeSpec":
        """Return what plain values describe, or raise SpecError with one line."""
        return parse(cls, data, source=source)

    @classmethod
    def from_toml(cls, path: str | Path) -> "EscapeSpec":
        """Return what a TOML file describes, or raise SpecError with one line."""
        return cls.from_dict(read_toml(Path(path)), source=str(path))

    @property
    def id(self) -> str:
        """The SHA-256 of all that decides the results."""
        return digest(self.model_dump(mode="json", exclude={"title", "question", "notes"}))
