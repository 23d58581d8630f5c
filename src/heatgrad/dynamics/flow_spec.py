"""The specification of gradient flows: networks, starts, and how long."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import lookup, nearest
from heatgrad.core.spec import Positive, ShortName, Spec, digest, parse, read_toml
from heatgrad.flow import ACTIVATIONS, NetworkFit, polynomial_fit, random_start, valley_start

__all__ = ["DescentSpec", "FlowSpec", "NetSpec", "SweepSpec"]

Rate = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Optimizer = Literal["gd", "sgd", "adam"]


class NetSpec(Spec):
    """A small network, what it fits, and where it starts; or a loss of one's own.

    Attributes:
        activation: A name of `heatgrad.flow.ACTIVATIONS`.
        hidden: Units of the one or two hidden layers.
        target: Coefficients of the polynomial, constant first.
        points: Number of points, evenly spaced, ends included.
        interval: Its ends [data].
        loss: `"package.module:function"` of a vector of float64, in place of all above.
        start: `"random"`; `"valley"`, near the way to infinity; or, of a loss of one's own,
            `"package.module:function"` of the seed.
        gain: Multiplies the width of random starts [1].
        step: ε of the valley: the smaller, the nearer [1].
        seeds: Number of starts.
    """

    activation: str | None = None
    hidden: tuple[Positive, ...] = Field(default=(2,), strict=False)
    target: tuple[float, ...] = Field(default=(0.0, 0.0, 1.0), strict=False)
    points: Positive = 20
    interval: tuple[float, float] = Field(default=(-1.0, 1.0), strict=False)
    loss: str | None = None
    start: str = "random"
    gain: Rate = 1.0
    step: Rate = 0.3
    seeds: Positive = 1

    @model_validator(mode="after")
    def _one_loss(self) -> "NetSpec":
        if (self.activation is None) == (self.loss is None):
            raise ValueError("give an activation, or a loss of your own, one of the two")
        if self.activation is not None and self.activation not in ACTIVATIONS:
            choices = nearest(self.activation, ACTIVATIONS)
            raise ValueError(f"unknown activation '{self.activation}'; {choices}")
        is_ours = self.start in ("random", "valley")
        if is_ours != (self.loss is None):
            raise ValueError(
                "start must be 'random' or 'valley' of a network, and a function of the seed, as "
                f"'package.module:function', of a loss of your own, got '{self.start}'"
            )
        return self

    def problem(self) -> Any:
        """Return the loss, a function of all weights."""
        if self.activation is None:
            return lookup(str(self.loss), {}, "loss")
        return polynomial_fit(
            self.target,
            activation=self.activation,
            hidden=self.hidden,
            points=self.points,
            interval=self.interval,
        )

    def start_of(self, problem: Any, seed: int) -> Tensor:
        """Return the weights at the start."""
        if not isinstance(problem, NetworkFit):
            return torch.as_tensor(lookup(self.start, {}, "start")(seed))
        if self.start == "random":
            return random_start(problem, seed=seed, gain=self.gain)
        return valley_start(problem, self.step, seed=seed)


class DescentSpec(Spec):
    """Optimizers beside the flow.

    Attributes:
        optimizers: Of `"gd"`, `"sgd"` and `"adam"`.
        lr: Learning rate.
        steps: How many.
        nets: Networks that are trained; all by default, losses of one's own without `"sgd"`, for
            they have no samples.
    """

    optimizers: tuple[Optimizer, ...] = Field(default=("gd", "sgd", "adam"), strict=False)
    lr: Rate = 1e-3
    steps: Positive = 500_000
    nets: tuple[str, ...] = Field(default=(), strict=False)


class SweepSpec(Spec):
    """Many starts of one network: which share diverges, by how good the start is?

    Attributes:
        net: Its name.
        steps: ε of the valley's starts, each tried with as many random perturbations.
        noise: Relative size of the perturbations [1].
        starts: Number of starts in all.
        t_end: Where each flow ends [time].
        bins: Of the loss at the start.
    """

    net: str
    steps: tuple[Rate, ...] = Field(default=(0.2, 0.4, 0.8, 1.6), strict=False)
    noise: Annotated[float, Field(ge=0)] = 0.1
    starts: Positive = 40
    t_end: Rate = 1e8
    bins: Positive = 6


class FlowSpec(Spec):
    """Where do gradient flows go: to a critical point, or to infinity?

    Attributes:
        name: Short name; the default output folder is `runs/<name>`.
        title: One line for the page.
        question: The question in plain words.
        notes: Sentences for the page.
        t_end: Where flows end [time].
        method: The integrator.
        rtol: Relative tolerance of a step.
        max_seconds: For each flow; what ends early is judged by what there is.
        nets: Networks and their starts, by name.
        descent: Optimizers beside the flow.
        sweep: Many starts of one network.
    """

    name: ShortName
    title: str = ""
    question: str = ""
    notes: tuple[str, ...] = Field(default=(), strict=False)
    t_end: Rate = 1e10
    method: Literal["auto", "lsoda", "rosenbrock"] = "auto"
    rtol: Annotated[float, Field(ge=1e-13, le=0.1)] = 1e-6
    max_seconds: Rate | None = None
    nets: Annotated[dict[str, NetSpec], Field(min_length=1)]
    descent: DescentSpec | None = None
    sweep: SweepSpec | None = None

    @model_validator(mode="after")
    def _nets_exist(self) -> "FlowSpec":
        named = [("sweep.net", self.sweep.net)] if self.sweep else []
        named += [("descent.nets", net) for net in (self.descent.nets if self.descent else ())]
        for key, net in named:
            if net not in self.nets:
                raise ValueError(f"{key} names an unknown net '{net}'; {nearest(net, self.nets)}")
        for net in self.descent.nets if self.descent and "sgd" in self.descent.optimizers else ():
            if self.nets[net].loss is not None:
                raise ValueError(
                    f"descent.nets names '{net}', a loss of your own, which has no samples; leave "
                    f"'sgd' out of descent.optimizers, or it out of descent.nets"
                )
        if self.sweep and self.nets[self.sweep.net].loss is not None:
            raise ValueError("sweep.net must be a network, not a loss of your own")
        return self

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, source: str = "flow") -> "FlowSpec":
        """Return what plain values describe, or raise SpecError with one line."""
        return parse(cls, data, source=source)

    @classmethod
    def from_toml(cls, path: str | Path) -> "FlowSpec":
        """Return what a TOML file describes, or raise SpecError with one line."""
        return cls.from_dict(read_toml(Path(path)), source=str(path))

    @property
    def id(self) -> str:
        """The SHA-256 of all that decides the results."""
        return digest(self.model_dump(mode="json", exclude={"title", "question", "notes"}))


def check_start(problem: Any, start: Tensor, name: str) -> None:
    """Refuse a start at which a loss cannot be computed.

    Raises:
        SpecError: In one line, with the net's name.
    """
    try:
        value = float(problem(start))
    except Exception as error:  # a loss of the user's own may raise anything
        raise SpecError(f"nets.{name}: {type(error).__name__}: {error}") from error
    if not math.isfinite(value):
        raise SpecError(f"nets.{name}: the loss must be finite at the start, got {value:g}")
