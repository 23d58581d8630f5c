"""What each cell gives to the links with its neighbours, near and far."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from heatgrad.fokker_planck.grid.fields import Stencil
from heatgrad.fokker_planck.grid.rates import excess_diffusion

__all__ = ["Jumps", "half_links"]


@dataclass(frozen=True)
class Jumps:
    """Half-links: each from a cell, with its offset, and what the cell gives to the link.

    `way` says how many directions of little noise each cell has upwind.
    """

    rows: Int[np.ndarray, " links"]
    offsets: Int[np.ndarray, "links p"]
    weights: Float[np.ndarray, " links"]
    fluxes: Float[np.ndarray, " links"]
    way: Int[np.ndarray, " m"]


def half_links(
    stencil: Stencil,
    drift: Float[np.ndarray, "m p"] | None,
    size: int,
    spacing: Float[np.ndarray, " p"],
) -> Jumps:
    """Return what each cell gives to its links, both ways along each offset.

    Args:
        stencil: Of the cells.
        drift: a at the cells, in units of cells; None where a potential will give the rates.
        size: m, number of cells.
        spacing: Of the grid.
    """
    m, p = size, len(spacing)
    all_rows = np.arange(m)
    at = stencil.rows(all_rows)
    weights = stencil.jumps.weights[at]
    offsets = stencil.jumps.offsets[at]
    if drift is None:
        way, along = np.zeros(m, dtype=np.int64), np.zeros(weights.shape)
        quiet = np.zeros((m, p))
    else:
        way, along, quiet = _split(stencil, drift, spacing)
    k = weights.shape[1]
    rows = np.concatenate([np.repeat(all_rows, k), np.repeat(all_rows, p)])
    steps = np.concatenate([offsets.reshape(-1, p), np.tile(np.eye(p, dtype=np.int64), (m, 1))])
    rho = np.concatenate([weights.ravel(), np.zeros(m * p)])
    flux = np.concatenate([(weights * along).ravel(), quiet.ravel()])
    kept = (rho > 0) | (flux != 0)
    rows, steps, rho, flux = rows[kept], steps[kept], rho[kept], flux[kept]
    return Jumps(
        np.concatenate([rows, rows]),
        np.concatenate([steps, -steps]),
        np.concatenate([rho, rho]),
        np.concatenate([flux, -flux]),
        way,
    )


def _split(
    stencil: Stencil, drift: Float[np.ndarray, "m p"], spacing: Float[np.ndarray, " p"]
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, "m k"], Float[np.ndarray, "m p"]]:
    """Return how each cell shares its drift among offsets and axes, and both shares.

    Of the ways to do so the one with the least trace of numerical diffusion is taken.
    """
    m, p = drift.shape
    at = stencil.rows(np.arange(m))
    weights, offsets = stencil.jumps.weights[at], stencil.jumps.offsets[at]
    lengths = ((offsets * spacing) ** 2).sum(axis=2)
    way = np.zeros(m, dtype=np.int64)
    best = np.full(m, np.inf)
    along, quiet = np.zeros(weights.shape), np.zeros((m, p))
    for k, (inverse, projection) in enumerate(zip(stencil.inverses, stencil.quiet, strict=True)):
        share = np.einsum("nkp,npq,nq->nk", offsets, inverse[at], drift)
        rest = np.einsum("npq,nq->np", projection[at], drift)
        cost = (excess_diffusion(weights, weights * share) * lengths).sum(axis=1)
        cost += (np.abs(rest) * spacing**2).sum(axis=1) / 2
        better = cost < best
        way[better], best[better] = k, cost[better]
        along[better], quiet[better] = share[better], rest[better]
    return way, along, quiet
