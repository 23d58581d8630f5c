"""Draws of a posterior, and what they say together."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from heatgrad.inverse.scores import Band, Kind, bands

__all__ = ["PosteriorDraws"]


@dataclass(frozen=True, eq=False)
class PosteriorDraws:
    """Draws of several cases.

    Attributes:
        latents: Shape (cases, num, *shape).
        fields: By name, each of shape (cases, num, n, n) [field].
        calls: Calls of the denoiser for each draw.
        seconds: Wall time of sampling and decoding all of them [s].
        setup_seconds: Wall time of what the cases share [s].
        num_dropped: Sensors that carried no information.
    """

    latents: Float[Tensor, "cases num *shape"]
    fields: Mapping[str, Tensor]
    calls: int
    seconds: float
    setup_seconds: float
    num_dropped: int

    def mean(self) -> dict[str, Tensor]:
        """Return the mean of the draws of each field, shape (cases, n, n)."""
        return {name: field.mean(1) for name, field in self.fields.items()}

    def std(self) -> dict[str, Tensor]:
        """Return their standard deviation, shape (cases, n, n)."""
        return {name: field.std(1) for name, field in self.fields.items()}

    def bands(self, level: float, *, kind: Kind = "normal") -> dict[str, Band]:
        """Return the central band of each field at each point, see `bands`.

        Raises:
            ValueError: If there are too few draws, or an option is out of range.
        """
        return {name: bands(f, level, kind=kind, dim=1) for name, f in self.fields.items()}
