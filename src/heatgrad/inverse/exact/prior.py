"""A Gaussian law of latents, given or fitted."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["GaussianPrior", "shrunk_covariance"]

_ROUNDING = 1e-12  # of the mean variance, added to factor a covariance of lower rank


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """The law N(m, S) of flattened latents.

    Attributes:
        mean: m, shape (numbers,), float64.
        cov: S, shape (numbers, numbers), or its diagonal, shape (numbers,); None for the identity.

    Raises:
        ValueError: If a shape does not fit, a number is not finite, S is not symmetric, or a
            variance is negative.

    Example:
        >>> GaussianPrior(torch.zeros(2), torch.tensor([1.0, 4.0])).times(torch.ones(1, 2)).tolist()
        [[1.0, 4.0]]
    """

    mean: Float[Tensor, " numbers"]
    cov: Float[Tensor, "*numbers"] | None = None

    def __post_init__(self) -> None:
        size = self.mean.numel()
        object.__setattr__(self, "mean", self.mean.detach().double().flatten())
        if not bool(self.mean.isfinite().all()):
            raise ValueError("mean must be finite, got NaN or infinite numbers")
        if self.cov is None:
            return
        cov = self.cov.detach().double()
        if tuple(cov.shape) not in ((size,), (size, size)):
            raise ValueError(
                f"cov must have shape ({size}, {size}) or ({size},) as the mean has {size} "
                f"numbers, got {tuple(cov.shape)}"
            )
        if not bool(cov.isfinite().all()):
            raise ValueError("cov must be finite, got NaN or infinite numbers")
        diagonal = cov if cov.ndim == 1 else cov.diagonal()
        if bool((diagonal < 0).any()):
            raise ValueError("cov must have variances of at least 0, got a negative one")
        if cov.ndim == 2 and not torch.allclose(cov, cov.T, atol=1e-9 * float(diagonal.max())):
            raise ValueError("cov must be symmetric")
        object.__setattr__(self, "cov", cov)

    @classmethod
    def fit(
        cls, z: Float[Tensor, "num *shape"], *, shrinkage: float | None = None
    ) -> "GaussianPrior":
        """Return the law with the mean and the covariance of a sample, see `shrunk_covariance`.

        Args:
            z: Latents, at least two.
            shrinkage: From 0 (the covariance of the sample) to 1 (its diagonal); None for the
                estimate of the best.

        Raises:
            ValueError: If there are fewer than two, one is not finite, or `shrinkage` is out of
                range.

        Example:
            >>> z = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
            >>> GaussianPrior.fit(z).cov.shape
            torch.Size([3, 3])
        """
        cov, _ = shrunk_covariance(z, shrinkage=shrinkage)
        return cls(z.detach().flatten(1).double().mean(0), cov)

    def times(self, x: Float[Tensor, "rows numbers"]) -> Float[Tensor, "rows numbers"]:
        """Return x S."""
        if self.cov is None:
            return x
        cov = self.cov.to(x)
        return x * cov if cov.ndim == 1 else x @ cov

    def colored(self, noise: Float[Tensor, "rows numbers"]) -> Float[Tensor, "rows numbers"]:
        """Return rows of covariance S from white ones.

        Raises:
            ValueError: If S has a negative eigenvalue.
        """
        if self.cov is None:
            return noise
        if self.cov.ndim == 1:
            return noise * self.cov.sqrt().to(noise)
        factor: Tensor = self._factor
        return noise @ factor.to(noise).T

    def sample(self, num: int, generator: torch.Generator) -> Float[Tensor, "num numbers"]:
        """Return draws, float64, on the CPU.

        Raises:
            ValueError: If S has a negative eigenvalue.

        Example:
            >>> prior = GaussianPrior(torch.zeros(2))
            >>> prior.sample(3, torch.Generator().manual_seed(0)).shape
            torch.Size([3, 2])
        """
        noise = torch.randn(num, self.mean.numel(), generator=generator, dtype=torch.float64)
        return self.mean.to("cpu") + self.colored(noise)

    @cached_property
    def _factor(self) -> Tensor:
        assert self.cov is not None
        shift = _ROUNDING * float(self.cov.diagonal().mean())
        shifted = self.cov + shift * torch.eye(len(self.cov), dtype=torch.float64).to(self.cov)
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if int(failed):
            raise ValueError("cov must have no negative eigenvalue, got one; fit it with shrinkage")
        return factor


def shrunk_covariance(
    z: Float[Tensor, "num *shape"], *, shrinkage: float | None = None
) -> tuple[Float[Tensor, "numbers numbers"], float]:
    r"""Return the covariance of a sample drawn toward its diagonal, and how far.

    $$\hat S = (1 - \rho) C + \rho \operatorname{diag} C, \qquad
    \rho = \frac{\sum_{i \ne j} (C_{ii} C_{jj} + C_{ij}^2) / (n - 1)}{\sum_{i \ne j} C_{ij}^2},
    \tag{I.14}$$

    the ρ of least expected squared error, with the variance that the entries of C have in Gaussian
    samples, cut to [0, 1].

    Args:
        z: Latents, at least two.
        shrinkage: ρ; None for the estimate.

    Raises:
        ValueError: If there are fewer than two, one is not finite, or ρ is out of range.

    References:
        Schäfer and Strimmer (2005), Stat. Appl. Genet. Mol. Biol. 4, 32, target D. Theory page:
        Eq. (I.14).

    Example:
        >>> z = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
        >>> shrunk_covariance(z)[1] > 0.9  # independent numbers, few samples
        True
    """
    if len(z) < 2:
        raise ValueError(f"a fit needs at least 2 latents, got {len(z)}")
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be from 0 to 1, got {shrinkage}")
    flat = z.detach().flatten(1).double()
    if not bool(flat.isfinite().all()):
        raise ValueError("latents must be finite, got NaN or infinite numbers")
    flat = flat - flat.mean(0)
    cov = flat.T @ flat / (len(flat) - 1)
    diagonal = cov.diagonal().clone()
    if shrinkage is None:
        off = float(cov.square().sum() - diagonal.square().sum())
        products = float(diagonal.sum().square() - diagonal.square().sum())
        error = (products + off) / (len(flat) - 1)
        shrinkage = 1.0 if off <= 0 else min(1.0, error / off)
    cov = (1 - shrinkage) * cov
    cov.diagonal().copy_(diagonal)
    return cov, shrinkage
