"""Heavy ball on a quadratic, as a kinetic diffusion and as the recursion it is."""

import math
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.fokker_planck.linear.checks import (
    check_kind,
    covariance,
    is_symmetric,
    positive,
    square,
)
from heatgrad.fokker_planck.linear.lyapunov import stein
from heatgrad.fokker_planck.linear.sgd import Kind, LinearSGD

__all__ = ["LinearHeavyBall"]


class LinearHeavyBall:
    r"""SGD with momentum on a quadratic, and the kinetic diffusion that it follows.

    $$v_{k+1} = \beta v_k - \eta (H \theta_k + \xi_k), \quad \theta_{k+1} = \theta_k + v_{k+1}$$

    is, with $q = \theta$, $p = v / \sqrt\eta$ and on the clock $t = \sqrt\eta\, k$, a
    discretisation of unit masses in the potential L with friction on them,

    $$dq = p\,dt, \quad dp = -(H q + \gamma p)\,dt + \sqrt{2 D_p}\,dW, \qquad
    \gamma = \frac{1 - \beta}{\sqrt\eta}, \quad D_p = \frac{\sqrt\eta\, \Sigma}{2 B} \tag{F.25}$$

    Noise $\Sigma = \sigma^2 I$ has the temperature $T = \eta \sigma^2 / (2 B (1 - \beta))$, and the
    steady state then has covariance diag(T H⁻¹, T I): noise on the velocities alone reaches all.

    Args:
        hessian: H, symmetric and positive definite, shape (p, p).
        noise_cov: Σ, the covariance of the gradient of one sample, shape (p, p).
        lr: η, positive, as in `torch.optim.SGD` without dampening.
        momentum: β, at least 0 and below 1.
        batch_size: B, at least 1.

    Attributes:
        hessian: As given.
        noise_cov: As given.
        lr: As given.
        momentum: As given.
        batch_size: As given.

    Raises:
        ValueError: If an argument is out of range, H is not symmetric, or has a flat or unstable
            direction.

    References:
        Li, Tai and E (2019), JMLR 20(40), for momentum. Theory page: Eqs. (F.25) and (F.26).

    Example:
        >>> ball = LinearHeavyBall(torch.eye(1), torch.eye(1), lr=0.01, momentum=0.9)
        >>> round(ball.friction, 6), round(ball.temperature, 6)
        (1.0, 0.05)
        >>> ball.stationary_cov("sde").diagonal()
        tensor([0.0500, 0.0500], dtype=torch.float64)
    """

    def __init__(
        self,
        hessian: Tensor,
        noise_cov: Tensor,
        *,
        lr: float,
        momentum: float,
        batch_size: int = 1,
    ) -> None:
        self.hessian = square("hessian", hessian)
        if not is_symmetric(self.hessian):
            raise ValueError("hessian must be symmetric, got one that is not; give (H + H') / 2")
        self.noise_cov = covariance("noise_cov", noise_cov, len(self.hessian))
        self.lr = positive("lr", lr)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {momentum!r}")
        self.momentum, self.batch_size = float(momentum), batch_size
        # Refuses flat and unstable directions, and the batch size, in their own words.
        self._plain = LinearSGD(self.hessian, self.noise_cov, lr=self.lr, batch_size=batch_size)

    @property
    def friction(self) -> float:
        """γ [1 / time]."""
        return (1 - self.momentum) / math.sqrt(self.lr)

    @property
    def temperature(self) -> float:
        """T, of noise that is not isotropic its mean over the directions [loss]."""
        return self._plain.effective_temperature() / (1 - self.momentum)

    @property
    def time_step(self) -> float:
        """Time of the kinetic diffusion that one step takes, √η."""
        return math.sqrt(self.lr)

    @cached_property
    def kinetic(self) -> LinearSGD:
        """The diffusion (F.25) of (q, p), with all that is known of linear ones.

        Its kind `"sgd"` would be Euler's explicit recursion, which heavy ball is not; take the
        recursion from here.
        """
        p = len(self.hessian)
        eye, zeros = torch.eye(p, dtype=torch.float64), torch.zeros(p, p, dtype=torch.float64)
        drift = torch.cat(
            [torch.cat([zeros, -eye], 1), torch.cat([self.hessian, self.friction * eye], 1)]
        )
        noise = torch.cat([torch.cat([zeros, zeros], 1), torch.cat([zeros, self.noise_cov], 1)])
        return LinearSGD(drift, noise, lr=self.time_step, batch_size=self.batch_size)

    def stationary_cov(self, kind: Kind = "sde") -> Float[Tensor, "2p 2p"]:
        r"""Return the covariance of (q, p) in the steady state.

        The recursion's is that of (F.12) with its own drift and noise. Along an eigenvector of H it
        has, with T of that direction,

        $$\operatorname{Var} q = \frac{T}{\lambda} \Bigl(1 - \frac{\eta \lambda}{2 (1 + \beta)}
        \Bigr)^{-1}, \qquad
        \operatorname{Var} p = \frac{2 T}{1 + \beta} \Bigl(1 - \frac{\eta \lambda}{2 (1 + \beta)}
        \Bigr)^{-1} \tag{F.26}$$

        so the position's is that of the diffusion as η -> 0 for any β; the velocity's only if
        β -> 1 as well.

        Args:
            kind: `"sde"`, or `"sgd"` for the recursion itself.

        Raises:
            ValueError: If the recursion diverges: $\eta \lambda \ge 2 (1 + \beta)$.
        """
        check_kind(kind)
        if kind == "sde":
            return self.kinetic.stationary_cov("sde")
        steepest = self.lr * float(torch.linalg.eigvalsh(self.hessian)[-1])
        if steepest >= 2 * (1 + self.momentum):
            raise ValueError(
                f"lr times the largest eigenvalue must be below 2 (1 + momentum) = "
                f"{2 * (1 + self.momentum):g}, got {steepest:.6g}: heavy ball diverges and has no "
                "steady state; take a smaller lr"
            )
        h, p = self.time_step, len(self.hessian)
        eye = torch.eye(p, dtype=torch.float64)
        drift = torch.cat(
            [
                torch.cat([h * self.hessian, -self.momentum * eye], 1),
                torch.cat([self.hessian, self.friction * eye], 1),
            ]
        )
        both = torch.cat([h * eye, eye])  # a step's noise moves q and p alike
        noise = 2 / self.lr * self._plain.constant_diffusion()
        return stein(drift, h * both @ noise @ both.T, h)
