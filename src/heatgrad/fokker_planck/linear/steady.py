"""Currents and quasi-potential of a linear diffusion's steady state, singular ones included."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["SINGULAR", "entropy_production", "half_square", "irreversibility"]

SINGULAR = 1e-12  # smallest eigenvalue that is told from 0, relative to the largest


def irreversibility(drift: Float[Tensor, "p p"], cov: Float[Tensor, "p p"]) -> Float[Tensor, "p p"]:
    """Return A = (H S - S H') / 2: the stationary current is -A S⁻¹ x times the density."""
    flow = drift @ cov
    return (flow - flow.T) / 2


def entropy_production(
    drift: Float[Tensor, "p p"], diffusion: Float[Tensor, "p p"], cov: Float[Tensor, "p p"]
) -> float:
    """Return tr(A' D⁻¹ A S⁻¹) of (F.20), infinite where the current leaves the range of D."""
    anti = irreversibility(drift, cov)
    scale = float(torch.linalg.matrix_norm(drift @ cov))
    if float(torch.linalg.matrix_norm(anti)) <= 1e-12 * scale:
        return 0.0
    values, vectors = torch.linalg.eigh(diffusion)
    noisy = values > SINGULAR * values[-1]
    inner = vectors.T @ anti
    if float(torch.linalg.matrix_norm(inner[~noisy])) > 1e-10 * scale:
        return math.inf
    spread, axes = torch.linalg.eigh(cov)
    kept = spread > SINGULAR * spread[-1]  # A vanishes on the others
    share = (inner[noisy] @ axes[:, kept]) ** 2 / (values[noisy, None] * spread[kept])
    return float(share.sum())


def half_square(points: Float[Tensor, "n p"], cov: Float[Tensor, "p p"]) -> Float[Tensor, " n"]:
    """Return x' S⁻¹ x / 2 of each point, infinite outside the range of S."""
    values, vectors = torch.linalg.eigh(cov)
    parts = points @ vectors
    kept = values > SINGULAR * values[-1]
    finite = (parts[:, kept] ** 2 / values[kept]).sum(1) / 2
    beyond = torch.linalg.vector_norm(parts[:, ~kept], dim=1)
    reached = beyond <= 1e-10 * torch.linalg.vector_norm(points, dim=1)
    return torch.where(reached, finite, math.inf)
