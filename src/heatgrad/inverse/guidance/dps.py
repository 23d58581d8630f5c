"""Diffusion posterior sampling: a step down the gradient of the misfit after every step."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from heatgrad.inverse.guidance.by_gradient import (
    Misfit,
    Residual,
    check_weights,
    gradient,
    squared_norm,
)
from heatgrad.inverse.guidance.guidance import Denoise
from heatgrad.inverse.latents.latent import Latent
from heatgrad.inverse.observing.operators import Operator

__all__ = ["DPS"]

_DIFFUSION_PDE = {
    "poisson": ({"a": 0.8, "u": 40.0}, 1.0),
    "helmholtz": ({"a": 0.8, "u": 60.0}, 1.0),
    "darcy": ({"a": 5.0, "u": 5000.0}, 100.0),
    "navier-stokes": ({"w0": 1.0, "w1": 1.0}, 1.0),
}


@dataclass(frozen=True)
class DPS:
    r"""Posterior sampling by gradients through the denoiser.

    $$x \leftarrow x' - \nabla_x \Bigl( \sum_f \zeta_f \frac{\| y_f - H_f D(x) \|}{q_f}
    + \zeta_{pde} \| r(D(x)) \| \Bigr), \tag{I.22}$$

    x' being the sampler's step from x, f the observed fields, and $q_f = \|y_f\|$
    (`relative`) or 1. The size of the step does not know the noise, nor how well a
    number is determined: draws are not those of the posterior even for a Gaussian prior, and the
    weights must be tuned by problem and by number of sensors.

    Attributes:
        weights: ζ of each observed field, or one for all, at least 0.
        relative: Whether misfits are taken over the size of the values.
        squared: Whether squares of the norms are taken, whose gradients vanish with the misfit.
        shrink: Whether the step is times min(1, σ), as in FunDPS.
        residual: r of an equation, from fields to values (num, ...); None for none.
        residual_weight: $\zeta_{pde}$, at least 0.
        late_from: Share of the steps after which the next two rules apply, from 0 to 1.
        late_factor: Factor of the weights of the observations then.
        residual_late: Whether the residual counts only then.

    Raises:
        ValueError: If a number is out of range.

    References:
        Chung et al. (2023), arXiv:2209.14687v4, Algorithm 1; Huang et al. (2024),
        arXiv:2406.17763 (DiffusionPDE). Theory page: Eq. (I.22).

    Example:
        >>> DPS(2.0).weights
        2.0
    """

    weights: Mapping[str, float] | float = 1.0
    _: KW_ONLY
    relative: bool = True
    squared: bool = False
    shrink: bool = False
    residual: Residual | None = None
    residual_weight: float = 0.0
    late_from: float = 1.0
    late_factor: float = 1.0
    residual_late: bool = False

    def __post_init__(self) -> None:
        check_weights(self.weights, self.residual_weight)
        check_weights(self.late_factor, 0.0)
        if not 0 <= self.late_from <= 1:
            raise ValueError(f"late_from must be from 0 to 1, got {self.late_from}")

    @classmethod
    def diffusion_pde(cls, problem: str, residual: Residual | None = None) -> "DPS":
        """Return the weights of DiffusionPDE, for 2000 steps of Heun from level 80.

        They were tuned for samples on the grid in units of its scaling, not for spectral latents:
        a baseline, not a recommendation. Its residual has weight ζ / 127², from 80 % of the steps
        on, when the other weights fall to a tenth.

        Args:
            problem: poisson, helmholtz, darcy or navier-stokes.
            residual: Of the equation.

        Raises:
            ValueError: If the problem is another.

        Example:
            >>> DPS.diffusion_pde("poisson").weights
            {'a': 0.8, 'u': 40.0}
        """
        if problem not in _DIFFUSION_PDE:
            raise ValueError(f"problem must be one of {', '.join(_DIFFUSION_PDE)}, got {problem!r}")
        weights, pde = _DIFFUSION_PDE[problem]
        return cls(
            dict(weights),
            relative=False,
            residual=residual,
            residual_weight=0.0 if residual is None else pde / 127**2,
            late_from=0.8,
            late_factor=0.1,
            residual_late=True,
        )

    def prepare(
        self,
        latent: Latent,
        operators: Sequence[Operator],
        noise: Tensor,
        *,
        levels: Sequence[float],
        device: torch.device | str | None = None,
    ) -> "_Guided":
        """Return what all cases with the same sensors share, see `Guidance`."""
        misfit = Misfit.of(
            latent,
            operators,
            self.weights,
            relative=self.relative,
            residual=self.residual,
            size=squared_norm if self.squared else _norm,
        )
        return _Guided(self, misfit, len(levels) - 1)


def _norm(gap: Tensor) -> Tensor:
    """Return the norm of each row, with gradient 0 at 0."""
    square = squared_norm(gap)
    return torch.where(square > 0, square, 1.0).sqrt() * (square > 0)


@dataclass(frozen=True, eq=False)
class _Guided:
    options: DPS
    misfit: Misfit
    steps: int

    def steer(self, denoise: Denoise, values: Tensor, generator: torch.Generator) -> "_Steering":
        return _Steering(self, denoise, values)


class _Steering:
    def __init__(self, guided: _Guided, denoise: Denoise, values: Tensor) -> None:
        self._guided, self._denoise, self._values = guided, denoise, values
        self._step = 0
        self._slope: Tensor | None = None

    def denoise(self, x: Tensor, sigma: float, *, is_first: bool) -> Tensor:
        if not is_first:
            return self._denoise(x, sigma)
        options, misfit = self._guided.options, self._guided.misfit
        is_late = self._step >= options.late_from * self._guided.steps
        factor = options.late_factor if is_late else 1.0
        has_residual = is_late or not options.residual_late
        weight = options.residual_weight / factor if has_residual and factor else 0.0

        def loss(x0: Tensor) -> Tensor:
            return factor * misfit(x0, self._values, weight)

        x0, self._slope = gradient(self._denoise, loss, x, sigma)
        self._step += 1
        return x0

    def moved(self, x: Tensor, sigma: float, below: float) -> Tensor:
        assert self._slope is not None
        rate = min(1.0, sigma) if self._guided.options.shrink else 1.0
        return x - rate * self._slope

    def finished(self, x: Tensor) -> Tensor:
        return x
