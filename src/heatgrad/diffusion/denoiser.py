"""What all of this subpackage is about: a function that takes the noise out of a sample."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

__all__ = ["Denoiser", "LabelledDenoiser", "VarianceDenoiser", "levels_like"]


@runtime_checkable
class Denoiser(Protocol):
    r"""The expected clean sample, given a noisy one, $D(x, \sigma) = E[x_0 \mid x]$.

    $$x = x_0 + \sigma n, \qquad n \sim \mathcal N(0, I). \tag{D.1}$$

    One noise coordinate throughout: the standard deviation sigma of what was added to the sample
    itself. A chain in the scaled form $x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} n$
    is this one with $\sigma = \sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}$, Eq. (D.2).
    """

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the denoised samples.

        Args:
            x: Noisy samples, shape (n, *shape) [data].
            sigma: Noise level of all, shape (), or of each, shape (n,) [data].

        Returns:
            Shape (n, *shape), dtype and device of `x` [data].
        """
        ...


@runtime_checkable
class LabelledDenoiser(Protocol):
    """A denoiser that may be told the class of each sample."""

    def __call__(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the denoised samples, as `Denoiser` does.

        Args:
            x: Noisy samples, shape (n, *shape) [data].
            sigma: Noise level of all, shape (), or of each, shape (n,) [data].
            label: Class of each, shape (n,), int64, -1 where it is not told; None where none is.
        """
        ...


@runtime_checkable
class VarianceDenoiser(Protocol):
    r"""A denoiser that has also learned the variance of a step of the reverse chain.

    $$\log v = f \log v_{\text{large}} + (1 - f) \log v_{\text{small}}. \tag{D.9}$$
    """

    def __call__(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the denoised samples, as `LabelledDenoiser` does."""
        ...

    def with_fraction(
        self, x: Tensor, sigma: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the denoised samples and f of each number of them, both of the shape of `x`."""
        ...


def levels_like(sigma: Float[Tensor, "*n"], x: Float[Tensor, "n *shape"]) -> Tensor:
    """Return noise levels in a shape that broadcasts against samples, in their dtype and device.

    Args:
        sigma: Level of all, shape (), or of each sample, shape (n,) [data].
        x: Samples, shape (n, *shape).

    Raises:
        ValueError: If there is neither one level nor one a sample.

    Example:
        >>> import torch
        >>> levels_like(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4)).shape
        torch.Size([2, 1, 1])
    """
    if sigma.ndim > 1 or (sigma.ndim == 1 and len(sigma) not in (1, len(x))):
        raise ValueError(
            f"sigma must be one level, or one for each of {len(x)} samples, got shape "
            f"{tuple(sigma.shape)}"
        )
    sigma = sigma.to(x)
    return sigma.reshape(-1, *[1] * (x.ndim - 1)) if sigma.ndim else sigma
