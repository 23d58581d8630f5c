"""A latent of the parameter alone, whose solution is solved for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from heatgrad.inverse.latents.latent import Latent
from heatgrad.pde.grid import Grid

__all__ = ["SolvedLatent"]


@dataclass(frozen=True)
class SolvedLatent:
    r"""The fields of a latent, and a solution computed from the first of them.

    $$z \mapsto (a, u) = (a(z),\ \mathcal S(a(z))). \tag{I.6}$$

    With `SpectralLatent.of_law` and a linear solver this is the exact prior of a linear problem:
    z ~ N(0, I), nothing is trained, and every decoded pair solves the equation.

    Attributes:
        latent: Of the parameter.
        solve: From the first field, shape (num, n, n), to the solution, of the same shape;
            differentiable, if a guidance takes gradients.
        name: Of the solution.

    Raises:
        ValueError: If the latent has a field of that name.

    References:
        Theory page: Eq. (I.6).

    Example:
        >>> import torch
        >>> from heatgrad.inverse import SpectralLatent
        >>> from heatgrad.pde import Poisson
        >>> problem = Poisson(17)
        >>> latent = SolvedLatent(SpectralLatent.of_law(problem.law), problem.solve, "u")
        >>> sorted(latent.decode(torch.zeros(2, 1, 17, 17)))
        ['a', 'u']
    """

    latent: Latent
    solve: Callable[[Tensor], Tensor]
    name: str = "u"

    def __post_init__(self) -> None:
        if self.name in self.latent.names:
            raise ValueError(
                f"name must differ from {', '.join(self.latent.names)}, got {self.name!r}"
            )

    @property
    def grid(self) -> Grid:
        """Where the values of all fields stand."""
        return self.latent.grid

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields, the solution last."""
        return (*self.latent.names, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one latent."""
        return self.latent.shape

    @property
    def num_numbers(self) -> int:
        """How many numbers of a latent matter."""
        return self.latent.num_numbers

    @property
    def mode_numbers(self) -> Float[Tensor, "*shape"]:
        """|k| of each number, counted from 0, if the latent under it is spectral.

        Raises:
            AttributeError: If it is not.
        """
        found: Tensor = self.latent.mode_numbers  # type: ignore[attr-defined]
        return found

    def encode(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Return the latents of the parameter; a solution among the fields is not looked at.

        Raises:
            ValueError: If a field is missing or wrong.
        """
        return self.latent.encode(fields)

    def decode(self, z: Float[Tensor, "num *shape"]) -> dict[str, Tensor]:
        """Return the fields of latents, the solution among them.

        Raises:
            ValueError: If the shape is wrong, or `solve` returns another one.
        """
        fields = self.latent.decode(z)
        first = fields[self.latent.names[0]]
        solution = self.solve(first)
        if solution.shape != first.shape:
            raise ValueError(
                f"solve must return shape {tuple(first.shape)}, got {tuple(solution.shape)}"
            )
        return {**fields, self.name: solution}
