"""How smooth the fields are that white latents decode to."""

from jaxtyping import Float
from torch import Tensor

from heatgrad.inverse.latents.basis import to_modes, wavenumbers
from heatgrad.inverse.latents.spectral import SpectralLatent
from heatgrad.laplacian import Boundary

__all__ = ["expected_sobolev_square", "sobolev_square"]


def sobolev_square(
    field: Float[Tensor, "*batch n n"], boundary: Boundary, order: float
) -> Float[Tensor, "*batch"]:
    r"""Return the square of the Sobolev norm of order s of fields on the unit square.

    $$\|f\|_{H^s}^2 = \frac{1}{N^2} \sum_k (1 + |k|^2)^s c_k^2, \tag{I.4}$$

    with the orthonormal coefficients c and wavenumbers k of Eq. (I.1), and N = n, with a zero
    border n - 1: for s = 0 the mean square.

    Args:
        field: Values.
        boundary: Of the basis.
        order: s.

    References:
        Theory page: Eq. (I.4).

    Example:
        >>> import torch
        >>> sobolev_square(torch.full((4, 4), 3.0), "neumann", 1.0).item()
        9.0
    """
    modes = to_modes(field, boundary)
    k = wavenumbers(modes.shape[-1], boundary).to(modes)
    weights = (1 + k[:, None].square() + k.square()) ** order
    return (weights * modes.square()).sum((-2, -1)) / _points(field.shape[-1], boundary)


def expected_sobolev_square(latent: SpectralLatent, name: str, order: float) -> float:
    r"""Return the expected square of the Sobolev norm of the field of white latents.

    $$E \|f\|_{H^s}^2 = \frac{1}{N^2} \sum_k (1 + |k|^2)^s (s_k^2 + m_k^2), \qquad z \sim
    \mathcal N(0, I). \tag{I.4}$$

    It converges under refinement exactly if the data have that regularity.

    Args:
        latent: Of the field.
        name: Of the field.
        order: s.

    Raises:
        KeyError: If there is no such field.

    References:
        [PISD]. Theory page: Eq. (I.4).

    Example:
        >>> import torch
        >>> from heatgrad.inverse import Basis
        >>> from heatgrad.pde import Grid
        >>> one = torch.ones(1, 4, 4)
        >>> latent = SpectralLatent(Grid(4), {"u": Basis("neumann")}, 0 * one, one)
        >>> expected_sobolev_square(latent, "u", 0.0)
        1.0
    """
    boundary = latent.bases[name].boundary
    channel = latent.names.index(name)
    weights = (1 + latent.wavenumbers[channel].square()) ** order
    power = latent.std[channel].square() + latent.mean[channel].square()
    total = float((weights * power.to(weights)).nansum())
    return total / _points(latent.grid.n, boundary)


def _points(n: int, boundary: Boundary) -> int:
    return (n - 1) ** 2 if boundary == "dirichlet" else n**2
