"""Guidance by an Adam step on the misfit after every step, with moments kept throughout."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace

import torch
from jaxtyping import Float
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

__all__ = ["PersistentAdam", "mode_rates"]

_SMALL = 1e-8


@dataclass(frozen=True)
class PersistentAdam:
    r"""[PISD]'s guided sampler: Adam on the misfit of the denoised fields.

    $$L = \sum_f \zeta_f \frac{N^2}{n_f} \| H_f D(x) - y_f \|^2 + \zeta_{pde} \| r(D(x)) \|^2,
    \qquad g = \nabla_x L, \tag{I.23}$$

    $$x \leftarrow x' - \eta_{low} W(k) \frac{\hat m}{\sqrt{\hat v} + 10^{-8}}, \qquad
    W(k) = r + \frac{1 - r}{1 + e^{(|k| - 10) / 10}}, \quad r = \eta_{high} / \eta_{low},
    \tag{I.24}$$

    x' being the sampler's step, $\hat m$ and $\hat v$ Adam's bias-corrected moments of g, which are
    kept over all levels. |k| is the length of the mode number, sines counted from 0.

    A step does not depend on the size of g: the constant rate leaves jitter of its order, and
    pushes numbers that no sensor sees as hard as others; draws are not those of the posterior.

    Attributes:
        weights: ζ of each observed field, or one for all, at least 0.
        relative: Whether misfits are taken over the norm of the values of a field: then the weights
            have no unit.
        per_point: Whether the factor N²/n_f, points of the grid over sensors, is taken.
        residual: r of an equation, from fields to values (num, ...); None for none.
        residual_weight: $\zeta_{pde}$, at least 0.
        rate_low: $\eta_{low}$, at low modes, positive.
        rate_high: $\eta_{high}$, at high modes, positive.
        betas: Decay of Adam's moments.
        shrink: Whether rates are times min(1, σ), which is not in [PISD] and lessens the jitter.

    Raises:
        ValueError: If a number is out of range.

    References:
        [PISD], arXiv:2602.09708, its guided sampler. Theory page: Eqs. (I.23), (I.24).

    Example:
        >>> PersistentAdam.published("poisson").betas
        (0.985, 0.98)
    """

    weights: Mapping[str, float] | float = 1.0
    _: KW_ONLY
    relative: bool = True
    per_point: bool = True
    residual: Residual | None = None
    residual_weight: float = 0.0
    rate_low: float = 0.2
    rate_high: float = 0.01
    betas: tuple[float, float] = (0.985, 0.98)
    shrink: bool = False

    def __post_init__(self) -> None:
        check_weights(self.weights, self.residual_weight)
        for name in ("rate_low", "rate_high"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be from 0 to below 1, got {self.betas}")

    @classmethod
    def published(cls, problem: str, residual: Residual | None = None) -> "PersistentAdam":
        """Return [PISD]'s constants, for Euler steps from level 70 to .002 with ρ = 7.

        2000 steps for poisson and helmholtz, whose constants are for the forward task; 1000 for
        navier-stokes.

        Args:
            problem: poisson, helmholtz or navier-stokes.
            residual: Of the equation; `SineResidual` is theirs for the first two.

        Raises:
            ValueError: If the problem is another.

        Example:
            >>> PersistentAdam.published("navier-stokes").rate_low
            0.1
        """
        if problem in ("poisson", "helmholtz"):
            weight = 0.0 if residual is None else 5e-4
            return cls(
                {"a": 0.05, "u": 0.0}, relative=False, residual=residual, residual_weight=weight
            )
        if problem != "navier-stokes":
            raise ValueError(
                f"problem must be poisson, helmholtz or navier-stokes, got {problem!r}"
            )
        return cls(
            0.5,
            relative=False,
            per_point=False,
            residual=residual,
            residual_weight=0.0 if residual is None else 1e-4,
            rate_low=0.1,
            betas=(0.97, 0.98),
        )

    def prepare(
        self,
        latent: Latent,
        operators: Sequence[Operator],
        noise: Tensor,
        *,
        levels: Sequence[float] = (),
        device: torch.device | str | None = None,
    ) -> "_Guided":
        """Return what all cases with the same sensors share, see `Guidance`.

        Raises:
            ValueError: If the rates differ and the latent has no mode numbers.
        """
        misfit = Misfit.of(
            latent,
            operators,
            self.weights,
            relative=self.relative,
            residual=self.residual,
            size=squared_norm,
        )
        if self.per_point:
            points, instrument = latent.grid.n**2, misfit.instrument
            counts = {name: int(instrument.of(name).sum()) for name in instrument.fields}
            scaled = {k: w * points / counts[k] for k, w in misfit.weights.items() if k in counts}
            misfit = replace(misfit, weights=scaled)
        return _Guided(self, misfit, self._rates(latent))

    def _rates(self, latent: Latent) -> Tensor:
        if self.rate_low == self.rate_high:
            return torch.full(latent.shape, self.rate_low, dtype=torch.float64)
        numbers = getattr(latent, "mode_numbers", None)
        if numbers is None:
            raise ValueError(
                "rates that differ by mode need a spectral latent, got one without mode_numbers; "
                "give rate_high = rate_low"
            )
        return mode_rates(numbers, self.rate_low, self.rate_high)


def mode_rates(
    mode_numbers: Float[Tensor, "*shape"], low: float, high: float
) -> Float[Tensor, "*shape"]:
    r"""Return $\eta_{low} W(k)$ of Eq. (I.24).

    Args:
        mode_numbers: |k|, from 0.
        low: $\eta_{low}$, toward which the rate tends at low modes.
        high: $\eta_{high}$, toward which it tends at high ones.

    Example:
        >>> mode_rates(torch.tensor([10.0, 1e4]), 0.2, 0.01)
        tensor([0.1050, 0.0100])
    """
    ratio = high / low
    return low * (ratio + (1 - ratio) * torch.sigmoid((10 - mode_numbers) / 10))


@dataclass(frozen=True, eq=False)
class _Guided:
    options: PersistentAdam
    misfit: Misfit
    rates: Tensor

    def steer(self, denoise: Denoise, values: Tensor, generator: torch.Generator) -> "_Steering":
        return _Steering(self, denoise, values)


class _Steering:
    def __init__(self, guided: _Guided, denoise: Denoise, values: Tensor) -> None:
        self._guided, self._denoise, self._values = guided, denoise, values
        self._step = 0
        self._moments: tuple[Tensor, Tensor] | None = None

    def denoise(self, x: Tensor, sigma: float, *, is_first: bool) -> Tensor:
        if not is_first:
            return self._denoise(x, sigma)
        options, misfit = self._guided.options, self._guided.misfit

        def loss(x0: Tensor) -> Tensor:
            return misfit(x0, self._values, options.residual_weight)

        x0, slope = gradient(self._denoise, loss, x, sigma)
        zero = torch.zeros_like(slope)
        first, second = self._moments or (zero, zero)
        one, two = options.betas
        self._moments = (
            one * first + (1 - one) * slope,
            two * second + (1 - two) * slope.square(),
        )
        self._step += 1
        return x0

    def moved(self, x: Tensor, sigma: float, below: float) -> Tensor:
        assert self._moments is not None
        options = self._guided.options
        first = self._moments[0] / (1 - options.betas[0] ** self._step)
        second = self._moments[1] / (1 - options.betas[1] ** self._step)
        rate = self._guided.rates.to(x) * (min(1.0, sigma) if options.shrink else 1.0)
        return x - rate * first / (second.sqrt() + _SMALL)

    def finished(self, x: Tensor) -> Tensor:
        return x
