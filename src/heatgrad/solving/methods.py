"""The methods by name: from sensors of one kind to an answer for any case."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.core.errors import DataError, SpecError
from heatgrad.core.lookup import lookup
from heatgrad.diffusion import karras_levels
from heatgrad.inverse import (
    DPS,
    ExactGaussianPosterior,
    GaussianPrior,
    Guidance,
    Instrument,
    Latent,
    PersistentAdam,
    Points,
    PosteriorSampler,
    PseudoInverse,
)
from heatgrad.inverse.sampling.steps import Sampler
from heatgrad.pde import Grid
from heatgrad.solving.answer import Answer
from heatgrad.solving.priors import Prior
from heatgrad.solving.sensors import Sensors

__all__ = ["METHODS", "Answerer", "Measured", "Options", "answering", "has_exact"]

_LOWEST, _HIGHEST = 0.01, 80.0  # noise levels of the samplers, of latents of deviation 1
_WITH_JACOBIAN = ("darcy",)  # see `Options`


@dataclass(frozen=True, eq=False)
class Measured:
    """Sensors as the methods take them: grouped by field.

    Attributes:
        grid: Of the fields.
        operators: One for each field.
        values: What was measured, in their order, shape (m,).
        noise: Standard deviation of each, shape (m,).
    """

    grid: Grid
    operators: tuple[Points, ...]
    values: NDArray[np.float64]
    noise: NDArray[np.float64]

    @classmethod
    def of(cls, sensors: Sensors, grid: Grid) -> "Measured":
        """Return the sensors of a grid's fields, grouped."""
        order = np.concatenate([sensors.of(name) for name in sensors.fields])
        operators = tuple(
            Points(name, torch.from_numpy(sensors.points[sensors.of(name)]))
            for name in sensors.fields
        )
        return cls(grid, operators, sensors.value[order], sensors.noise[order])

    @property
    def points(self) -> Tensor:
        """Where the sensors are, shape (m, 2)."""
        return torch.cat([operator.points for operator in self.operators])

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that are measured."""
        return tuple(operator.field for operator in self.operators)

    def read(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Return what they measure of one case without noise, shape (m,)."""
        return Instrument(self.grid, self.operators, tuple(fields))(fields)[0]

    def with_left_out(self, left_out: Mapping[str, float]) -> Tensor:
        """Return the noise with what a latent leaves out: it cannot show that part of a value."""
        parts = [torch.full((len(op),), left_out[op.field]).double() for op in self.operators]
        return (torch.from_numpy(self.noise).square() + torch.cat(parts).square()).sqrt()


@dataclass(frozen=True)
class Options:
    """Steps of the samplers.

    Attributes:
        steps: Of pseudo-inverse guidance, Heun: two calls a step but the last.
        dps_steps: Of DPS, one call with a gradient each.
        adam_steps: Of Adam guidance, one call with a gradient each.
        dps_weight: Of the observations in DPS.
        jacobian: Whether pseudo-inverse guidance takes the covariance of the clean latents from the
            Jacobian of the denoiser, at twice the cost, not from the fitted Gaussian alone. None:
            for Darcy from sensors of the solution alone, where it did far better on a few cases;
            it did worse from sensors of the medium, and for Navier-Stokes both ways.
    """

    steps: int = 15
    dps_steps: int = 200
    adam_steps: int = 500
    dps_weight: float = 0.05
    jacobian: bool | None = None


class Answerer(Protocol):
    """A method that is set up for its sensors.

    Attributes:
        shared: Time of the set-up [s].
        numbers: Numbers of one sample of its prior.
    """

    shared: float
    numbers: int

    def __call__(self, values: Tensor, num: int, generator: torch.Generator) -> Answer:
        """Return the answer of one case.

        Args:
            values: What the sensors said, shape (m,).
            num: Draws.
            generator: What they are drawn from.
        """
        ...


def has_exact(prior: Prior, sensors: Sensors) -> bool:
    """Whether the exact posterior is known of these sensors."""
    if prior.whole is None:
        return False
    inner = getattr(prior.whole, "latent", prior.whole)
    return prior.problem.is_linear or set(sensors.fields) <= set(inner.names)


def answering(
    method: str, prior: Prior, measured: Measured, options: Options | None = None
) -> Answerer:
    """Return a method set up for sensors.

    Args:
        method: A name of `METHODS`.
        prior: What is known before.
        measured: The sensors; their values are not looked at.
        options: Steps.

    Raises:
        SpecError: If the method is unknown or does not apply.
        DataError: If the sensors cannot be used.
    """
    make = lookup(method, METHODS, "method")
    try:
        made: Answerer = make(prior, measured, options or Options())
    except (SpecError, DataError):
        raise
    except ValueError as error:
        raise DataError(str(error)) from error
    return made


