"""A process by its drift and diffusion."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.fokker_planck.processes.process import Points, Process, at_points, scalar_valued

__all__ = ["Ito", "check_diffusion"]


class Ito(Process):
    r"""A process given by functions of one point, and its stationary density if that is known.

    Args:
        drift: b, a function of one point, shape (p,), to its drift, shape (p,).
        diffusion: D, a matrix of shape (p, p), or a function of one point to one; a number for
            one coordinate. Mind the convention: noise $\sigma\,dW$ has
            $D = \sigma \sigma^\top / 2$.
        scaled_potential: V of one point, to a scalar, if $e^{-V}$ is the stationary density.
        is_reversible: Whether, moreover, $b = -D \nabla V$; D is constant then.

    Raises:
        ValueError: If the drift is no function, D neither matrix, number nor function, a constant
            D not square, symmetric, finite and positive semidefinite, or `is_reversible` lacks its
            potential or constant diffusion.

    Example:
        >>> process = Ito(lambda x: -x, 0.5 * torch.eye(2))
        >>> process.drift(torch.ones(1, 2)), process.diffusion(torch.ones(1, 2))
        (tensor([[-1., -1.]]), tensor([[[0.5000, 0.0000],
                 [0.0000, 0.5000]]]))
    """

    def __init__(
        self,
        drift: Callable[[Tensor], Tensor],
        diffusion: Tensor | float | Callable[[Tensor], Tensor],
        *,
        scaled_potential: Callable[[Tensor], Tensor] | None = None,
        is_reversible: bool = False,
    ) -> None:
        if not callable(drift):
            raise ValueError(f"drift must be a function of one point, got {drift!r}")
        self._drift = at_points(drift)
        self._constant = None
        if isinstance(diffusion, int | float):
            diffusion = torch.tensor([[float(diffusion)]], dtype=torch.float64)
        if isinstance(diffusion, Tensor):
            self._constant = check_diffusion(diffusion.double())
            self.dim = len(diffusion)
        elif callable(diffusion):
            self._diffusion = at_points(diffusion)
        else:
            raise ValueError(
                f"diffusion must be a matrix (a tensor), a number or a function of one point, got "
                f"{diffusion!r}"
            )
        self._potential = None
        if scaled_potential is not None:
            self._potential = at_points(scalar_valued("scaled_potential", scaled_potential))
        if is_reversible and (scaled_potential is None or self._constant is None):
            raise ValueError("is_reversible needs a scaled_potential and a constant diffusion")
        self._is_reversible = is_reversible

    def drift(self, x: Points) -> Points:
        """Return the drift that was given."""
        return self._drift(x)

    def diffusion(self, x: Points) -> Float[Tensor, "n p p"]:
        """Return the diffusion that was given."""
        if self._constant is None:
            return self._diffusion(x)
        return self._constant.to(x).expand(len(x), -1, -1)

    def constant_diffusion(self) -> Float[Tensor, "p p"] | None:
        """Return the matrix, if one was given."""
        return self._constant

    def scaled_potential(self, x: Points) -> Float[Tensor, " n"] | None:
        """Return the potential that was given."""
        return None if self._potential is None else self._potential(x)

    @property
    def is_reversible(self) -> bool:
        """As given."""
        return self._is_reversible


def check_diffusion(matrix: Float[Tensor, "p p"], name: str = "diffusion") -> Float[Tensor, "p p"]:
    """Return a matrix if it can be a diffusion.

    Raises:
        ValueError: If it is not square, symmetric, finite and positive semidefinite.
    """
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be a square matrix, got shape {tuple(matrix.shape)}")
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    scale = float(matrix.abs().max())
    skew = float((matrix - matrix.T).abs().max())
    if skew > 1e-12 * scale:
        raise ValueError(
            f"{name} must be symmetric, got entries of D - D' of {skew:.3g}; give (D + D') / 2"
        )
    smallest = float(torch.linalg.eigvalsh(matrix)[0])
    if smallest < -1e-12 * scale:
        raise ValueError(
            f"{name} must be positive semidefinite, got an eigenvalue of {smallest:.3g}"
        )
    return matrix
