"""The denoiser of a finite set of samples: what a network that learns them by heart becomes."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from heatgrad.diffusion.denoiser import levels_like

__all__ = ["EmpiricalDenoiser"]


@dataclass(frozen=True, eq=False)
class EmpiricalDenoiser:
    r"""The exact denoiser of data that are one of a finite set.

    $$D(x, \sigma) = \frac{\sum_i x_i\, e^{-|x - x_i|^2 / 2 \sigma^2}}
    {\sum_i e^{-|x - x_i|^2 / 2 \sigma^2}}. \tag{D.21}$$

    Distances are formed in float64 by products of matrices, a part of the set at a time; at level
    0 the answer is the nearest of the set.

    Args:
        samples: The set, shape (m, *shape), finite [data].
        labels: The class of each, shape (m,), int64; None where there are none.
        chunk: How many of the set are compared at once, at least 1; memory grows with it.

    Attributes:
        samples: As given.
        labels: As given.
        chunk: As given.

    Raises:
        ValueError: If a shape or a number is not as above.

    References:
        Karras et al. (2022), arXiv:2206.00364v2, Eq. (57). Theory page: Eq. (D.21).

    Example:
        >>> law = EmpiricalDenoiser(torch.tensor([[-1.0], [1.0]]))
        >>> law(torch.tensor([[0.0], [9.0]]), torch.tensor(0.5))
        tensor([[0.],
                [1.]])
    """

    samples: Tensor
    labels: Tensor | None = field(default=None, kw_only=True)
    chunk: int = field(default=4096, kw_only=True)
    _centre: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.samples.ndim < 1 or not len(self.samples):
            raise ValueError(f"samples must be a set (m, *shape), got {tuple(self.samples.shape)}")
        if not self.samples.is_floating_point() or not bool(torch.isfinite(self.samples).all()):
            raise ValueError(f"samples must be finite real numbers, got {self.samples.dtype}")
        if self.labels is not None and self.labels.shape != self.samples.shape[:1]:
            raise ValueError(
                f"labels must be one for each of {len(self.samples)} samples, got "
                f"{tuple(self.labels.shape)}"
            )
        if self.chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {self.chunk}")
        object.__setattr__(self, "_centre", self.samples.mean(0, dtype=torch.float64))

    def __call__(
        self,
        x: Float[Tensor, "n *shape"],
        sigma: Float[Tensor, "*n"],
        label: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """Return the denoised samples, see `LabelledDenoiser`.

        Raises:
            ValueError: If the samples are of another shape than the set's, or none of the set is
                of a class.
        """
        if x.shape[1:] != self.samples.shape[1:]:
            raise ValueError(
                f"samples must have the set's shape {tuple(self.samples.shape[1:])}, got "
                f"{tuple(x.shape[1:])}"
            )
        centre = self._centre.to(x.device)
        flat = (x.double() - centre).reshape(len(x), centre.numel())
        tiny = torch.finfo(torch.float64).tiny
        twice = (2 * levels_like(sigma.double(), flat) ** 2).clamp(min=tiny).expand(len(x), 1)
        nearest = flat.new_full((len(x), 1), torch.inf)  # squared distance, so far
        weight, total = torch.zeros_like(nearest), torch.zeros_like(flat)
        for i in range(0, len(self.samples), self.chunk):
            part = self.samples[i : i + self.chunk].to(x.device, torch.float64) - centre
            part = part.reshape(len(part), centre.numel())
            away = (flat**2).sum(1, keepdim=True) - 2 * flat @ part.T + (part**2).sum(1)
            away = self._masked(away.clamp(min=0), label, i)
            closer = torch.minimum(nearest, away.amin(1, keepdim=True))
            # The sums so far are of weights relative to the old nearest one.
            old = torch.where(nearest.isinf(), 0.0, torch.exp((closer - nearest) / twice))
            new = torch.where(away.isinf(), 0.0, torch.exp((closer - away) / twice))
            weight = old * weight + new.sum(1, keepdim=True)
            total, nearest = old * total + new @ part, closer
        if not bool((weight > 0).all()):
            known = [] if self.labels is None else sorted(set(self.labels.tolist()))
            raise ValueError(f"label must be among the classes {known}, got another")
        return (centre.reshape(1, -1) + total / weight).reshape(x.shape).to(x.dtype)

    def _masked(self, away: Tensor, label: Tensor | None, first: int) -> Tensor:
        """Return squared distances, infinite to what is of another class."""
        if label is None:
            return away
        if self.labels is None:
            raise ValueError("the set has no labels; pass labels=..., or no label here")
        classes = self.labels[first : first + self.chunk].to(away.device)
        told = label.to(away.device).unsqueeze(1)
        return away.masked_fill((told != classes) & (told >= 0), torch.inf)
