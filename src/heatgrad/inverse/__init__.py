"""Floor 3: fields from sparse observations: spectral latents, exact posteriors, samplers.

A latent is coordinates of named fields on one grid; operators say what sensors measure of them.
`ExactGaussianPosterior` is the answer where the prior is Gaussian and the map linear, and what
`PosteriorSampler` with any denoiser and guidance is held against. All of it takes many cases with
the same sensors at once. The equations (I.n) are on the theory page.
"""

from heatgrad.inverse.exact.posterior import ExactGaussianPosterior, Floor
from heatgrad.inverse.exact.prior import GaussianPrior, shrunk_covariance
from heatgrad.inverse.guidance.adam import PersistentAdam, mode_rates
from heatgrad.inverse.guidance.by_gradient import Residual
from heatgrad.inverse.guidance.dps import DPS
from heatgrad.inverse.guidance.guidance import Guidance, Guided, Steering
from heatgrad.inverse.guidance.hard import HardConstraint
from heatgrad.inverse.guidance.pseudo_inverse import PseudoInverse
from heatgrad.inverse.guidance.residuals import SineResidual
from heatgrad.inverse.latents.basis import Basis, from_modes, to_modes
from heatgrad.inverse.latents.latent import Latent, decode_in_parts
from heatgrad.inverse.latents.regularity import expected_sobolev_square, sobolev_square
from heatgrad.inverse.latents.solved import SolvedLatent
from heatgrad.inverse.latents.spectral import SpectralLatent
from heatgrad.inverse.latents.truncation import Hyperbolic, Square, Truncation
from heatgrad.inverse.observing.instrument import Instrument
from heatgrad.inverse.observing.observation import Observation, observe
from heatgrad.inverse.observing.operators import Averages, Lines, Operator, Points
from heatgrad.inverse.sampling.draws import PosteriorDraws
from heatgrad.inverse.sampling.sampler import PosteriorSampler, PreparedSampler
from heatgrad.inverse.scores import Band, bands, coverage, crps, relative_error

__all__ = [
    "DPS",
    "Averages",
    "Band",
    "Basis",
    "ExactGaussianPosterior",
    "Floor",
    "GaussianPrior",
    "Guidance",
    "Guided",
    "HardConstraint",
    "Hyperbolic",
    "Instrument",
    "Latent",
    "Lines",
    "Observation",
    "Operator",
    "PersistentAdam",
    "Points",
    "PosteriorDraws",
    "PosteriorSampler",
    "PreparedSampler",
    "PseudoInverse",
    "Residual",
    "SineResidual",
    "SolvedLatent",
    "SpectralLatent",
    "Square",
    "Steering",
    "Truncation",
    "bands",
    "coverage",
    "crps",
    "decode_in_parts",
    "expected_sobolev_square",
    "from_modes",
    "mode_rates",
    "observe",
    "relative_error",
    "shrunk_covariance",
    "sobolev_square",
    "to_modes",
]
