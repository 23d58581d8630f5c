"""Observations that hold exactly."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.inverse.exact.prior import GaussianPrior
from heatgrad.inverse.exact.sensors import MAX_OBSERVATIONS, SensorMatrix, sensor_matrix
from heatgrad.inverse.guidance.guidance import Denoise, Guidance, Guided, Steering
from heatgrad.inverse.latents.latent import Latent
from heatgrad.inverse.observing.operators import Operator

__all__ = ["HardConstraint"]

_ROUNDING = 1e-12  # of the largest eigenvalue: below, directions are not seen at all


@dataclass(frozen=True)
class HardConstraint:
    r"""Values without noise that every draw takes exactly.

    $$P z = z + A^\top (A A^\top)^+ (y - b - A z), \tag{I.26}$$

    the nearest latents that the sensors agree with. Alone, every denoised sample is projected, and
    with `renew` noise is drawn afresh at each level, as ECI sampling does; after another guidance,
    only its last samples are.

    What the prior cannot show, such as modes that a latent leaves out, is fitted by force: where
    sensors nearly determine each other, that makes large errors. Use it for values that the latent
    can take.

    Attributes:
        guidance: The guidance before it, or None.
        renew: Whether noise is drawn afresh; only alone.
        max_observations: Refuse more of them.

    Raises:
        ValueError: If `renew` goes with another guidance.

    References:
        Cheng et al. (2025), "Gradient-free generation for hard-constrained systems" (ECI), ICLR.
        Theory page: Eq. (I.26).

    Example:
        >>> HardConstraint().renew
        False
    """

    guidance: Guidance | None = None
    _: KW_ONLY
    renew: bool = False
    max_observations: int = MAX_OBSERVATIONS

    def __post_init__(self) -> None:
        if self.renew and self.guidance is not None:
            raise ValueError("renew must be False with another guidance, which keeps its own noise")

    def prepare(
        self,
        latent: Latent,
        operators: Sequence[Operator],
        noise: Tensor,
        *,
        levels: Sequence[float],
        device: torch.device | str | None = None,
    ) -> "_Guided":
        """Return what all cases with the same sensors share, see `Guidance`.

        Raises:
            ValueError: If there is noise, or as `ExactGaussianPosterior`.
        """
        if bool((noise > 0).any()):
            raise ValueError(
                f"values that hold exactly have no noise, got up to {float(noise.max()):g}; use "
                f"PseudoInverse"
            )
        prior = GaussianPrior(torch.zeros(math.prod(latent.shape)))
        sensors = sensor_matrix(
            latent, operators, noise, prior,
            jitter=0.0, max_observations=self.max_observations, device=device,
        )  # fmt: skip
        inner = None
        if self.guidance is not None:
            inner = self.guidance.prepare(latent, operators, noise, levels=levels, device=device)
        return _Guided.of(sensors, inner, self.renew)


@dataclass(frozen=True, eq=False)
class _Guided:
    sensors: SensorMatrix
    rotated: Float[Tensor, "seen numbers"]
    turn: Float[Tensor, "kept seen"]
    inner: Guided | None
    renew: bool

    @classmethod
    def of(cls, sensors: SensorMatrix, inner: Guided | None, renew: bool) -> "_Guided":
        scale = sensors.scale.to(sensors.matrix)[sensors.is_kept.to(sensors.matrix.device)]
        scaled = sensors.matrix / scale[:, None]
        values, vectors = torch.linalg.eigh(scaled @ scaled.T)
        seen = values > _ROUNDING * values[-1]
        turn = vectors[:, seen] / values[seen]
        return cls(sensors, vectors[:, seen].T @ scaled, turn / scale[:, None], inner, renew)

    def steer(self, denoise: Denoise, values: Tensor, generator: torch.Generator) -> "_Steering":
        inner = None if self.inner is None else self.inner.steer(denoise, values, generator)
        return _Steering(self, denoise, self.sensors.used(values), inner, generator)

    def project(self, z: Tensor, values: Tensor) -> Tensor:
        """Return the nearest latents that the sensors agree with, Eq. (I.26)."""
        for _ in range(2):  # the second takes away what rounding left
            rest = values - z.flatten(1) @ self.sensors.matrix.T
            z = z + (rest @ self.turn @ self.rotated).reshape(z.shape)
        return z


class _Steering:
    def __init__(
        self,
        guided: _Guided,
        denoise: Denoise,
        values: Tensor,
        inner: Steering | None,
        generator: torch.Generator,
    ) -> None:
        self._guided, self._denoise, self._values = guided, denoise, values
        self._inner, self._generator = inner, generator
        self._last: Tensor | None = None

    def denoise(self, x: Tensor, sigma: float, *, is_first: bool) -> Tensor:
        if self._inner is not None:
            return self._inner.denoise(x, sigma, is_first=is_first)
        self._last = self._guided.project(self._denoise(x, sigma), self._values)
        return self._last

    def moved(self, x: Tensor, sigma: float, below: float) -> Tensor:
        if self._inner is not None:
            return self._inner.moved(x, sigma, below)
        if not self._guided.renew or below == 0:
            return x
        assert self._last is not None
        noise = torch.randn(x.shape, generator=self._generator, dtype=torch.float64).to(x)
        return self._last + below * noise

    def finished(self, x: Tensor) -> Tensor:
        if self._inner is not None:
            x = self._inner.finished(x)
        return self._guided.project(x, self._values)
