"""Networks that take noise out of images and other arrays, and an autoencoder for latents."""

from torch import nn

from heatgrad.diffusion.networks.autoencoder import Autoencoder, ReconstructionLoss
from heatgrad.diffusion.networks.embedding import Conditioning
from heatgrad.diffusion.networks.latent import LatentDenoiser, trained_autoencoder
from heatgrad.diffusion.networks.preconditioning import Coefficients, coefficients, preconditioned
from heatgrad.diffusion.networks.transformer import DenoisingTransformer
from heatgrad.diffusion.networks.unet import DenoisingUNet

NETWORKS: dict[str, type[nn.Module]] = {
    "DenoisingUNet": DenoisingUNet,
    "DenoisingTransformer": DenoisingTransformer,
    "Autoencoder": Autoencoder,
    "LatentDenoiser": LatentDenoiser,
}

__all__ = [
    "NETWORKS",
    "Autoencoder",
    "Coefficients",
    "Conditioning",
    "DenoisingTransformer",
    "DenoisingUNet",
    "LatentDenoiser",
    "ReconstructionLoss",
    "coefficients",
    "preconditioned",
    "trained_autoencoder",
]
