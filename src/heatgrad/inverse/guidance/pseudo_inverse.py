"""Pseudo-inverse guidance in whitened latents."""

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.inverse.exact.prior import GaussianPrior
from heatgrad.inverse.exact.sensors import MAX_OBSERVATIONS, SensorMatrix, sensor_matrix
from heatgrad.inverse.guidance.guidance import Denoise
from heatgrad.inverse.latents.latent import Latent
from heatgrad.inverse.observing.operators import Operator

__all__ = ["PseudoInverse"]

_KEPT = 64  # factorisations of levels that are kept
_ROUNDING = 1e-13  # of the largest eigenvalue


@dataclass(frozen=True, eq=False)
class PseudoInverse:
    r"""Guidance that is exact for a Gaussian prior.

    $$D_y = D + C A^\top (A C A^\top + R)^{-1} (y - b - A D), \qquad
    C(\sigma) = \sigma^2 S (S + \sigma^2 I)^{-1}, \tag{I.20}$$

    where S is the covariance of the latents: C is that of the clean latents given noisy ones, so
    $D_y = E[z_0 \mid z_\sigma, y]$ if the prior is Gaussian and D its denoiser. No gradient goes
    through the denoiser.

    For $S = s I$, as in whitened latents, $C = c\,I$ with $c = s \sigma^2 / (s + \sigma^2)$, and
    one eigendecomposition of $R^{-1/2} A A^\top R^{-1/2}$ serves all levels (I.21); without noise
    and jitter the guidance does not depend on σ and holds the values exactly. For another S there
    is one Cholesky factorisation a level, shared by all cases. For a prior that is not Gaussian it
    is an approximation; when the truth is far from Gaussian, as a medium of two values, its draws
    are too smooth.

    Attributes:
        cov: s; or the diagonal of S, shape (numbers,); or S, shape (numbers, numbers); the
            identity if None.
        axes: Orthonormal columns: then `cov` holds the variances along them.
        jitter: ε of Eq. (I.9), as for `ExactGaussianPosterior`.
        jacobian: Whether the first C is σ² times the Jacobian of the denoiser, by one
            vector-Jacobian product (Song et al.): exact in more cases, twice the cost.
        max_observations: Refuse more of them.

    Raises:
        ValueError: If an option is out of range or a shape is wrong.

    References:
        Song et al. (2023), "Pseudoinverse-guided diffusion models", ICLR. Theory page: Eqs. (I.20),
        (I.21).

    Example:
        >>> PseudoInverse(cov=0.25).jitter
        1e-08
    """

    cov: Tensor | float | None = None
    _: KW_ONLY
    axes: Tensor | None = None
    jitter: float = 1e-8
    jacobian: bool = False
    max_observations: int = MAX_OBSERVATIONS

    def __post_init__(self) -> None:
        if not self.jitter >= 0:
            raise ValueError(f"jitter must be at least 0, got {self.jitter}")
        cov = torch.as_tensor(1.0 if self.cov is None else self.cov, dtype=torch.float64)
        if not bool(cov.isfinite().all()):
            raise ValueError("cov must be finite, got NaN or infinite numbers")
        if cov.ndim < 2 and bool((cov < 0).any()):
            raise ValueError("cov must have variances of at least 0, got a negative one")
        if self.axes is not None and (cov.ndim != 1 or self.axes.shape != (len(cov), len(cov))):
            raise ValueError(
                f"axes need one variance each: cov of shape (numbers,), axes (numbers, numbers), "
                f"got {tuple(cov.shape)} and {tuple(self.axes.shape)}"
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
            ValueError: As `ExactGaussianPosterior`.
        """
        numbers = math.prod(latent.shape)
        spread, axes = self._spectrum(numbers)
        given = None if spread.ndim == 0 else spread.expand(numbers)
        prior = GaussianPrior(torch.zeros(numbers), given) if axes is None else None
        if prior is None:  # by the diagonal of S alone: it only has to tell blind sensors
            assert axes is not None
            prior = GaussianPrior(torch.zeros(numbers), (axes.square() * spread).sum(1))
        sensors = sensor_matrix(
            latent, operators, noise, prior,
            jitter=self.jitter, max_observations=self.max_observations, device=device,
        )  # fmt: skip
        gain: _Gain
        if spread.ndim == 0:
            gain = _WhiteGain.of(sensors, float(spread))
        else:
            gain = _ColoredGain(sensors, spread.to(sensors.matrix), axes)
        return _Guided(sensors, gain, self.jacobian)

    def _spectrum(self, numbers: int) -> tuple[Tensor, Tensor | None]:
        """Return the variances of S and their axes, None for those of the numbers themselves."""
        cov = torch.as_tensor(1.0 if self.cov is None else self.cov, dtype=torch.float64).detach()
        if cov.ndim and len(cov) != numbers:
            raise ValueError(f"cov must have {numbers} numbers as the latent, got {len(cov)}")
        if cov.ndim < 2:
            return cov, None if self.axes is None else self.axes.detach().double()
        values, axes = torch.linalg.eigh((cov + cov.T) / 2)
        if float(values[0]) < -1e-9 * float(values[-1]):
            raise ValueError(f"cov must have no negative eigenvalue, got {float(values[0]):.3g}")
        return values.clamp(min=0), axes


class _Gain(ABC):
    """C A' (A C A' + R)^-1 at any level."""

    def turned(self, values: Tensor) -> Tensor:
        """Return values less b in the coordinates that `covector` takes."""
        return values

    @abstractmethod
    def covector(self, x0: Tensor, values: Tensor, sigma: float) -> Tensor:
        """Return A' (A C A' + R)^-1 (y - b - A D) for rows of D and of turned values."""

    @abstractmethod
    def spread(self, rows: Tensor, sigma: float) -> Tensor:
        """Return C times each row."""


@dataclass(frozen=True, eq=False)
class _WhiteGain(_Gain):
    r"""The gain for S = s I, with $R^{-1/2} A = Q W$ and $W W^\top = \Lambda$ diagonal.

    $$C A^\top (A C A^\top + R)^{-1} r = W^\top \frac{c}{1 + c \Lambda} Q^\top R^{-1/2} r.
    \tag{I.21}$$
    """

    s: float
    rotated: Float[Tensor, "kept numbers"]  # W
    turn: Float[Tensor, "kept kept"]  # R^-1/2 Q
    eigenvalues: Float[Tensor, " kept"]
    is_exact: bool  # R = 0: then R^-1/2 is left out and 1 / (c Λ) taken

    @classmethod
    def of(cls, sensors: SensorMatrix, s: float) -> "_WhiteGain":
        variance = sensors.variance
        is_exact = not bool((variance > 0).any())
        if not is_exact and not bool((variance > 0).all()):
            raise ValueError(
                "some sensors have no noise and others have: give all one, or jitter above 0"
            )
        scale = torch.ones_like(variance) if is_exact else variance.rsqrt()
        scaled = scale[:, None] * sensors.matrix
        values, vectors = torch.linalg.eigh(scaled @ scaled.T)
        return cls(s, vectors.T @ scaled, scale[:, None] * vectors, values.clamp(min=0), is_exact)

    def _c(self, sigma: float) -> float:
        return self.s * sigma**2 / (self.s + sigma**2)

    def turned(self, values: Tensor) -> Tensor:
        return values @ self.turn

    def covector(self, x0: Tensor, values: Tensor, sigma: float) -> Tensor:
        c, known = self._c(sigma), self.eigenvalues
        if self.is_exact:
            is_seen = known > _ROUNDING * known[-1]
            share = torch.where(is_seen, 1 / (c * known.clamp(min=1e-300)), 0.0)
        else:
            share = 1 / (1 + c * known)
        rest = torch.addmm(values, x0, self.rotated.T, alpha=-1)
        return rest.mul_(share) @ self.rotated

    def spread(self, rows: Tensor, sigma: float) -> Tensor:
        return self._c(sigma) * rows


class _ColoredGain(_Gain):
    """For any S: one Cholesky factorisation a level."""

    def __init__(self, sensors: SensorMatrix, spread: Tensor, axes: Tensor | None) -> None:
        self._spread = spread
        self._axes = None if axes is None else axes.to(sensors.matrix)
        self._matrix = sensors.matrix if self._axes is None else sensors.matrix @ self._axes
        self._rows = sensors.matrix
        self._noise = sensors.variance
        self._factors: OrderedDict[float, Tensor] = OrderedDict()

    def _c(self, sigma: float) -> Tensor:
        return self._spread * sigma**2 / (self._spread + sigma**2)

    def _factor(self, sigma: float) -> Tensor:
        if sigma not in self._factors:
            gram = (self._matrix * self._c(sigma)) @ self._matrix.T + torch.diag(self._noise)
            factor, failed = torch.linalg.cholesky_ex((gram + gram.T) / 2)
            if int(failed):
                raise ValueError(
                    f"A C A' + R must be positive definite at level {sigma:g}; raise jitter, or "
                    f"give a noise"
                )
            self._factors[sigma] = factor
            while len(self._factors) > _KEPT:
                self._factors.popitem(last=False)
        return self._factors[sigma]

    def covector(self, x0: Tensor, values: Tensor, sigma: float) -> Tensor:
        rest = torch.addmm(values, x0, self._rows.T, alpha=-1)
        return torch.cholesky_solve(rest.T, self._factor(sigma)).T @ self._rows

    def spread(self, rows: Tensor, sigma: float) -> Tensor:
        if self._axes is None:
            return rows * self._c(sigma)
        return (rows @ self._axes * self._c(sigma)) @ self._axes.T


@dataclass(frozen=True, eq=False)
class _Guided:
    sensors: SensorMatrix
    gain: _Gain
    jacobian: bool

    def steer(self, denoise: Denoise, values: Tensor, generator: torch.Generator) -> "_Steering":
        return _Steering(self, denoise, self.gain.turned(self.sensors.used(values)))


@dataclass(frozen=True, eq=False)
class _Steering:
    guided: _Guided
    denoise_: Denoise = field(repr=False)
    values: Tensor

    def denoise(self, x: Tensor, sigma: float, *, is_first: bool) -> Tensor:
        gain = self.guided.gain
        if not self.guided.jacobian:
            x0 = self.denoise_(x, sigma)
            pulled = gain.covector(x0.flatten(1), self.values, sigma)
            return x0 + gain.spread(pulled, sigma).reshape(x0.shape)
        with torch.enable_grad():
            noisy = x.detach().requires_grad_()
            x0 = self.denoise_(noisy, sigma)
            pulled = gain.covector(x0.detach().flatten(1), self.values, sigma)
            (slope,) = torch.autograd.grad(x0, noisy, pulled.reshape(x0.shape))
        return x0.detach() + sigma**2 * slope

    def moved(self, x: Tensor, sigma: float, below: float) -> Tensor:
        return x

    def finished(self, x: Tensor) -> Tensor:
        return x
