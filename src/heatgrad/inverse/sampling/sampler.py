"""Sampling the posterior of sensors with a denoiser as the prior."""

import math
import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.diffusion.denoiser import Denoiser
from heatgrad.diffusion.levels.check import check_levels
from heatgrad.diffusion.samplers.step import checked_answer
from heatgrad.inverse.guidance.guidance import Guidance, Guided
from heatgrad.inverse.latents.latent import Latent, decode_in_parts
from heatgrad.inverse.observing.instrument import Instrument
from heatgrad.inverse.observing.observation import Observation, check_noise
from heatgrad.inverse.observing.operators import Operator
from heatgrad.inverse.sampling.draws import PosteriorDraws
from heatgrad.inverse.sampling.steps import SAMPLERS, Sampler, run

__all__ = ["PosteriorSampler", "PreparedSampler"]


@dataclass(frozen=True, eq=False)
class PosteriorSampler:
    r"""Draws of fields that agree with sensors, by reverse diffusion in a latent space.

    From $x \sim \mathcal N(0, (\sigma_0^2 + s^2) I)$ down the levels, every denoised sample guided
    by the observations. All draws of all cases that have the same sensors share one set-up, which
    is kept for the next call with the same operators and noise.

    Samples are float64; a denoiser that is a network is called in the type of its weights.

    Args:
        denoiser: Of latents, as from a trained network or `GaussianDenoiser`.
        latent: Its coordinates.
        guidance: `PseudoInverse`, `DPS`, `PersistentAdam` or `HardConstraint`.
        levels: Strictly decreasing, the last 0.
        sampler: `"angle"` or `"heun"`, two calls a step but the last, or `"euler"`, one.
        data_std: s, standard deviation of the latents, positive.
        antithetic: Whether starts come in pairs x, -x: of a Gaussian posterior the mean of the
            draws is then its mean, while each draw alone is as before.
        batch: Samples that go through the denoiser together, at least 1.
        device: Where to compute; the CPU if None.

    Raises:
        ValueError: If an option is out of range.

    References:
        Theory page: Eqs. (I.20) to (I.28).

    Example:
        >>> from heatgrad.diffusion import GaussianDenoiser, karras_levels
        >>> from heatgrad.inverse import Points, PseudoInverse, SpectralLatent
        >>> from heatgrad.pde import GaussianRandomField, Grid
        >>> latent = SpectralLatent.of_law(GaussianRandomField(Grid(8, "cells"), "neumann"))
        >>> prior = GaussianDenoiser(torch.zeros(latent.shape), std=1.0)
        >>> levels = karras_levels(10, sigma_min=0.02, sigma_max=20.0)
        >>> sampler = PosteriorSampler(prior, latent, PseudoInverse(), levels)
        >>> seen = Observation([Points("a", [(0.5, 0.5)])], torch.tensor([0.7]))
        >>> draws = sampler.draw(seen, 4, torch.Generator().manual_seed(0))
        >>> draws.fields["a"].shape, draws.calls
        (torch.Size([1, 4, 8, 8]), 19)
    """

    denoiser: Denoiser
    latent: Latent
    guidance: Guidance
    levels: Float[Tensor, " levels"]
    _: KW_ONLY
    sampler: Sampler = "angle"
    data_std: float = 1.0
    antithetic: bool = False
    batch: int = 256
    device: torch.device | str | None = None
    _last: list["PreparedSampler"] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        check_levels(self.levels)
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {self.sampler!r}")
        if not 0 < self.data_std < math.inf:
            raise ValueError(f"data_std must be positive and finite, got {self.data_std}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1 sample, got {self.batch}")

    def prepare(
        self, operators: Sequence[Operator], noise: Tensor | float = 0.0
    ) -> "PreparedSampler":
        """Return the sampler set up for sensors; the last set-up is kept.

        Args:
            operators: What is measured.
            noise: Standard deviation of all or of each.

        Raises:
            ValueError: If something does not fit the guidance or the latent.

        Warns:
            HeatgradWarning: If some sensors carry nothing and are dropped.
        """
        std = check_noise(noise, sum(len(operator) for operator in operators))
        for kept in self._last:
            same = len(kept.operators) == len(operators) and all(
                one is other for one, other in zip(kept.operators, operators, strict=True)
            )
            if same and torch.equal(kept.noise, std):
                return kept
        began = time.perf_counter()
        guided = self.guidance.prepare(
            self.latent, operators, std, levels=self.levels.tolist(), device=self.device
        )
        made = PreparedSampler(self, tuple(operators), std, guided, time.perf_counter() - began)
        self._last[:] = [made]
        return made

    def draw(
        self, observation: Observation, num: int, generator: torch.Generator
    ) -> PosteriorDraws:
        """Return draws for every case of an observation.

        The draws of a case do not depend on `batch`.

        Args:
            observation: Of one or several cases with the same sensors.
            num: Draws a case, at least 1; even if `antithetic`.
            generator: Of the CPU.

        Raises:
            ValueError: If `num` is out of range, values contradict each other, or something does
                not fit.

        Warns:
            HeatgradWarning: If some sensors carry nothing and are dropped.
        """
        prepared = self.prepare(observation.operators, observation.noise)
        return prepared.draw(observation.values, num, generator)


