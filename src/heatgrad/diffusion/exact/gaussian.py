"""The denoiser of a Gaussian law."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.diffusion.denoiser import levels_like

__all__ = ["GaussianDenoiser", "spectrum_of"]


@dataclass(frozen=True, eq=False)
class GaussianDenoiser:
    r"""The exact denoiser of data with a Gaussian law.

    $$D(x, \sigma) = m + S (S + \sigma^2 I)^{-1} (x - m), \qquad x_0 \sim \mathcal N(m, S).
    \tag{D.18}$$

    Each call costs O(1) a number with `std`, and two products with the eigenvectors with `cov`,
    which is factored once.

    Args:
        mean: m, shape (*shape) [data].
        std: Standard deviation of independent numbers, shape (*shape) or (), at least 0 [data].
        cov: S of the flattened numbers, shape (d, d), in place of `std` [data²].

    Attributes:
        mean: As given.
        std: As given.
        cov: As given.

    Raises:
        ValueError: If a shape does not fit, a number is not finite, or the covariance is not
            symmetric with eigenvalues of at least 0, up to rounding.

    References:
        Theory page: Eq. (D.18).

    Example:
        >>> law = GaussianDenoiser(torch.zeros(2), std=torch.tensor([1.0, 2.0]))
        >>> law(torch.tensor([[4.0, 5.0]]), torch.tensor(1.0))
        tensor([[2., 4.]])
    """

    mean: Tensor
    std: Tensor | float | None = field(default=None, kw_only=True)
    cov: Tensor | None = field(default=None, kw_only=True)
    _variances: Tensor = field(init=False, repr=False)
    _vectors: Tensor | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        variances, vectors = spectrum_of(self.mean, self.std, self.cov)
        object.__setattr__(self, "_variances", variances)
        object.__setattr__(self, "_vectors", vectors)

    def __call__(
        self, x: Float[Tensor, "n *shape"], sigma: Float[Tensor, "*n"], label: Tensor | None = None
    ) -> Float[Tensor, "n *shape"]:
        """Return the denoised samples, see `Denoiser`; a label changes nothing.

        Raises:
            ValueError: If the samples are of another shape than the mean.
        """
        modes, sigma2 = self._modes(x, sigma)
        total = self._spread(x) + sigma2
        gain = torch.where(total > 0, self._spread(x) / total, torch.zeros_like(total))
        return self._samples(gain * modes, x)

    def log_density(
        self, x: Float[Tensor, "n *shape"], sigma: Float[Tensor, "*n"]
    ) -> Float[Tensor, " n"]:
        """Return the log-density of noisy samples, of N(m, S + σ² I) [nats].

        Raises:
            ValueError: If the samples are of another shape than the mean.
        """
        modes, sigma2 = self._modes(x, sigma)
        total = self._spread(x) + sigma2
        return -0.5 * (modes**2 / total + torch.log(2 * math.pi * total)).sum(1)

    def flow(
        self, x: Float[Tensor, "n *shape"], sigma: float, to: float
    ) -> Float[Tensor, "n *shape"]:
        r"""Return where the probability flow, Eq. (D.12), takes samples, exactly.

        $$x(s) = m + (S + s^2 I)^{1/2} (S + \sigma^2 I)^{-1/2} (x(\sigma) - m). \tag{D.19}$$

        Args:
            x: At level `sigma` [data].
            sigma: The level they are at, positive [data].
            to: s, the level to go to, at least 0 [data].

        Raises:
            ValueError: If a level is out of range, or the samples are of another shape.

        Example:
            >>> law = GaussianDenoiser(torch.zeros(1), std=1.0)
            >>> law.flow(torch.tensor([[5.0]]), 3.0**0.5, 0.0)
            tensor([[2.5000]])
        """
        if not (sigma > 0 and to >= 0):
            raise ValueError(f"need sigma > 0 and to >= 0, got {sigma} and {to}")
        modes, sigma2 = self._modes(x, torch.tensor(sigma, dtype=torch.float64))
        spread = self._spread(x)
        return self._samples(((spread + to**2) / (spread + sigma2)).sqrt() * modes, x)

    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        """Return samples without noise, shape (num, *shape), of the mean's dtype and device."""
        noise = torch.randn(
            num, self.mean.numel(), generator=generator, dtype=torch.float64
        ) * self._variances.sqrt().to("cpu")
        return self._samples(noise.to(self.mean), self.mean.new_zeros(num, *self.mean.shape))

    def _spread(self, x: Tensor) -> Tensor:
        return self._variances.to(x)

    def _modes(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return samples less the mean in the eigenbasis, shape (n, d), and the squared level."""
        if x.shape[1:] != self.mean.shape:
            raise ValueError(
                f"samples must have the mean's shape {tuple(self.mean.shape)}, got "
                f"{tuple(x.shape[1:])}"
            )
        rest = (x - self.mean.to(x)).reshape(len(x), self.mean.numel())
        sigma2 = levels_like(sigma, rest) ** 2
        return (rest if self._vectors is None else rest @ self._vectors.to(x)), sigma2

    def _samples(self, modes: Tensor, like: Tensor) -> Tensor:
        rest = modes if self._vectors is None else modes @ self._vectors.to(modes).T
        return self.mean.to(like) + rest.reshape(like.shape)


def spectrum_of(
    mean: Tensor, std: Tensor | float | None, cov: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the variances of independent modes, shape (d,), float64, and their directions.

    Args:
        mean: Shape (*shape).
        std: Of independent numbers; the directions are then None.
        cov: Of the flattened numbers, shape (d, d).

    Raises:
        ValueError: If there is not exactly one of the two, or it is no covariance of such numbers.

    Example:
        >>> spectrum_of(torch.zeros(2), 3.0, None)[0].tolist()
        [9.0, 9.0]
    """
    if not bool(torch.isfinite(mean).all()) or not mean.is_floating_point():
        raise ValueError(f"mean must be finite real numbers, got {mean.dtype}")
    if (std is None) == (cov is None):
        raise ValueError("give either std or cov, got " + ("none" if std is None else "both"))
    size = mean.numel()
    if cov is None:
        values = torch.as_tensor(std, dtype=torch.float64, device=mean.device)
        if values.ndim and values.shape != mean.shape:
            raise ValueError(
                f"std must be one number or of the mean's shape {tuple(mean.shape)}, got "
                f"{tuple(values.shape)}"
            )
        if not bool((torch.isfinite(values) & (values >= 0)).all()):
            raise ValueError("std must be finite and at least 0")
        return (values**2).expand(mean.shape).reshape(size).clone(), None
    S = cov.to(mean.device, torch.float64)
    if S.shape != (size, size) or not bool(torch.isfinite(S).all()):
        raise ValueError(f"cov must be finite, shape ({size}, {size}), got {tuple(cov.shape)}")
    largest = float(S.abs().max()) if size else 0.0
    rounding = 64 * max(torch.finfo(cov.dtype).eps, 1e-15) * size
    if float((S - S.T).abs().max()) > rounding * largest:
        raise ValueError("cov must be symmetric")
    variances, vectors = torch.linalg.eigh((S + S.T) / 2)
    if float(variances.min()) < -rounding * largest:
        raise ValueError(f"cov must have no negative eigenvalue, got {float(variances.min()):.3g}")
    return variances.clamp(min=0), vectors
