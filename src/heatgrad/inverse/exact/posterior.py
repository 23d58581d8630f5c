"""The posterior of a linear observation of a Gaussian prior, in closed form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.inverse.exact.prior import GaussianPrior
from heatgrad.inverse.exact.sensors import MAX_OBSERVATIONS, SensorMatrix, sensor_matrix
from heatgrad.inverse.latents.latent import Latent, decode_in_parts
from heatgrad.inverse.latents.solved import SolvedLatent
from heatgrad.inverse.latents.spectral import SpectralLatent
from heatgrad.inverse.observing.operators import Operator
from heatgrad.inverse.scores import relative_error

__all__ = ["ExactGaussianPosterior", "Floor"]

_PART = 64  # latents that are decoded together


@dataclass(frozen=True)
class Floor:
    """What no method can beat on average, for one field.

    Attributes:
        mean: Expected relative error of the posterior mean [1].
        draw: Expected relative error of one posterior draw [1].
        mean_error: Standard error of `mean`.
        draw_error: Standard error of `draw`.
    """

    mean: float
    draw: float
    mean_error: float
    draw_error: float


@dataclass(frozen=True, eq=False)
class ExactGaussianPosterior:
    r"""The law of latents, given what sensors said, for z ~ N(m, S) and $y = A z + b + n$.

    $$E[z \mid y] = m + S A^\top K^{-1} (y - b - A m), \qquad
    \operatorname{Cov}[z \mid y] = S - S A^\top K^{-1} A S, \qquad K = A S A^\top + R. \tag{I.10}$$

    One Cholesky factorisation of K, made here, serves all cases that have the same sensors. With a
    fitted m and S it is kriging with the fitted covariance.

    R is the squared noise plus ε times the mean prior variance of the sensors of the same field.
    At the default 1e-8 that is a noise of 1e-4 of what a field typically measures: without it, K
    of smooth fields is singular in float64, and with it a value without noise is held to about
    1e-4. It sets a floor for what is inferred through a smoothing solver, as the parameter of the
    Poisson equation from its solution.

    Args:
        latent: One that decodes linearly.
        operators: What is measured.
        noise: Standard deviation of all or of each, at least 0 [field].
        mean: m, shape (numbers,) or that of the latent; zero if None.
        cov: S, shape (numbers, numbers), or its diagonal; the identity if None.
        jitter: ε, at least 0 [1].
        max_observations: Refuse more of them; memory grows as their square.
        device: Where to compute; the CPU if None.

    Attributes:
        latent: As given.
        sensors: The matrix A and which sensors are used.
        prior: m and S.

    Raises:
        ValueError: If something does not fit, `decode` is not linear, there are too many
            observations, or K is singular.

    Warns:
        HeatgradWarning: If some sensors carry nothing and are dropped, with their number.

    References:
        Theory page: Eq. (I.10).

    Example:
        >>> from heatgrad.inverse import Points, SpectralLatent
        >>> from heatgrad.pde import GaussianRandomField, Grid
        >>> latent = SpectralLatent.of_law(GaussianRandomField(Grid(8, "cells"), "neumann"))
        >>> posterior = ExactGaussianPosterior(latent, [Points("a", [(0.5, 0.5)])])
        >>> z = posterior.mean(torch.tensor([[0.7]], dtype=torch.float64))
        >>> round(posterior.sensors.instrument(latent.decode(z)).item(), 6)
        0.7
    """

    latent: Latent
    sensors: SensorMatrix
    prior: GaussianPrior
    _factor: Float[Tensor, "kept kept"]
    _seen: Float[Tensor, "kept numbers"]  # A S

    def __init__(
        self,
        latent: Latent,
        operators: Sequence[Operator],
        noise: Tensor | float = 0.0,
        *,
        mean: Tensor | None = None,
        cov: Tensor | None = None,
        jitter: float = 1e-8,
        max_observations: int = MAX_OBSERVATIONS,
        device: torch.device | str | None = None,
    ) -> None:
        numbers = math.prod(latent.shape)
        prior = GaussianPrior(torch.zeros(numbers) if mean is None else mean, cov)
        sensors = sensor_matrix(
            latent,
            operators,
            noise,
            prior,
            jitter=jitter,
            max_observations=max_observations,
            device=device,
        )
        seen = prior.times(sensors.matrix)
        gram = seen @ sensors.matrix.T + torch.diag(sensors.variance)
        factor, failed = torch.linalg.cholesky_ex((gram + gram.T) / 2)
        if int(failed):
            raise ValueError(
                f"the covariance of {len(gram)} observations must be positive definite in float64, "
                f"and it is not with jitter {jitter:g}; raise jitter, give a noise, or leave out "
                f"sensors that nearly coincide"
            )
        for name, value in (
            ("latent", latent),
            ("sensors", sensors),
            ("prior", prior),
            ("_factor", factor),
            ("_seen", seen),
        ):
            object.__setattr__(self, name, value)

    def mean(self, values: Float[Tensor, "cases m"]) -> Float[Tensor, "cases *shape"]:
        """Return the posterior mean of the latents; `latent.decode` of it is that of the fields.

        Args:
            values: What the sensors said in each case, shape (cases, m) [field].

        Raises:
            ValueError: If a value is not finite or contradicts another, or the shape is wrong.

        Example:
            >>> from heatgrad.inverse import Points, SpectralLatent
            >>> from heatgrad.pde import GaussianRandomField, Grid
            >>> latent = SpectralLatent.of_law(GaussianRandomField(Grid(8, "cells"), "neumann"))
            >>> posterior = ExactGaussianPosterior(latent, [Points("a", [(0.5, 0.5)])])
            >>> posterior.mean(torch.zeros(2, 1)).shape
            torch.Size([2, 1, 8, 8])
        """
        rest = self._rest(values)
        z = self.prior.mean.to(rest) + self._pull(rest)
        return z.reshape(-1, *self.latent.shape)

    def draw(
        self, values: Float[Tensor, "cases m"], num: int, generator: torch.Generator
    ) -> Float[Tensor, "cases num *shape"]:
        r"""Return independent draws of the posterior, of latents.

        $$z = z' + S A^\top K^{-1} (y - b - A z' - n'), \qquad z' \sim \mathcal N(m, S),\quad
        n' \sim \mathcal N(0, R). \tag{I.11}$$

        Args:
            values: What the sensors said in each case, shape (cases, m) [field].
            num: Draws a case, at least 1.
            generator: Of the CPU.

        Raises:
            ValueError: As `mean`, or if `num` is below 1.

        References:
            Matheron's rule: Journel and Huijbregts (1978). Theory page: Eq. (I.11).

        Example:
            >>> from heatgrad.inverse import Points, SpectralLatent
            >>> from heatgrad.pde import GaussianRandomField, Grid
            >>> latent = SpectralLatent.of_law(GaussianRandomField(Grid(8, "cells"), "neumann"))
            >>> posterior = ExactGaussianPosterior(latent, [Points("a", [(0.5, 0.5)])])
            >>> posterior.draw(torch.zeros(2, 1), 3, torch.Generator().manual_seed(0)).shape
            torch.Size([2, 3, 1, 8, 8])
        """
        if num < 1:
            raise ValueError(f"num must be at least 1 draw, got {num}")
        rest = self._rest(values)
        found = [self._draws_of(one, num, generator) for one in rest]
        return torch.stack(found).reshape(len(rest), num, *self.latent.shape)

    def log_evidence(self, values: Float[Tensor, "cases m"]) -> Float[Tensor, " cases"]:
        r"""Return the logarithm of the probability density of what was observed.

        $$\log p(y) = -\tfrac12 (y - b - A m)^\top K^{-1} (y - b - A m) - \tfrac12 \log\det K
        - \tfrac{m}{2} \log 2\pi. \tag{I.12}$$

        Of the sensors that are used; by it priors and noises are compared.

        Raises:
            ValueError: As `mean`.

        References:
            Theory page: Eq. (I.12).
        """
        rest = self._rest(values)
        white = torch.linalg.solve_triangular(self._factor, rest.T, upper=False)
        log_det = 2 * self._factor.diagonal().log().sum()
        found: Tensor = white.square().sum(0) + log_det + len(white) * math.log(2 * math.pi)
        return -found / 2

    def std(self, name: str) -> Float[Tensor, "n n"]:
        r"""Return the posterior standard deviation of a field at each point, the same in all cases.

        $$\operatorname{Var}[f(x) \mid y] = \operatorname{Var} f(x) - \| L^{-1} A S F_x \|^2, \qquad
        K = L L^\top. \tag{I.13}$$

        The prior variance takes one decoded field a number of the latent, unless z ~ N(0, I) and
        the field is spectral: then it is a product of small matrices.

        Args:
            name: Of the field.

        Raises:
            ValueError: If there is no such field.

        References:
            Theory page: Eq. (I.13).
        """
        if name not in self.latent.names:
            raise ValueError(f"name must be one of {', '.join(self.latent.names)}, got {name!r}")
        rows = self._linear(self._seen, name)
        white = torch.linalg.solve_triangular(self._factor, rows.flatten(1), upper=False)
        gain = white.square().sum(0).reshape(self.latent.grid.shape)
        found: Tensor = self._prior_variance(name) - gain
        return found.clamp(min=0).sqrt()

    def floors(self, num: int, generator: torch.Generator) -> dict[str, Floor]:
        """Return the expected relative errors of the posterior mean and of one draw, by field.

        By Monte Carlo over truths drawn from the prior: no method does better on average, in the
        root mean square sense.

        Args:
            num: Truths, at least 2.
            generator: Of the CPU.

        Raises:
            ValueError: If `num` is below 2.

        References:
            Theory page: "What no method can beat".

        Example:
            >>> from heatgrad.inverse import Points, SpectralLatent
            >>> from heatgrad.pde import GaussianRandomField, Grid
            >>> latent = SpectralLatent.of_law(GaussianRandomField(Grid(8, "cells"), "neumann"))
            >>> posterior = ExactGaussianPosterior(latent, [Points("a", [(0.5, 0.5)])])
            >>> floor = posterior.floors(20, torch.Generator().manual_seed(0))["a"]
            >>> floor.mean < floor.draw
            True
        """
        if num < 2:
            raise ValueError(f"num must be at least 2 truths, got {num}")
        truth = self.prior.sample(num, generator).to(self.sensors.matrix)
        noise = torch.randn(num, len(self._factor), generator=generator, dtype=torch.float64)
        rest = (truth - self.prior.mean.to(truth)) @ self.sensors.matrix.T
        rest = rest + noise.to(truth) * self.sensors.noise
        mean = self.prior.mean.to(truth) + self._pull(rest)
        draw = torch.cat([self._draws_of(one, 1, generator) for one in rest])
        shape = self.latent.shape
        true, mid, one = (
            decode_in_parts(self.latent, z.reshape(-1, *shape)) for z in (truth, mean, draw)
        )
        found = {}
        for name in self.latent.names:
            errors = [relative_error(f[name], true[name]) for f in (mid, one)]
            means = [float(error.mean()) for error in errors]
            spreads = [float(error.std()) / math.sqrt(num) for error in errors]
            found[name] = Floor(*means, *spreads)
        return found

    def _rest(self, values: Tensor) -> Tensor:
        """Return what is left of the values of the used sensors without the prior's mean."""
        used = self.sensors.used(values.to(self.sensors.matrix))
        return used - self.sensors.matrix @ self.prior.mean.to(used)

    def _pull(self, rest: Tensor) -> Tensor:
        """Return S A' K^-1 times each row."""
        return torch.cholesky_solve(rest.T, self._factor).T @ self._seen

    def _draws_of(self, rest: Tensor, num: int, generator: torch.Generator) -> Tensor:
        """Return draws for one case, Eq. (I.11), shape (num, numbers)."""
        mean = self.prior.mean.to(rest)
        away = (self.prior.sample(num, generator) - self.prior.mean.to("cpu")).to(rest)
        noise = torch.randn(num, len(rest), generator=generator, dtype=torch.float64).to(rest)
        seen = away @ self.sensors.matrix.T + noise * self.sensors.variance.sqrt()
        return mean + away + self._pull(rest - seen)

    def _linear(self, z: Tensor, name: str) -> Tensor:
        """Return one field of flattened latents, less its constant, shape (rows, n, n)."""
        shape = self.latent.shape
        constant = decode_in_parts(self.latent, z.new_zeros(1, *shape), (name,))[name]
        return decode_in_parts(self.latent, z.reshape(-1, *shape), (name,))[name] - constant

    def _prior_variance(self, name: str) -> Tensor:
        latent = self.latent
        if isinstance(latent, SolvedLatent) and name in latent.latent.names:
            latent = latent.latent
        if self.prior.cov is None and isinstance(latent, SpectralLatent):
            return latent.variance(name).to(self.sensors.matrix)
        total = self.sensors.matrix.new_zeros(self.latent.grid.shape)
        size = self.prior.mean.numel()
        for first in range(0, size, _PART):
            rows = total.new_zeros(min(_PART, size - first), size)
            rows[torch.arange(len(rows)), first + torch.arange(len(rows))] = 1.0
            total += self._linear(self.prior.colored(rows), name).square().sum(0)
        return total
