"""Values on the grid as a latent: what spectral latents are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.pde import Grid

__all__ = ["GridLatent"]


@dataclass(frozen=True, eq=False)
class GridLatent:
    """The fields themselves, each less its mean and over its standard deviation.

    Attributes:
        grid: Of the fields.
        names: Of the fields, one channel each.
        mean: Of each field, shape (channels,), float64 [field].
        std: Of each field, shape (channels,), positive [field].

    Example:
        >>> fields = {"u": torch.randn(5, 8, 8, dtype=torch.float64)}
        >>> latent = GridLatent.fit(fields, Grid(8))
        >>> again = latent.decode(latent.encode(fields))["u"]
        >>> latent.shape, bool(torch.allclose(again, fields["u"]))
        ((1, 8, 8), True)
    """

    grid: Grid
    names: tuple[str, ...]
    mean: Float[Tensor, " channels"]
    std: Float[Tensor, " channels"]

    @classmethod
    def fit(cls, fields: Mapping[str, Tensor], grid: Grid) -> "GridLatent":
        """Return the latent of a sample of fields, each of shape (num, n, n)."""
        columns = [field.double().flatten() for field in fields.values()]
        mean = torch.stack([column.mean() for column in columns])
        std = torch.stack([column.std() for column in columns])
        return cls(grid, tuple(fields), mean, std)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one latent."""
        return (len(self.names), *self.grid.shape)

    @property
    def num_numbers(self) -> int:
        """Numbers of one latent."""
        return len(self.names) * self.grid.n**2

    def encode(self, fields: Mapping[str, Tensor]) -> Float[Tensor, "num channels n n"]:
        """Return the latents of fields, each of shape (num, n, n)."""
        z = torch.stack([fields[name] for name in self.names], 1)
        return (z - self._of(self.mean, z)) / self._of(self.std, z)

    def decode(self, z: Float[Tensor, "num channels n n"]) -> dict[str, Tensor]:
        """Return the fields of latents."""
        values = z * self._of(self.std, z) + self._of(self.mean, z)
        return dict(zip(self.names, values.unbind(1), strict=True))

    @staticmethod
    def _of(numbers: Tensor, z: Tensor) -> Tensor:
        return numbers.to(z).reshape(1, -1, 1, 1)
