"""What all latents offer: from fields to numbers and back."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.pde.grid import Grid

__all__ = ["Latent", "decode_in_parts", "named_fields"]

_PART = 128  # fields that are decoded together


@runtime_checkable
class Latent(Protocol):
    """Coordinates of one or several fields on a grid."""

    @property
    def grid(self) -> Grid:
        """Where the values of the fields stand."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields that `decode` returns."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one latent."""
        ...

    @property
    def num_numbers(self) -> int:
        """How many numbers of a latent matter; the others are padding."""
        ...

    def encode(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Return the latents of fields of shape (num, n, n): (num, *shape)."""
        ...

    def decode(self, z: Tensor) -> dict[str, Tensor]:
        """Return the fields of latents, shape (num, *shape): each (num, n, n), differentiable."""
        ...


def named_fields(
    fields: Mapping[str, Tensor], names: tuple[str, ...], grid: Grid
) -> tuple[Float[Tensor, "num n n"], ...]:
    """Return the fields of these names, checked; others are not looked at.

    Args:
        fields: By name, each of shape (num, n, n).
        names: The ones that are needed.
        grid: Of the fields.

    Raises:
        ValueError: If one is missing, has another shape or is not finite.

    Example:
        >>> (u,) = named_fields({"u": torch.zeros(1, 3, 3)}, ("u",), Grid(3))
    """
    found = []
    for name in names:
        if name not in fields:
            raise ValueError(f"fields must hold {name!r}, got {', '.join(fields) or 'none'}")
        field = fields[name]
        if field.ndim != 3 or tuple(field.shape[1:]) != grid.shape:
            raise ValueError(
                f"{name} must have shape (num, {grid.n}, {grid.n}), got {tuple(field.shape)}"
            )
        if not bool(field.detach().isfinite().all()):
            raise ValueError(f"{name} must be finite, got NaN or infinite values")
        found.append(field)
    if len({len(field) for field in found}) > 1:
        raise ValueError(f"fields must be equally many, got {[len(field) for field in found]}")
    return tuple(found)


def decode_in_parts(
    latent: Latent, z: Float[Tensor, "*batch"], names: tuple[str, ...] | None = None
) -> dict[str, Tensor]:
    """Return the fields of latents with any number of leading axes, some at a time.

    Args:
        latent: Of the numbers.
        z: Shape (*batch, *latent.shape).
        names: The fields that are wanted; all if None.

    Returns:
        Each field, shape (*batch, n, n), without gradients.

    Raises:
        ValueError: If the shape does not end with that of the latent.

    Example:
        >>> from heatgrad.inverse import Basis, SpectralLatent, Square
        >>> one = torch.ones(1, 2, 2)
        >>> latent = SpectralLatent(Grid(4), {"u": Basis("neumann", Square(2))}, 0 * one, one)
        >>> decode_in_parts(latent, torch.zeros(3, 5, 1, 2, 2))["u"].shape
        torch.Size([3, 5, 4, 4])
    """
    size = len(latent.shape)
    if tuple(z.shape[z.ndim - size :]) != latent.shape:
        raise ValueError(f"z must end with shape {latent.shape}, got {tuple(z.shape)}")
    batch = z.shape[: z.ndim - size]
    wanted = latent.names if names is None else names
    flat = z.reshape(-1, *latent.shape)
    with torch.no_grad():
        found = {name: z.new_empty(len(flat), *latent.grid.shape) for name in wanted}
        for first in range(0, len(flat), _PART):
            part = latent.decode(flat[first : first + _PART])
            for name in wanted:
                found[name][first : first + _PART] = part[name]
    return {name: field.reshape(*batch, *latent.grid.shape) for name, field in found.items()}
