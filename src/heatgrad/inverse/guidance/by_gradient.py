"""Gradients of misfits through the denoiser, for the guidances that follow them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heatgrad.inverse.guidance.guidance import Denoise
from heatgrad.inverse.latents.latent import Latent
from heatgrad.inverse.observing.instrument import Instrument
from heatgrad.inverse.observing.operators import Operator

__all__ = ["Misfit", "Residual", "check_weights", "gradient", "squared_norm"]

Residual = Callable[[Mapping[str, Tensor]], Tensor]
"""From fields, each (num, n, n), to how far they are from an equation, (num, ...)."""

Size = Callable[[Tensor], Tensor]  # of (num, k): one number a sample


@dataclass(frozen=True, eq=False)
class Misfit:
    """How far fields are from what was observed, and from an equation.

    Attributes:
        latent: Of the samples.
        instrument: The sensors.
        weights: Of each observed field.
        relative: Whether misfits are taken over the norm of the values of a field.
        residual: Of an equation, or None.
        size: Of the misfits of one field, or the residual: a norm, or its square.
    """

    latent: Latent
    instrument: Instrument
    weights: Mapping[str, float]
    relative: bool
    residual: Residual | None
    size: Size

    @classmethod
    def of(
        cls,
        latent: Latent,
        operators: Sequence[Operator],
        weights: Mapping[str, float] | float,
        *,
        relative: bool,
        residual: Residual | None,
        size: Size,
    ) -> "Misfit":
        """Return the misfit of some sensors.

        Raises:
            ValueError: If a weight is missing for an observed field.
        """
        instrument = Instrument(latent.grid, operators, latent.names)
        if not isinstance(weights, Mapping):
            weights = dict.fromkeys(instrument.fields, float(weights))
        missing = [name for name in instrument.fields if name not in weights]
        if missing:
            raise ValueError(
                f"weights must name every observed field, got none for {', '.join(missing)}"
            )
        return cls(latent, instrument, weights, relative, residual, size)

    def __call__(self, x0: Tensor, values: Tensor, residual_weight: float) -> Tensor:
        """Return the weighted sum of misfits of each sample, shape (n,)."""
        fields = self.latent.decode(x0)
        gap = self.instrument(fields) - values
        total = gap.new_zeros(len(gap))
        for name in self.instrument.fields:
            own = self.instrument.of(name).to(gap.device)
            part = gap[:, own]
            if self.relative:
                size = torch.linalg.vector_norm(values[:, own], dim=1, keepdim=True)
                part = part / torch.where(size > 0, size, 1.0)
            total = total + self.weights[name] * self.size(part)
        if self.residual is not None and residual_weight > 0:
            total = total + residual_weight * self.size(self.residual(fields).flatten(1))
        return total


def squared_norm(gap: Tensor) -> Tensor:
    """Return the squared norm of each row.

    Example:
        >>> squared_norm(torch.tensor([[3.0, 4.0]]))
        tensor([25.])
    """
    return gap.square().sum(1)


def gradient(
    denoise: Denoise, loss: Callable[[Tensor], Tensor], x: Tensor, sigma: float
) -> tuple[Tensor, Tensor]:
    """Return the denoised samples and the gradient in x of a loss of them, through the denoiser.

    Args:
        denoise: The denoiser.
        loss: One number a sample.
        x: Samples, shape (n, *shape).
        sigma: Their level.

    Raises:
        ValueError: If the gradient is not finite, or there is none.

    Example:
        >>> half = lambda x, sigma: x / 2
        >>> gradient(half, lambda x0: x0.square().sum(1), torch.ones(1, 2), 1.0)[1]
        tensor([[0.5000, 0.5000]])
    """
    with torch.enable_grad():
        noisy = x.detach().requires_grad_()
        x0 = denoise(noisy, sigma)
        total = loss(x0).sum()
        if not total.requires_grad:
            raise ValueError("the denoiser and the decoder must be differentiable, got no gradient")
        (slope,) = torch.autograd.grad(total, noisy)
    if not bool(slope.isfinite().all()):
        raise ValueError(
            f"the gradient of the misfit must be finite, got NaN or infinite numbers at level "
            f"{sigma:.3g}; lower the weights"
        )
    return x0.detach(), slope


def check_weights(weights: Mapping[str, float] | float, residual_weight: float) -> None:
    """Refuse weights that are negative or not finite.

    Raises:
        ValueError: If one is.

    Example:
        >>> check_weights({"u": 1.0}, 0.0)
    """
    given = list(weights.values()) if isinstance(weights, Mapping) else [weights]
    for value in (*given, residual_weight):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"weights must be finite and at least 0, got {value}")
