"""What controls have in common: the gradients of all groups, and lengths to match."""

from collections.abc import Sequence

import torch
from torch import Tensor

from heatgrad.optim import sharded
from heatgrad.optim.dials import is_zero
from heatgrad.optim.diffused import diffuse
from heatgrad.optim.drop_in import ActiveGroup

__all__ = ["diffused_length", "gradients_of", "is_still", "length_of", "one_where_zero"]


def is_still(groups: Sequence[ActiveGroup]) -> bool:
    """Whether nothing diffuses: every λ is the number 0."""
    return all(is_zero(group.options["diffusion"]) for group in groups)


def gradients_of(groups: Sequence[ActiveGroup]) -> list[Tensor]:
    """Return the gradients of all groups, in order."""
    return [grad for group in groups for grad in group.grads]


def length_of(grads: Sequence[Tensor], groups: Sequence[ActiveGroup]) -> Tensor:
    """Return the norm over whole tensors, of which a list holds the parts here; 0-d, float64."""
    return sharded.global_norm(grads, [layout for group in groups for layout in group.layouts])


def diffused_length(groups: Sequence[ActiveGroup]) -> Tensor:
    r"""Return $\lVert G g \rVert$, the length that `DiffusionSGD` would give; 0-d, float64."""
    return length_of(diffuse(groups), groups)


def one_where_zero(length: Tensor) -> Tensor:
    """Return a length to divide by: a zero is divided by one, and stays zero."""
    return torch.where(length > 0, length, torch.ones_like(length))
