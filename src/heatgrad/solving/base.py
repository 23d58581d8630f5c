"""A network that corrects the exact denoiser of a Gaussian with the data's covariance."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from heatgrad.diffusion import coefficients, levels_like
from heatgrad.inverse import GaussianPrior
from heatgrad.solving.field_network import FieldNetwork

__all__ = ["GaussianBased", "fitted_axes"]

_FIXED = 1e-10  # of the largest variance: a direction below that does not vary
_CUTS = (0.0, 8.0, 20.0, 60.0)  # κ that are tried
_SHARES = (
    0.001,
    0.003,
    0.01,
    0.03,
    0.1,
    0.2,
    0.3,
    0.5,
    0.7,
    1.0,
)  # of the diagonal, that are tried


def fitted_axes(
    z: Float[Tensor, "num *shape"], held_out: Float[Tensor, "held *shape"] | None = None
) -> tuple[Float[Tensor, " numbers"], Float[Tensor, " numbers"], Float[Tensor, "numbers numbers"]]:
    r"""Return mean, variances along the principal axes, and the axes, of whitened latents.

    Entries of the sample's covariance C that do not stand out of their own error are drawn to 0,
    and the whole toward the diagonal, which is that of whitened latents:

    $$C'_{ij} = C_{ij} \max\Bigl(0, 1 - \kappa \frac{C_{ii} C_{jj} + C_{ij}^2}{n\, C_{ij}^2}
    \Bigr) \ (i \ne j), \qquad \hat S = (1 - \rho) C'_+ + \rho I,$$

    $C'_+$ without negative eigenvalues, with the κ and ρ of those tried under which latents that
    were held out are most likely; without any, κ = 0 and the ρ of Eq. (I.14). Directions in which
    nothing varies keep variance 0. It is laws like that of a flow that need κ: most of their
    coefficients are uncorrelated, and a few are strongly so.

    Args:
        z: Latents of unit variance, at least two.
        held_out: More of them.

    Returns:
        Mean, variances at least 0, and orthonormal axes in columns; float64.

    Example:
        >>> z = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
        >>> mean, variances, axes = fitted_axes(z)
        >>> [round(v, 1) for v in variances.tolist()]
        [1.0, 1.0, 1.0]

    References:
        Theory page of `inverse`: Eq. (I.14). Schäfer and Strimmer (2005), Stat. Appl. Genet. Mol.
        Biol. 4, 32.
    """
    prior = GaussianPrior.fit(z, shrinkage=None if held_out is None else 0.0)
    cov = prior.cov
    assert cov is not None
    if held_out is None:
        variances, axes = torch.linalg.eigh(cov)
        return prior.mean, variances.clamp(min=0), axes
    rest = held_out.flatten(1).double() - prior.mean
    best: tuple[float, Tensor, Tensor] | None = None
    for kappa in _CUTS:
        variances, axes = torch.linalg.eigh(_cut(cov, kappa, len(z)))
        cost, variances = _likeliest(variances, (rest @ axes).square().mean(0))
        if best is None or cost < best[0]:
            best = (cost, variances, axes)
    assert best is not None
    return prior.mean, best[1], best[2]


def _cut(cov: Tensor, kappa: float, num: int) -> Tensor:
    """Return a covariance without the entries that do not stand out of their error."""
    if kappa == 0:
        return cov
    diagonal, square = cov.diagonal(), cov.square()
    error = (diagonal[:, None] * diagonal + square) / num
    found = cov * (1 - kappa * error / square.clamp(min=1e-300)).clamp(min=0)
    found.diagonal().copy_(diagonal)
    return found


def _likeliest(variances: Tensor, square: Tensor) -> tuple[float, Tensor]:
    """Return the least cost of held-out latents over ρ, and the variances with that ρ.

    Args:
        variances: Of the fit, along its axes.
        square: Mean square of the held-out latents along them.
    """
    is_fixed = (variances.abs() <= _FIXED * float(variances[-1])) & (square <= _FIXED)
    own, seen = variances[~is_fixed].clamp(min=0), square[~is_fixed]
    tried = [(1 - share) * own + share for share in _SHARES]
    costs = [float((v.log() + seen / v).sum()) for v in tried]
    least = costs.index(min(costs))
    found = torch.zeros_like(variances)
    found[~is_fixed] = tried[least]
    return costs[least], found


class GaussianBased(nn.Module):
    r"""The denoiser of a fitted Gaussian, plus what a network adds to it.

    $$D(z, \sigma) = z - Q \frac{\sigma^2}{\Lambda + \sigma^2} Q^\top (z - \mu)
    + c_{out}(\sigma)\, F(z, \sigma), \qquad C = Q \Lambda Q^\top.$$

    A network whose last layer is zero at the start begins as the Gaussian, which is kriging; so
    all that is learned is what kriging does not know. The Gaussian's part is computed in the
    dtype of the buffers, float32 unless converted.

    Args:
        network: A `DenoisingTransformer` or `DenoisingUNet` of latents, whose own skip connection
            is left out, or a `FieldNetwork`, which sees what the Gaussian has denoised.
        mean: μ, shape (numbers,).
        variances: Λ, shape (numbers,), at least 0.
        axes: Q, in columns, shape (numbers, numbers).

    Attributes:
        sigma_data: That of the network.

    Example:
        >>> from heatgrad.diffusion import DenoisingTransformer
        >>> network = DenoisingTransformer((1, 4, 4), width=8, depth=1, heads=1)
        >>> model = GaussianBased(network, torch.zeros(16), torch.full((16,), 3.0), torch.eye(16))
        >>> model(torch.ones(1, 1, 4, 4), torch.tensor(1.0)).detach().mean()
        tensor(0.7500)

    References:
        The preconditioning is Eqs. (D.30) and (D.31) of the theory page, with another skip.
    """

    def __init__(self, network: nn.Module, mean: Tensor, variances: Tensor, axes: Tensor) -> None:
        super().__init__()
        self.network = network
        self.sigma_data = float(network.sigma_data)  # type: ignore[arg-type]
        for name, value in (("mean", mean), ("variances", variances), ("axes", axes)):
            self.register_buffer(name, value.float(), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "n *shape"],
        sigma: Float[Tensor, "*m"],
        label: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """Return the denoised latents.

        Args:
            x: Noisy latents.
            sigma: Level of all, shape (), or of each, shape (n,).
            label: Not looked at.
        """
        gaussian = x - self._pull(x, sigma).to(x.dtype)
        if isinstance(self.network, FieldNetwork):
            changed: Tensor = gaussian + self.network(gaussian, sigma)
            return changed
        skip = coefficients(levels_like(sigma, x), self.sigma_data).skip
        found: Tensor = gaussian + self.network(x, sigma, None) - skip * x
        return found

    def _pull(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return what the Gaussian's denoiser takes away."""
        mean, variances, axes = (self.get_buffer(k) for k in ("mean", "variances", "axes"))
        flat = x.reshape(len(x), -1).to(mean.dtype) - mean
        square = sigma.to(mean).square().reshape(-1, 1)
        share = square / (variances + square).clamp(min=1e-30)
        return ((flat @ axes * share) @ axes.T).reshape(x.shape)
