"""Whitened spectral coefficients of several fields."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from heatgrad.inverse.latents.basis import (
    Basis,
    axis_functions,
    from_modes,
    in_mode_order,
    num_modes,
    to_modes,
    wavenumbers,
)
from heatgrad.inverse.latents.latent import named_fields
from heatgrad.inverse.latents.truncation import Square, Truncation
from heatgrad.pde.grid import Grid
from heatgrad.pde.law import GaussianRandomField

__all__ = ["SpectralLatent"]

_PART = 256  # fields whose modes are computed together
_ROUNDING = 1e-13  # of the largest deviation: a mode below that is rounding, not signal


@dataclass(frozen=True, eq=False)
class SpectralLatent:
    r"""Spectral coefficients of fields, scaled mode by mode.

    $$z_k = \frac{c_k - m_k}{s_k}, \qquad f(x) = \sum_k (m_k + s_k z_k) \phi_k(x), \tag{I.2}$$

    with the real orthonormal basis of each field's boundary condition, Eq. (I.1). If $s_k$ are the
    standard deviations of the coefficients, z has unit variance, and white noise decodes to a
    random function as smooth as the data, Eq. (I.4).

    Every field is a channel, an array of packed modes; smaller ones are padded. Where s is 0, in
    padding and in modes that do not vary, `encode` gives 0 and `decode` looks at nothing.

    Args:
        grid: Of all fields.
        bases: The basis of each field, by name; their order is that of the channels.
        mean: m, shape (channels, size, size).
        std: s, of the same shape, at least 0.

    Attributes:
        grid: As given.
        bases: As given.
        mean: As given, in float64.
        std: As given, in float64.

    Raises:
        ValueError: If a basis does not fit the grid, or a shape or number is wrong.

    References:
        [PISD]. Theory page: Eq. (I.2).

    Example:
        >>> law = GaussianRandomField(Grid(16, "cells"), "neumann")
        >>> latent = SpectralLatent.of_law(law, truncation=Square(8))
        >>> fields = latent.decode(torch.ones(3, 1, 8, 8))
        >>> fields["a"].shape, bool(latent.encode(fields)[0, 0, 1, 1].round(decimals=4) == 1)
        (torch.Size([3, 16, 16]), True)
    """

    grid: Grid
    bases: Mapping[str, Basis]
    mean: Float[Tensor, "channels size size"]
    std: Float[Tensor, "channels size size"]

    def __post_init__(self) -> None:
        if not self.bases:
            raise ValueError("bases must name at least one field, got none")
        object.__setattr__(self, "bases", dict(self.bases))
        for name in ("mean", "std"):
            value: Tensor = getattr(self, name)
            if tuple(value.shape) != self.shape:
                raise ValueError(f"{name} must have shape {self.shape}, got {tuple(value.shape)}")
            if not bool(value.isfinite().all()):
                raise ValueError(f"{name} must be finite, got NaN or infinite numbers")
            object.__setattr__(self, name, value.detach().double())
        if bool((self.std < 0).any()):
            raise ValueError("std must be at least 0, got a negative one")

    @classmethod
    def fit(
        cls,
        fields: Mapping[str, Float[Tensor, "num n n"]],
        grid: Grid,
        bases: Mapping[str, Basis],
        *,
        scale: float = 1.0,
    ) -> "SpectralLatent":
        """Return the latent whose numbers have mean 0 and deviation `scale` on these fields.

        Args:
            fields: A sample of the law, at least two of each.
            grid: Of the fields.
            bases: The basis of each field.
            scale: Standard deviation of the latents, positive [1].

        Raises:
            ValueError: If there are fewer than two, or something is wrong with one.

        Example:
            >>> fields = {"u": torch.randn(50, 8, 8, generator=torch.Generator().manual_seed(0))}
            >>> latent = SpectralLatent.fit(fields, Grid(8), {"u": Basis("dirichlet", Square(4))})
            >>> latent.encode(fields).std(0).round(decimals=3).unique().tolist()
            [1.0]
        """
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be positive and finite, got {scale}")
        found = named_fields(fields, tuple(bases), grid)
        if len(found[0]) < 2:
            raise ValueError(f"a fit needs at least 2 fields, got {len(found[0])}")
        size = max(basis.on(grid).size for basis in bases.values())
        plain = cls(grid, bases, torch.zeros(len(bases), size, size), _kept(grid, bases, size))
        split = zip(*(torch.split(field, _PART) for field in found), strict=True)
        parts = [plain._modes(part) for part in split]
        modes = torch.cat(parts).cpu()
        std, mean = torch.std_mean(modes, 0)
        largest = std.amax((1, 2), keepdim=True)
        std = torch.where(std > _ROUNDING * largest, std, 0.0)
        return cls(grid, bases, mean, std / scale)

    @classmethod
    def of_law(
        cls, law: GaussianRandomField, *, name: str = "a", truncation: Truncation | None = None
    ) -> "SpectralLatent":
        """Return the latent in which a Gaussian random field is white, z ~ N(0, I), exactly.

        Args:
            law: Of the field.
            name: Of the field.
            truncation: Which modes; all of them if None.

        Raises:
            ValueError: If there are not so many modes.

        Example:
            >>> law = GaussianRandomField(Grid(5), "dirichlet")
            >>> SpectralLatent.of_law(law, name="u").shape
            (1, 3, 3)
        """
        basis = Basis(law.boundary, truncation)
        std = in_mode_order(law.std) if law.boundary == "periodic" else law.std
        packed = _pack(std[None], basis.on(law.grid))
        return cls(law.grid, {name: basis}, torch.zeros_like(packed), packed)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields, in the order of the channels."""
        return tuple(self.bases)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one latent, (channels, size, size)."""
        size = max(basis.on(self.grid).size for basis in self.bases.values())
        return (len(self.bases), size, size)

    @cached_property
    def num_numbers(self) -> int:
        """How many modes are kept, of all fields together."""
        return int(_kept(self.grid, self.bases, self.shape[-1]).sum())

    @cached_property
    def wavenumbers(self) -> Float[Tensor, "channels size size"]:
        """|k| of the mode in each cell, as `wavenumbers` counts; NaN in padding."""
        return self._lengths(from_zero=False)

    @cached_property
    def mode_numbers(self) -> Float[Tensor, "channels size size"]:
        """|k| as `wavenumbers`, but with sines counted from 0; 0 in padding."""
        return self._lengths(from_zero=True).nan_to_num(nan=0.0)

    def encode(self, fields: Mapping[str, Tensor]) -> Float[Tensor, "num channels size size"]:
        """Return the latents of fields; what the kept modes cannot show is left out.

        Args:
            fields: By name, each of shape (num, n, n); others are not looked at.

        Returns:
            Latents, of the dtype and device of the fields.

        Raises:
            ValueError: If a field is missing, has another shape, or is not finite.

        Example:
            >>> law = GaussianRandomField(Grid(5), "dirichlet")
            >>> SpectralLatent.of_law(law).encode({"a": torch.zeros(2, 5, 5)}).shape
            torch.Size([2, 1, 3, 3])
        """
        modes = self._modes(named_fields(fields, self.names, self.grid))
        mean, std = self.mean.to(modes), self.std.to(modes)
        return torch.where(std > 0, (modes - mean) / std, 0.0)

    def decode(self, z: Float[Tensor, "num channels size size"]) -> dict[str, Tensor]:
        """Return the fields of latents: linear, plus the mean; differentiable.

        Args:
            z: Latents, shape (num, *shape).

        Returns:
            Fields by name, each of shape (num, n, n), of the dtype and device of `z`.

        Raises:
            ValueError: If the shape is wrong.

        Example:
            >>> law = GaussianRandomField(Grid(5), "dirichlet")
            >>> SpectralLatent.of_law(law, name="u").decode(torch.zeros(2, 1, 3, 3))["u"].shape
            torch.Size([2, 5, 5])
        """
        if tuple(z.shape[1:]) != self.shape:
            raise ValueError(f"z must have shape (num, *{self.shape}), got {tuple(z.shape)}")
        modes = z * self.std.to(z) + self.mean.to(z)
        fields = {}
        for channel, (name, basis) in enumerate(self.bases.items()):
            count = num_modes(self.grid, basis.boundary)
            some = _unpack(modes[:, channel], basis.on(self.grid), count)
            fields[name] = from_modes(some, basis.boundary, count=count)
        return fields

    def variance(self, name: str) -> Float[Tensor, "n n"]:
        r"""Return the variance at each point of the field that white latents decode to.

        $$\operatorname{Var} f(x) = \sum_k s_k^2 \phi_k(x)^2. \tag{I.5}$$

        Example:
            >>> law = GaussianRandomField(Grid(4, "torus"), "periodic")
            >>> variance = SpectralLatent.of_law(law).variance("a")
            >>> bool(torch.allclose(variance, law.std.square().sum() / 16))
            True
        """
        basis, channel = self.bases[name], self.names.index(name)
        count = num_modes(self.grid, basis.boundary)
        power = _unpack(self.std[channel].square()[None], basis.on(self.grid), count)[0]
        rest = count - len(power)
        power = pad(power, (0, rest, 0, rest))
        if basis.boundary == "periodic":  # (cos + sin)² = 1 + sin 2θ
            theta = 4 * math.pi * wavenumbers(count, "periodic") * self.grid.axis()[:, None]
            mixed = theta.sin() @ power @ theta.cos().T + theta.cos() @ power @ theta.sin().T
            return (power.sum() + mixed) / self.grid.n**2
        line = axis_functions(self.grid.n, basis.boundary).square()
        return line @ power @ line.T

    def _modes(self, fields: tuple[Tensor, ...]) -> Tensor:
        """Return the packed coefficients of fields, in the order of the channels."""
        size, channels = self.shape[-1], []
        for field, basis in zip(fields, self.bases.values(), strict=True):
            kept = basis.on(self.grid)
            wanted = kept.m if isinstance(kept, Square) else None
            packed = _pack(to_modes(field, basis.boundary, count=wanted), kept)
            channels.append(pad(packed, (0, size - kept.size, 0, size - kept.size)))
        return torch.stack(channels, 1)

    def _lengths(self, *, from_zero: bool) -> Tensor:
        found = torch.full(self.shape, math.nan, dtype=torch.float64)
        for channel, basis in enumerate(self.bases.values()):
            kept = basis.on(self.grid)
            k = wavenumbers(num_modes(self.grid, basis.boundary), basis.boundary)
            if from_zero and basis.boundary == "dirichlet":
                k = k - 1
            length = _pack((k[:, None].square() + k.square()).sqrt()[None], kept)[0]
            filled = _filled(kept)
            found[channel, : kept.size, : kept.size] = torch.where(filled, length, math.nan)
        return found


def _kept(grid: Grid, bases: Mapping[str, Basis], size: int) -> Tensor:
    """Return 1 in the cells that hold a mode, 0 in padding, shape (channels, size, size)."""
    found = torch.zeros(len(bases), size, size, dtype=torch.float64)
    for channel, basis in enumerate(bases.values()):
        kept = basis.on(grid)
        found[channel, : kept.size, : kept.size] = _filled(kept).double()
    return found


def _filled(kept: Truncation) -> Tensor:
    return kept.places()[..., 0] >= 0


@lru_cache(maxsize=64)
def _cells(kept: Truncation, count: int) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " kept"]]:
    """Return the flat places of the kept modes in the packed array, and among all modes."""
    places = kept.places().reshape(-1, 2)
    cells = torch.nonzero(places[:, 0] >= 0)[:, 0]
    return cells, places[cells, 0] * count + places[cells, 1]


def _pack(modes: Tensor, kept: Truncation) -> Tensor:
    """Return the kept ones of (num, modes, modes) in a packed array, (num, size, size)."""
    if isinstance(kept, Square):
        return modes[..., : kept.m, : kept.m]
    cells, chosen = _cells(kept, modes.shape[-1])
    flat = modes.new_zeros(len(modes), kept.size**2)
    values = modes.flatten(1)[:, chosen.to(modes.device)]
    flat = flat.index_copy(1, cells.to(modes.device), values)
    return flat.reshape(-1, kept.size, kept.size)


def _unpack(packed: Tensor, kept: Truncation, count: int) -> Tensor:
    """Return the lowest or all modes, (num, some, some), from a packed array that may be padded."""
    if isinstance(kept, Square):
        return packed[..., : kept.m, : kept.m]
    cells, chosen = _cells(kept, count)
    values = packed[..., : kept.size, : kept.size].flatten(1)[:, cells.to(packed.device)]
    flat = packed.new_zeros(len(packed), count**2)
    flat = flat.index_copy(1, chosen.to(packed.device), values)
    return flat.reshape(-1, count, count)