class _Exact:
    """The posterior in closed form, of a law or of a fitted Gaussian."""

    def __init__(
        self,
        latent: Latent,
        decode: Latent,
        measured: Measured,
        noise: Tensor,
        law: GaussianPrior | None = None,
    ) -> None:
        started = time.perf_counter()
        mean, cov = (None, None) if law is None else (law.mean, law.cov)
        operators = measured.operators
        self._posterior = ExactGaussianPosterior(latent, operators, noise, mean=mean, cov=cov)
        self._decode = decode
        self.numbers = latent.num_numbers
        self.shared = time.perf_counter() - started

    def __call__(self, values: Tensor, num: int, generator: torch.Generator) -> Answer:
        started = time.perf_counter()
        z = self._posterior.draw(values[None], num, generator)[0]
        with torch.no_grad():
            draws = self._decode.decode(z)
            if self._posterior.latent is self._decode:
                mean = self._decode.decode(self._posterior.mean(values[None]))
            else:  # a nonlinear map: the mean of the draws, in pairs that have no first-order noise
                middle = self._posterior.mean(values[None])
                both = self._decode.decode(torch.cat([z, 2 * middle - z]))
                mean = {name: field.mean(0, keepdim=True) for name, field in both.items()}
        return Answer(mean, draws, 0, time.perf_counter() - started)


def _exact(prior: Prior, measured: Measured, options: Options) -> Answerer:
    whole = prior.whole
    noise = torch.from_numpy(measured.noise)
    if whole is not None and prior.problem.is_linear:
        return _Exact(whole, whole, measured, noise)
    inner = getattr(whole, "latent", None)
    if whole is None or inner is None or not set(measured.fields) <= set(inner.names):
        raise SpecError(
            "method 'exact' needs a linear problem, or sensors of the first field of Navier-Stokes "
            "alone; use --method pseudo-inverse"
        )
    return _Exact(inner, whole, measured, noise)


def _kriging(prior: Prior, measured: Measured, options: Options) -> Answerer:
    started = time.perf_counter()
    latent, gaussian, left_out = prior.kriged
    noise = measured.with_left_out(left_out)
    made = _Exact(latent, latent, measured, noise, gaussian)
    made.shared = time.perf_counter() - started
    return made


class _Sampled:
    """A guided sampler, set up for its sensors."""

    def __init__(
        self, prior: Prior, guidance: Guidance, measured: Measured, steps: int, kind: Sampler
    ) -> None:
        started = time.perf_counter()
        levels = karras_levels(steps, sigma_min=_LOWEST, sigma_max=_HIGHEST)
        # Of a guidance that is exact for Gaussians, pairs give the mean at no cost.
        self.numbers = prior.numbers
        self._pairs = isinstance(guidance, PseudoInverse)
        sampler = PosteriorSampler(
            prior.denoiser, prior.latent, guidance, levels, sampler=kind, antithetic=self._pairs
        )
        noise = measured.with_left_out(prior.left_out)
        self._prepared = sampler.prepare(measured.operators, noise)
        self.shared = time.perf_counter() - started

    def __call__(self, values: Tensor, num: int, generator: torch.Generator) -> Answer:
        even = num + num % 2 if self._pairs else num
        try:
            found = self._prepared.draw(values[None], even, generator)
        except ValueError as error:
            raise DataError(str(error)) from error
        fields = {name: field[0] for name, field in found.fields.items()}
        mean = {name: field.mean(0, keepdim=True) for name, field in fields.items()}
        draws = {name: field[:num] for name, field in fields.items()}
        return Answer(mean, draws, found.calls, found.seconds, self._pairs)


def _pseudo_inverse(prior: Prior, measured: Measured, options: Options) -> Answerer:
    cov, axes = prior.variances, prior.axes
    jacobian = options.jacobian
    if jacobian is None:
        is_trained = axes is not None
        is_inverse = prior.problem.names[0] not in measured.fields
        jacobian = is_trained and is_inverse and prior.name in _WITH_JACOBIAN
    guidance = PseudoInverse(cov=cov, axes=axes, jacobian=jacobian)
    return _Sampled(prior, guidance, measured, options.steps, "angle")


def _dps(prior: Prior, measured: Measured, options: Options) -> Answerer:
    guidance = DPS(options.dps_weight)
    return _Sampled(prior, guidance, measured, options.dps_steps, "euler")


def _adam(prior: Prior, measured: Measured, options: Options) -> Answerer:
    is_spectral = hasattr(prior.latent, "mode_numbers")
    guidance = PersistentAdam() if is_spectral else PersistentAdam(rate_high=0.2)
    return _Sampled(prior, guidance, measured, options.adam_steps, "euler")


METHODS: dict[str, Callable[[Prior, Measured, Options], Answerer]] = {
    "pseudo-inverse": _pseudo_inverse,
    "exact": _exact,
    "dps": _dps,
    "adam": _adam,
    "kriging": _kriging,
}
"""Methods by the names of files and command lines."""
