"""Wrappers that turn a denoiser into one that heads for something."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from heatgrad.diffusion.denoiser import Denoiser, LabelledDenoiser, levels_like

__all__ = ["LogLikelihood", "classifier_free", "clipped", "gradient_guided", "with_label"]

LogLikelihood = Callable[[Tensor, Tensor, Tensor], Tensor]  # x, its denoised, sigma -> (n,)


def with_label(denoiser: LabelledDenoiser, label: int | Tensor) -> Denoiser:
    """Return a denoiser that is told the class of every sample.

    Args:
        denoiser: Of labelled samples.
        label: One class for all, or that of each, shape (n,), int64.

    Raises:
        ValueError: If a class is negative; on a call, if there is neither one nor one a sample.

    Example:
        >>> seven = with_label(lambda x, sigma, label=None: x + label, 7)
        >>> seven(torch.zeros(2), torch.tensor(1.0))
        tensor([7., 7.])
    """
    classes = _classes(label)

    def told(x: Tensor, sigma: Tensor) -> Tensor:
        return denoiser(x, sigma, _of_each(classes, x))

    return told


def classifier_free(denoiser: LabelledDenoiser, label: int | Tensor, scale: float) -> Denoiser:
    r"""Return a denoiser that overstates what the class adds.

    $$D_w = D(x, \sigma, c) + w \bigl(D(x, \sigma, c) - D(x, \sigma)\bigr), \tag{D.16}$$

    which in noise is $(1 + w)\,\epsilon_c - w\,\epsilon$. So w = 0 is the plain conditional
    denoiser (other codes name 1 + w the guidance scale). Two calls of the denoiser, one where w is
    0. It does not sample from a tilted density in general; for that see `gradient_guided`.

    Args:
        denoiser: Trained with some of its labels dropped.
        label: One class for all, or that of each, shape (n,), int64.
        scale: w, finite, at least -1, where the class is ignored [1].

    Raises:
        ValueError: If the scale or a class is out of range.

    References:
        Ho and Salimans (2022), arXiv:2207.12598v1, Eq. (6). Theory page: Eq. (D.16).

    Example:
        >>> known = lambda x, sigma, label=None: x if label is None else x + label
        >>> classifier_free(known, 1, 2.0)(torch.zeros(1), torch.tensor(1.0))
        tensor([3.])
    """
    if not -1 <= scale < math.inf:
        raise ValueError(f"scale must be at least -1 and finite, got {scale}")
    classes = _classes(label)

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        told = denoiser(x, sigma, _of_each(classes, x))
        return told if scale == 0 else told + scale * (told - denoiser(x, sigma, None))

    return guided


def gradient_guided(
    denoiser: Denoiser, log_likelihood: LogLikelihood, scale: float = 1.0
) -> Denoiser:
    r"""Return a denoiser that climbs a log-likelihood.

    $$D_y = D(x, \sigma) + w\, \sigma^2\, \nabla_x \log p(y \mid x). \tag{D.17}$$

    With w = 1 and the likelihood of y given the *noisy* sample this is the denoiser of the
    posterior, exactly. A likelihood of the denoised sample in its place is an approximation; its
    gradient goes through the denoiser.

    Args:
        denoiser: Any; differentiable where the likelihood uses what it returns.
        log_likelihood: Of the samples, what they denoise to, and the level, to shape (n,). It may
            use either of the first two.
        scale: w, finite [1].

    Raises:
        ValueError: If the scale is not finite; on a call, if the likelihood is of another shape or
            its gradient is not finite.

    References:
        Dhariwal and Nichol (2021), arXiv:2105.05233v4, Algorithm 1; Chung et al. (2022),
        arXiv:2209.14687v4, Eq. (14). Theory page: Eq. (D.17).

    Example:
        >>> prior = lambda x, sigma: x / (1 + sigma**2)
        >>> seen = lambda x, x0, sigma: -((x - 3) ** 2) / 2
        >>> gradient_guided(prior, seen)(torch.zeros(1), torch.tensor(1.0))
        tensor([3.])
    """
    if not math.isfinite(scale):
        raise ValueError(f"scale must be finite, got {scale}")

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        with torch.enable_grad():
            noisy = x.detach().requires_grad_()
            x0 = denoiser(noisy, sigma)
            value = log_likelihood(noisy, x0, sigma)
            if value.shape != x.shape[:1]:
                raise ValueError(
                    f"log_likelihood must return one number a sample, shape ({len(x)},), got "
                    f"{tuple(value.shape)}"
                )
            (slope,) = torch.autograd.grad(value.sum(), noisy)
        if not bool(torch.isfinite(slope).all()):
            raise ValueError("the gradient of log_likelihood must be finite, got NaN or inf")
        return x0.detach() + scale * levels_like(sigma, x) ** 2 * slope

    return guided


def clipped(denoiser: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """Return a denoiser whose answers are kept within the range of the data.

    Samplers derive the noise from the clipped answer.

    Args:
        denoiser: Any.
        low: Least value of the data [data].
        high: Largest, above it [data].

    Raises:
        ValueError: If not `low < high`.

    Example:
        >>> clipped(lambda x, sigma: 5 * x)(torch.ones(1), torch.tensor(1.0))
        tensor([1.])
    """
    if not low < high:
        raise ValueError(f"need low < high, got {low} and {high}")

    def within(x: Tensor, sigma: Tensor) -> Tensor:
        return denoiser(x, sigma).clamp(low, high)

    return within


def _classes(label: int | Tensor) -> Tensor:
    classes = torch.as_tensor(label)
    if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        raise ValueError(f"label must be whole numbers, got {classes.dtype}")
    if classes.ndim > 1 or (classes.numel() and int(classes.min()) < 0):
        raise ValueError(f"label must be one class, at least 0, or a list of them, got {label}")
    return classes.long()


def _of_each(classes: Tensor, x: Tensor) -> Tensor:
    if classes.ndim and len(classes) != len(x):
        raise ValueError(f"label must be one for each of {len(x)} samples, got {len(classes)}")
    return classes.to(x.device).expand(len(x))