@dataclass(frozen=True, eq=False)
class PreparedSampler:
    """A sampler that is set up for its sensors.

    Attributes:
        sampler: The options.
        operators: What is measured.
        noise: Standard deviation of each value, shape (m,).
        guided: The guidance, set up.
        setup_seconds: How long that took [s].
    """

    sampler: PosteriorSampler
    operators: tuple[Operator, ...]
    noise: Float[Tensor, " m"]
    guided: Guided
    setup_seconds: float

    def draw(
        self, values: Float[Tensor, "cases m"], num: int, generator: torch.Generator
    ) -> PosteriorDraws:
        """Return draws for every case, see `PosteriorSampler.draw`.

        Raises:
            ValueError: As there.
        """
        sampler = self.sampler
        if num < 1 or (sampler.antithetic and num % 2):
            even = " and even, for pairs" if sampler.antithetic else ""
            raise ValueError(f"num must be at least 1 draw{even}, got {num}")
        self._check(values)
        began = time.perf_counter()
        found = []
        calls = _Calls(sampler.denoiser)
        at_once = max(1, sampler.batch // num)  # cases
        for some in torch.split(values, at_once):
            x = torch.stack([self._start(num, generator) for _ in some]).flatten(0, 1)
            each = some.to(x).repeat_interleave(num, 0)
            parts = []
            calls.count = 0
            for part, own in zip(*(torch.split(t, sampler.batch) for t in (x, each)), strict=True):
                calls.count = 0
                steering = self.guided.steer(calls, own, generator)
                levels = sampler.levels.tolist()
                parts.append(run(steering, part, levels, sampler.sampler, sampler.data_std))
            found.append(torch.cat(parts).reshape(len(some), num, *sampler.latent.shape))
        latents = torch.cat(found)
        fields = decode_in_parts(sampler.latent, latents)
        seconds = time.perf_counter() - began
        sensors = getattr(self.guided, "sensors", None)
        dropped = 0 if sensors is None else sensors.num_dropped
        return PosteriorDraws(latents, fields, calls.count, seconds, self.setup_seconds, dropped)

    def _check(self, values: Tensor) -> None:
        """Refuse values that do not fit the sensors, or contradict each other."""
        latent = self.sampler.latent
        instrument = Instrument(latent.grid, self.operators, latent.names)
        if values.ndim != 2 or values.shape[1] != len(instrument) or len(values) == 0:
            raise ValueError(
                f"values must have shape (cases, {len(instrument)}), got {tuple(values.shape)}"
            )
        if not bool(values.isfinite().all()):
            raise ValueError("values must be finite, got NaN or infinite ones")
        scale = torch.zeros(len(instrument), dtype=values.dtype, device=values.device)
        for name in instrument.fields:
            own = instrument.of(name).to(values.device)
            scale[own] = values[:, own].square().mean().sqrt()
        is_exact = (self.noise == 0).to(values.device)
        instrument.refuse_contradictions(values, is_exact, scale)

    def _start(self, num: int, generator: torch.Generator) -> Tensor:
        """Return pure noise at the first level for one case."""
        sampler = self.sampler
        count = num // 2 if sampler.antithetic else num
        shape = (count, *sampler.latent.shape)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64).to(sampler.device)
        if sampler.antithetic:
            noise = torch.stack([noise, -noise], 1).flatten(0, 1)
        return noise * math.hypot(float(sampler.levels[0]), sampler.data_std)


class _Calls:
    """A denoiser that is counted, and called in its own type."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.count = 0
        self._denoiser = denoiser
        self._dtype: torch.dtype | None = None
        if isinstance(denoiser, nn.Module):
            held = (*denoiser.parameters(), *denoiser.buffers())
            self._dtype = next((p.dtype for p in held if p.is_floating_point()), None)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.count += 1
        dtype = x.dtype if self._dtype is None else self._dtype
        level = torch.tensor(sigma, dtype=dtype, device=x.device)
        return checked_answer(self._denoiser(x.to(dtype), level), x, sigma)
