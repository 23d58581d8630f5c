"""The coordinates of a trained prior: fitted, kept and read again."""

from collections.abc import Mapping

import torch
from torch import Tensor

from heatgrad.inverse import Basis, Latent, SpectralLatent, Square
from heatgrad.inverse.latents.basis import num_modes
from heatgrad.solving.grid_latent import GridLatent
from heatgrad.solving.prior_spec import PriorSpec
from heatgrad.solving.problems import Problem

__all__ = ["AnyLatent", "bases_of", "fitted_latent", "latent_of", "latent_parts", "left_out"]

AnyLatent = SpectralLatent | GridLatent

_SAMPLE = 200  # fields by which it is judged what a latent leaves out


def bases_of(problem: Problem, modes: int) -> dict[str, Basis]:
    """Return the basis of each field by its boundary condition, with so many modes a side.

    A field that has fewer modes keeps them all.

    Example:
        >>> from heatgrad.pde import Poisson
        >>> [basis.truncation.m for basis in bases_of(Poisson(17), 16).values()]
        [16, 15]
    """
    return {
        name: Basis(boundary, Square(min(modes, num_modes(problem.grid, boundary))))
        for name, boundary in problem.boundaries.items()
    }


def fitted_latent(spec: PriorSpec, problem: Problem, fields: Mapping[str, Tensor]) -> AnyLatent:
    """Return the latent whose numbers have mean 0 and deviation 1 on a sample of fields."""
    if spec.space == "grid":
        return GridLatent.fit(fields, problem.grid)
    whole = {name: field.double() for name, field in fields.items()}
    return SpectralLatent.fit(whole, problem.grid, bases_of(problem, spec.modes))


def latent_parts(latent: AnyLatent) -> dict[str, Tensor]:
    """Return the arrays by which a latent can be made again."""
    return {"latent.mean": latent.mean.double(), "latent.std": latent.std.double()}


def latent_of(spec: PriorSpec, problem: Problem, parts: Mapping[str, Tensor]) -> AnyLatent:
    """Return a latent from its arrays."""
    mean, std = parts["latent.mean"], parts["latent.std"]
    if spec.space == "grid":
        return GridLatent(problem.grid, problem.names, mean, std)
    return SpectralLatent(problem.grid, bases_of(problem, spec.modes), mean, std)


def left_out(latent: Latent, fields: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the root mean square of what a latent cannot show of each field [field]."""
    some = {name: field[:_SAMPLE].double() for name, field in fields.items()}
    with torch.no_grad():
        shown = latent.decode(latent.encode(some))
    return {name: float((shown[name] - some[name]).square().mean().sqrt()) for name in some}
