"""Floor 2: learned reverse diffusion in one noise coordinate: denoisers, levels, samplers.

A denoiser is any function D(x, sigma) that returns the expected clean sample. Samplers go down an
explicit list of levels; guidance and converters wrap a denoiser into another one; in closed form
there are denoisers that everything is held against. An average of a network's weights over a
training is made by `training.Recipe(average=...)`.
"""

from heatgrad.diffusion.bound import (
    StepVariances,
    VariationalBound,
    step_variances,
    variational_bound,
)
from heatgrad.diffusion.converters import (
    ChainDenoiser,
    as_noise_prediction,
    from_data_prediction,
    from_noise_prediction,
    from_velocity_prediction,
)
from heatgrad.diffusion.decoder import binned_log_prob, gaussian_kl
from heatgrad.diffusion.denoiser import Denoiser, LabelledDenoiser, VarianceDenoiser, levels_like
from heatgrad.diffusion.exact.empirical import EmpiricalDenoiser
from heatgrad.diffusion.exact.gaussian import GaussianDenoiser
from heatgrad.diffusion.exact.mixture import MixtureDenoiser
from heatgrad.diffusion.guidance import classifier_free, clipped, gradient_guided, with_label
from heatgrad.diffusion.levels.chain import (
    alpha_bars_of,
    cosine_alpha_bars,
    levels_of,
    linear_alpha_bars,
    respaced_times,
    sigmas_of,
)
from heatgrad.diffusion.levels.check import check_levels
from heatgrad.diffusion.levels.karras import karras_levels
from heatgrad.diffusion.losses.edm import EDMLoss
from heatgrad.diffusion.losses.hybrid import HybridLoss, VLBLoss
from heatgrad.diffusion.losses.importance import LossHistory
from heatgrad.diffusion.losses.simple import SimpleLoss
from heatgrad.diffusion.networks import (
    NETWORKS,
    Autoencoder,
    Coefficients,
    Conditioning,
    DenoisingTransformer,
    DenoisingUNet,
    LatentDenoiser,
    ReconstructionLoss,
    coefficients,
    preconditioned,
    trained_autoencoder,
)
from heatgrad.diffusion.samplers.ddim import ddim
from heatgrad.diffusion.samplers.ddpm import ddpm
from heatgrad.diffusion.samplers.heun import heun
from heatgrad.diffusion.samplers.step import Callback, posterior_variance, start

__all__ = [
    "NETWORKS",
    "Autoencoder",
    "Callback",
    "ChainDenoiser",
    "Coefficients",
    "Conditioning",
    "Denoiser",
    "DenoisingTransformer",
    "DenoisingUNet",
    "EDMLoss",
    "EmpiricalDenoiser",
    "GaussianDenoiser",
    "HybridLoss",
    "LabelledDenoiser",
    "LatentDenoiser",
    "LossHistory",
    "MixtureDenoiser",
    "ReconstructionLoss",
    "SimpleLoss",
    "StepVariances",
    "VLBLoss",
    "VarianceDenoiser",
    "VariationalBound",
    "alpha_bars_of",
    "as_noise_prediction",
    "binned_log_prob",
    "check_levels",
    "classifier_free",
    "clipped",
    "coefficients",
    "cosine_alpha_bars",
    "ddim",
    "ddpm",
    "from_data_prediction",
    "from_noise_prediction",
    "from_velocity_prediction",
    "gaussian_kl",
    "gradient_guided",
    "heun",
    "karras_levels",
    "levels_like",
    "levels_of",
    "linear_alpha_bars",
    "posterior_variance",
    "preconditioned",
    "respaced_times",
    "sigmas_of",
    "start",
    "step_variances",
    "trained_autoencoder",
    "variational_bound",
    "with_label",
]
