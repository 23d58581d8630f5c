"""What every loss draws: levels, noise, and which labels are told."""

import torch
from torch import Tensor

from heatgrad.diffusion.denoiser import LabelledDenoiser, levels_like

__all__ = ["check_real", "check_share", "mean_of_each", "noisy", "sigma_data_of", "told"]


def check_share(drop_label: float) -> None:
    """Refuse a share of labels to drop that is none.

    Raises:
        ValueError: If it is not from 0 to 1.
    """
    if not 0 <= drop_label <= 1:
        raise ValueError(f"drop_label must be from 0 to 1, got {drop_label}")


def check_real(x: Tensor) -> None:
    """Refuse samples of whole numbers, to which no noise can be added.

    Raises:
        ValueError: If they are of an integer type.
    """
    if not x.is_floating_point():
        raise ValueError(f"x must be real samples, got {x.dtype}; scale whole numbers to [-1, 1]")


def noisy(x: Tensor, sigma: Tensor) -> Tensor:
    """Return samples with noise of given levels, by the default generator of their device.

    Example:
        >>> noisy(torch.zeros(2, 3), torch.tensor([0.0, 1.0]))[0]
        tensor([0., 0., 0.])
    """
    return x + levels_like(sigma, x) * torch.randn_like(x)


def told(y: Tensor, drop_label: float) -> Tensor | None:
    """Return the labels that the network is told, -1 in place of those dropped.

    Args:
        y: Shape (n,), int64.
        drop_label: Share that is dropped, one by one at random; with 1 there are none at all.

    Example:
        >>> told(torch.tensor([3, 4]), 0.0), told(torch.tensor([3, 4]), 1.0)
        (tensor([3, 4]), None)
    """
    if drop_label == 1:
        return None
    if drop_label == 0:
        return y
    return torch.where(torch.rand(y.shape, device=y.device) < drop_label, -1, y)


def mean_of_each(values: Tensor) -> Tensor:
    """Return the mean over all numbers of each sample, shape (n,).

    Example:
        >>> mean_of_each(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
        tensor([2., 0.])
    """
    return values.reshape(len(values), -1).mean(1)


def sigma_data_of(model: LabelledDenoiser, sigma_data: float | None) -> float:
    """Return the deviation of the data that a network was built for, unless one is given.

    Raises:
        ValueError: If neither says.
    """
    if sigma_data is not None:
        return sigma_data
    value = getattr(
        model, "sigma_data", getattr(getattr(model, "module", None), "sigma_data", None)
    )
    if value is None:
        raise ValueError("the network has no attribute sigma_data; pass sigma_data to the loss")
    return float(value)
