"""A convolutional network on the fields themselves, inside a denoiser of spectral latents."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.diffusion import coefficients, levels_like
from heatgrad.inverse import SpectralLatent

__all__ = ["FieldNetwork"]

_STEEPEST = 1e-2  # of the largest deviation of a field's modes: smaller ones count as that


class FieldNetwork(nn.Module):
    r"""What a network on the grid adds to latents that are nearly denoised.

    $$F(\hat z, \sigma) = W^{-1} \Phi^\top U\bigl(\Phi (m + s \hat z), \sigma\bigr), \qquad
    W = \max(s, 0.01\, s_{\max}),$$

    U a U-Net on the decoded fields, each over its size. Whether a medium has one of two values, or
    where a flow carries vorticity, is seen at a point and its neighbours, not in coefficients. Of
    modes so weak that a network's rounding would drown them, the change is damped.

    Args:
        network: A `DenoisingUNet` of the fields, whose own skip connection is left out.
        latent: Spectral, of these fields.

    Attributes:
        sigma_data: That of the network.

    Example:
        >>> from heatgrad.diffusion import DenoisingUNet
        >>> from heatgrad.inverse import Square
        >>> from heatgrad.pde import GaussianRandomField, Grid
        >>> law = GaussianRandomField(Grid(16, "cells"), "neumann")
        >>> latent = SpectralLatent.of_law(law, truncation=Square(8))
        >>> network = DenoisingUNet((1, 16, 16), width=8, multipliers=(1, 2))
        >>> model = FieldNetwork(network, latent)
        >>> model(torch.ones(2, 1, 8, 8), torch.tensor(1.0)).detach().abs().max()
        tensor(0.)
    """

    def __init__(self, network: nn.Module, latent: SpectralLatent) -> None:
        super().__init__()
        self.network, self._latent = network, latent
        self.sigma_data = float(network.sigma_data)  # type: ignore[arg-type]
        with torch.no_grad():
            zero = latent.decode(torch.zeros(1, *latent.shape, dtype=torch.float64))
            middle = torch.stack([zero[name] for name in latent.names], 1)
            # By Parseval: the variance of white latents, summed over modes, is that of the field.
            size = (latent.std.square().sum((1, 2)) / latent.grid.n**2).sqrt()
            floor = _STEEPEST * latent.std.amax((1, 2), keepdim=True)
            damped = latent.std / torch.maximum(latent.std, floor)
        shape = (1, -1, 1, 1)
        for name, value in (
            ("middle", middle), ("size", size.reshape(shape)), ("damped", damped)
        ):  # fmt: skip
            self.register_buffer(name, value.float(), persistent=False)

    def forward(
        self, z: Float[Tensor, "n *shape"], sigma: Float[Tensor, "*m"]
    ) -> Float[Tensor, "n *shape"]:
        """Return what is added to latents.

        Args:
            z: Denoised as far as they are.
            sigma: Level of the noisy ones, of all, shape (), or of each, shape (n,).
        """
        middle, size, damped = (self.get_buffer(k) for k in ("middle", "size", "damped"))
        fields = self._latent.decode(z.to(middle.dtype))
        x = torch.stack([fields[name] for name in self._latent.names], 1)
        x = (x - middle) / size
        sigma = sigma.to(x)
        skip = coefficients(levels_like(sigma, x), self.sigma_data).skip
        change = (self.network(x, sigma, None) - skip * x) * size + middle
        found = dict(zip(self._latent.names, change.unbind(1), strict=True))
        return (self._latent.encode(found) * damped).to(z.dtype)
