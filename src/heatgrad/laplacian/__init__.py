"""Floor 1: the discrete Laplacian, its eigenbases, its implicit solve and its stability bounds.

`Laplacian(dims, boundary)` is the operator; it applies itself to a tensor, names its eigenvalues,
moves a tensor into its eigenbasis and back, and inverts `shift I - scale Lap`. The pure functions
under it are public too. The equations (L.n) are on the theory page "The Laplacian".
"""

from heatgrad.laplacian.boundary import BOUNDARIES, Boundary, check_boundary, resolve_dims
from heatgrad.laplacian.bounds import (
    max_explicit_diffusion,
    num_active_dims,
    smoothing_reach,
    spectral_radius,
)
from heatgrad.laplacian.eigenbasis import from_eigenbasis, to_eigenbasis
from heatgrad.laplacian.eigenvalues import axis_eigenvalues
from heatgrad.laplacian.operator import Laplacian
from heatgrad.laplacian.solve import solve_shifted
from heatgrad.laplacian.speed import TransformSpeed, transform_length, transform_speed
from heatgrad.laplacian.stencil import apply_stencil, apply_stencil_foreach
from heatgrad.laplacian.transforms import dct2, dst1, idct2

__all__ = [
    "BOUNDARIES",
    "Boundary",
    "Laplacian",
    "TransformSpeed",
    "apply_stencil",
    "apply_stencil_foreach",
    "axis_eigenvalues",
    "check_boundary",
    "dct2",
    "dst1",
    "from_eigenbasis",
    "idct2",
    "max_explicit_diffusion",
    "num_active_dims",
    "resolve_dims",
    "smoothing_reach",
    "solve_shifted",
    "spectral_radius",
    "to_eigenbasis",
    "transform_length",
    "transform_speed",
]
