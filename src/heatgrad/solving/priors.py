"""What is known of the fields before any sensor: a law in closed form, or a trained network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.diffusion import Denoiser, GaussianDenoiser
from heatgrad.inverse import GaussianPrior, Latent, SolvedLatent, SpectralLatent, Square
from heatgrad.pde import NavierStokes
from heatgrad.solving.base import fitted_axes
from heatgrad.solving.latents import bases_of, left_out
from heatgrad.solving.prior_spec import prior_spec
from heatgrad.solving.problems import Problem
from heatgrad.solving.symmetries import copies_of, num_copies_of
from heatgrad.solving.trained import TrainedPrior, load_prior

__all__ = ["Prior", "law_prior", "needs_training", "prior_of", "trained_as_prior"]

_MODES = 64  # of the exact prior of the samplers, a side: what is left out is below 2 % of a
_SAMPLES = 1200  # of the law, for the fitted covariance of kriging
_COPIES = 8  # of each, by the symmetries of the law
_KRIGING_MODES = 44  # its latents, a side


@dataclass(frozen=True, eq=False)
class Prior:
    """A law of fields, in the forms that the methods need.

    Attributes:
        id: What tells it from others, for folders of results.
        name: Of the problem, as in files.
        words: A sentence on it.
        problem: Whose law it is.
        latent: Coordinates of the samplers.
        denoiser: In these coordinates.
        mean: Fitted mean of the latents, shape (numbers,); None where their law is N(0, I), or not
            fitted. So are the next two.
        variances: Of the latents along their principal axes, shape (numbers,).
        axes: These axes, in columns.
        left_out: Root mean square of what the latent leaves out of each field [field].
        sizes: Root mean square of each field [field].
        whole: Latent of all modes, white under the law, of a linear problem; of Navier-Stokes that
            of its first field alone; else None.
    """

    id: str
    name: str
    words: str
    problem: Problem
    latent: Latent
    denoiser: Denoiser
    mean: Tensor | None
    variances: Tensor | None
    axes: Tensor | None
    left_out: Mapping[str, float]
    sizes: Mapping[str, float]
    whole: Latent | None

    @property
    def numbers(self) -> int:
        """Numbers of one sample."""
        return self.latent.num_numbers

    @cached_property
    def kriged(self) -> tuple[Latent, GaussianPrior, Mapping[str, float]]:
        """The latent of kriging, its fitted law, and what it leaves out of each field."""
        if self.mean is not None and self.variances is not None and self.axes is not None:
            return self.latent, _gaussian(self.mean, self.variances, self.axes), self.left_out
        return _kriged(self.name, self.problem)


def needs_training(problem: Problem) -> bool:
    """Whether a problem's law is not in closed form.

    Example:
        >>> from heatgrad.pde import Darcy, Poisson
        >>> needs_training(Poisson(17)), needs_training(Darcy(17))
        (False, True)
    """
    has_parts = hasattr(problem, "law") and hasattr(problem, "solve")
    return not (problem.is_linear and has_parts and len(problem.names) == 2)


def prior_of(
    name: str, problem: Problem, options: dict[str, Any] | None = None, *, method: str = ""
) -> Prior:
    """Return the prior that a problem is solved with.

    Args:
        name: Of the problem, as in files.
        problem: The problem.
        options: Keyword arguments that it was made with.
        method: A method that needs no trained prior, `"exact"`, is answered without one.

    Raises:
        SpecError: If it must be trained and is not, with the command that trains it.
    """
    if not needs_training(problem) or (method == "exact" and isinstance(problem, NavierStokes)):
        return law_prior(name, problem)
    return trained_as_prior(load_prior(prior_spec(name, options), problem))


def law_prior(name: str, problem: Problem) -> Prior:
    """Return the prior of a problem whose first field is Gaussian, in closed form.

    Linear: the latent of the parameter, its solution solved for. Navier-Stokes: the first
    vorticity, the second solved for; a Gaussian law, but no linear map.
    """
    law, solve = problem.law, problem.solve  # type: ignore[attr-defined]
    first, second = problem.names
    if isinstance(problem, NavierStokes):
        inner, map_ = SpectralLatent.of_law(law, name=first), _snapshot(problem)
    else:
        modes = min(_MODES, problem.grid.n)
        inner = SpectralLatent.of_law(law, name=first, truncation=Square(modes))
        map_ = solve
    whole = SolvedLatent(SpectralLatent.of_law(law, name=first), map_, second)
    latent = SolvedLatent(inner, map_, second)
    sizes, left = _judged(problem, latent)
    white = GaussianDenoiser(torch.zeros(latent.shape, dtype=torch.float64), std=_spread(inner))
    words = (
        f"The prior is the law itself: {first} is Gaussian, its {latent.num_numbers:,} numbers are "
        f"independent, and {second} is solved for; nothing is trained."
    )
    return Prior(
        f"law-{name}", name, words, problem, latent, white, None, None, None, left, sizes, whole
    )


def trained_as_prior(trained: TrainedPrior) -> Prior:
    """Return a trained prior in the forms that the methods need."""
    spec, about = trained.spec, trained.about
    trained.model.requires_grad_(False)
    where = "the grid" if spec.space == "grid" else f"{spec.modes} x {spec.modes} modes a field"
    words = (
        f"The prior was trained on {spec.pairs:,} solutions: {where}, {about['parameters']:,} "
        f"weights, {about['epochs']} epochs in {about['seconds_trained'] / 60:.1f} minutes."
    )
    sizes = {name: float(value) for name, value in about["sizes"].items()}
    return Prior(
        f"trained-{spec.id}", spec.problem, words, trained.problem, trained.latent, trained.model,
        trained.mean, trained.variances, None if trained.axes is None else trained.axes.double(),
        trained.left_out, sizes, None,
    )  # fmt: skip


def _snapshot(problem: NavierStokes) -> Any:
    """Return the map from the first vorticity to the last."""
    return lambda w0: problem.solve(w0)[..., 0, :, :]


def _spread(latent: SpectralLatent) -> Tensor:
    """Return 1 where a number matters, 0 where it is fixed."""
    return (latent.std > 0).double()


def _judged(problem: Problem, latent: Latent) -> tuple[dict[str, float], dict[str, float]]:
    """Return the size of each field and what a latent leaves out of it, by a sample."""
    fields = problem.sample(200, stream_generator(0, "prior-size"))
    sizes = {name: math.sqrt(float(field.square().mean())) for name, field in fields.items()}
    return sizes, left_out(latent, fields)


def _kriged(name: str, problem: Problem) -> tuple[Latent, GaussianPrior, Mapping[str, float]]:
    """Return latents of both fields and their covariance, fitted to solutions and their copies."""
    fields = problem.sample(_SAMPLES, stream_generator(0, "kriging"))
    modes = min(_KRIGING_MODES, problem.grid.n - 2)
    latent = SpectralLatent.fit(fields, problem.grid, bases_of(problem, modes))
    count = num_copies_of(name, _COPIES)
    copies = [latent.encode(copies_of(name, fields, k, count)) for k in range(count)]
    held = _SAMPLES // 20
    rest = torch.cat([z[:-held] for z in copies])
    mean, variances, axes = fitted_axes(rest, torch.cat([z[-held:] for z in copies]))
    return latent, _gaussian(mean, variances, axes), left_out(latent, fields)


def _gaussian(mean: Tensor, variances: Tensor, axes: Tensor) -> GaussianPrior:
    cov = axes * variances @ axes.T
    return GaussianPrior(mean, (cov + cov.T) / 2)
