"""What all guidances offer to the sampler."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from heatgrad.inverse.latents.latent import Latent
from heatgrad.inverse.observing.operators import Operator

__all__ = ["Denoise", "Guidance", "Guided", "Steering"]

Denoise = Callable[[Tensor, float], Tensor]  # flattened or shaped samples at one level


@runtime_checkable
class Steering(Protocol):
    """A guidance at work on some samples, from the first level to the last."""

    def denoise(self, x: Tensor, sigma: float, *, is_first: bool) -> Tensor:
        """Return what the sampler takes for the clean samples.

        Args:
            x: Samples, shape (n, *shape).
            sigma: Their level.
            is_first: Whether this is the call that begins a step; Heun's steps have two.
        """
        ...

    def moved(self, x: Tensor, sigma: float, below: float) -> Tensor:
        """Return samples that a step took from one level to the next, corrected."""
        ...

    def finished(self, x: Tensor) -> Tensor:
        """Return samples at level 0, corrected."""
        ...


@runtime_checkable
class Guided(Protocol):
    """A guidance that is set up for its sensors."""

    def steer(self, denoise: Denoise, values: Tensor, generator: torch.Generator) -> Steering:
        """Return the guidance of some samples.

        Args:
            denoise: The denoiser, of samples of shape (n, *shape) at one level.
            values: What the sensors said to each sample, shape (n, m).
            generator: Of the CPU, for guidances that need noise.
        """
        ...


@runtime_checkable
class Guidance(Protocol):
    """A way to bring observations into a sampler."""

    def prepare(
        self,
        latent: Latent,
        operators: Sequence[Operator],
        noise: Tensor,
        *,
        levels: Sequence[float],
        device: torch.device | str | None,
    ) -> Guided:
        """Return what all cases with the same sensors share.

        Args:
            latent: Whose numbers are sampled.
            operators: What is measured.
            noise: Standard deviation of each value, shape (m,).
            levels: Of the sampler.
            device: Where the samples are.
        """
        ...
