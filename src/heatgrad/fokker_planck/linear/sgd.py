"""SGD on a quadratic: every quantity of its diffusion and of its recursion, exactly."""

from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.fokker_planck.linear import drift_phase, steady
from heatgrad.fokker_planck.linear.checks import (
    check_kind,
    covariance,
    is_symmetric,
    nonnegative,
    positive,
    square,
    vector,
)
from heatgrad.fokker_planck.linear.entropy import (
    EntropyBound,
    entropy_weight,
    gaussian_fisher,
    relative_entropy,
)
from heatgrad.fokker_planck.linear.lyapunov import gramian, lyapunov, stein
from heatgrad.fokker_planck.linear.steady import SINGULAR
from heatgrad.fokker_planck.processes.process import Points, Process
from heatgrad.fokker_planck.processes.sgd import batch_share

__all__ = ["Kind", "LinearSGD"]

Kind = Literal["sde", "sgd"]


class LinearSGD(Process):
    r"""SGD with a linear drift and noise that does not depend on the weights, and its diffusion.

    $$\theta_{k+1} = \theta_k - \eta (H \theta_k + \xi_k), \quad \operatorname{Cov} \xi = \Sigma / B
    \qquad \text{and} \qquad
    dX = -H X\,dt + \sqrt{2 D}\,dW, \quad D = \frac{\eta \Sigma}{2 B} \tag{F.10}$$

    on the clock t = η k, θ measured from the minimum. H may be any matrix whose eigenvalues have
    positive real parts: not symmetric, it is the drift of something else than a loss, of heavy ball
    say. Σ may be of any rank. Where the two differ, `kind` tells them apart: `"sde"` is the
    diffusion, `"sgd"` the recursion. Matrices are kept and returned in double precision, on the
    CPU; the process itself is evaluated in the type of the points.

    Args:
        hessian: H, shape (p, p) [1 / time].
        noise_cov: Σ, the covariance of the gradient of one sample, shape (p, p).
        lr: η, positive [time].
        batch_size: B, samples drawn with replacement for every step, at least 1. For batches
            without replacement hand in Σ (N - B) / (N - 1).

    Attributes:
        hessian: As given.
        noise_cov: As given.
        lr: As given.
        batch_size: As given.

    Raises:
        ValueError: If a shape or number is wrong, Σ is no covariance, or an eigenvalue of H has no
            positive real part: then there is no steady state.

    References:
        Mandt, Hoffman and Blei (2017), JMLR 18(134), Eq. (13); Arnold and Erb (2014),
        arXiv:1409.5425. Theory page: Eqs. (F.10) to (F.24).

    Example:
        >>> sgd = LinearSGD(torch.eye(1), torch.eye(1), lr=0.5)
        >>> float(sgd.stationary_cov("sde")), round(float(sgd.stationary_cov("sgd")), 4)
        (0.25, 0.3333)
    """

    def __init__(
        self, hessian: Tensor, noise_cov: Tensor, *, lr: float, batch_size: int = 1
    ) -> None:
        self.hessian = square("hessian", hessian)
        self.dim = len(self.hessian)
        self.noise_cov = covariance("noise_cov", noise_cov, self.dim)
        self.lr = positive("lr", lr)
        self.batch_size = batch_size
        self._matrix = self.lr / 2 * batch_share(1, batch_size, replacement=True) * self.noise_cov
        self._rates = torch.linalg.eigvals(self.hessian)
        slowest = float(self._rates.real.min())
        if slowest <= 1e-14 * self.dim * float(torch.linalg.matrix_norm(self.hessian, 2)):
            raise ValueError(
                f"hessian needs eigenvalues with positive real parts, got a smallest of "
                f"{slowest:.3g}: no steady state exists; restrict H and the noise to the "
                "complement of the flat and unstable directions"
            )

    def drift(self, x: Points) -> Points:
        """Return -H x."""
        return -x @ self.hessian.to(x).T

    def diffusion(self, x: Points) -> Float[Tensor, "n p p"]:
        """Return D."""
        return self._matrix.to(x).expand(len(x), -1, -1)

    def constant_diffusion(self) -> Float[Tensor, "p p"]:
        """Return D."""
        return self._matrix

    def scaled_potential(self, x: Points) -> Float[Tensor, " n"] | None:
        """Return x' S⁻¹ x / 2, of the diffusion; None where S is singular."""
        if not self.hypoelliptic()[0]:
            return None
        return ((x @ self._whiten.to(x)) ** 2).sum(1) / 2

    @property
    def is_reversible(self) -> bool:
        """Whether H D = D H' and D is positive definite: the diffusion is in detailed balance.

        With singular D, H D = D H' balances the directions that have noise; the rest only decay.
        """
        apart = self.hessian @ self._matrix - self._matrix @ self.hessian.T
        scale = torch.linalg.matrix_norm(self.hessian) * torch.linalg.matrix_norm(self._matrix)
        values = torch.linalg.eigvalsh(self._matrix)
        return bool(
            torch.linalg.matrix_norm(apart) <= 1e-12 * scale and values[0] > SINGULAR * values[-1]
        )

    def stationary_cov(self, kind: Kind = "sde") -> Float[Tensor, "p p"]:
        """Return the covariance of the steady state, by (F.11) or (F.12) [param²].

        Args:
            kind: `"sde"`, or `"sgd"` for the recursion itself.

        Raises:
            ValueError: If the recursion diverges: a spectral radius of I - η H of 1 or more.
        """
        check_kind(kind)
        if kind == "sde":
            return self._cov.clone()
        radius = self.spectral_radius
        if radius >= 1:
            raise ValueError(
                f"lr must keep the spectral radius of I - lr H below 1, got {radius:.6g} at lr = "
                f"{self.lr:g}: SGD diverges and has no steady state; take a smaller lr"
            )
        return stein(self.hessian, 2 * self._matrix, self.lr)

    @property
    def spectral_radius(self) -> float:
        """Largest absolute eigenvalue of I - η H: the recursion is stable below 1."""
        return float((1 - self.lr * self._rates).abs().max())

    def hypoelliptic(self, tol: float = SINGULAR) -> tuple[bool, float]:
        r"""Return whether the noise reaches every direction, and the smallest eigenvalue of S.

        $$S > 0 \iff \operatorname{rank}[\Sigma^{1/2}, H \Sigma^{1/2}, \dots] = p \tag{F.29}$$

        The eigenvalue decides, above `tol` times the largest: the rank of Kalman's matrix is lost
        to rounding beyond some 15 dimensions. False means: not told from singular at that level.

        Args:
            tol: At least 0, below 1 [1].
        """
        if not 0 <= tol < 1:
            raise ValueError(f"tol must be at least 0 and below 1, got {tol!r}")
        values = torch.linalg.eigvalsh(self._cov)
        return bool(values[0] > tol * values[-1]), float(values[0])

    @property
    def relaxation_rate(self) -> float:
        """The spectral gap, min Re spec H, whatever the noise if it is hypoelliptic [1 / time]."""
        return float(self._rates.real.min())

    def mean(self, t: float, mean0: Tensor) -> Float[Tensor, " p"]:
        """Return the diffusion's mean at time t, (F.14)."""
        start = vector("mean0", mean0, len(self.hessian))
        found: Tensor = torch.linalg.matrix_exp(-nonnegative("t", t) * self.hessian) @ start
        return found

    def cov(self, t: float, cov0: Tensor | None = None) -> Float[Tensor, "p p"]:
        r"""Return the diffusion's covariance at time t, by Van Loan's formula and doubling.

        $$m_t = e^{-H t} m_0, \qquad P_t = e^{-H t} P_0 e^{-H^\top t} + \int_0^t e^{-H s}\, 2 D\,
        e^{-H^\top s}\,ds = S + e^{-H t} (P_0 - S) e^{-H^\top t} \tag{F.14}$$

        Args:
            t: At least 0 [time].
            cov0: P at the start; a point unless given [param²].
        """
        forget, gathered = gramian(self.hessian, 2 * self._matrix, nonnegative("t", t))
        if cov0 is None:
            return gathered
        return forget @ covariance("cov0", cov0, len(forget)) @ forget.T + gathered

    def kl(self, t: float, mean0: Tensor, cov0: Tensor | None = None) -> float:
        """Return the relative entropy (F.15) of the law at time t to the steady state [1].

        Args:
            t: At least 0 [time].
            mean0: Mean of the normal law at the start.
            cov0: Its covariance; a point unless given, whose entropy is infinite at t = 0.

        Raises:
            ValueError: If the noise does not reach every direction: no stationary density exists.
        """
        now = self.cov(t, cov0)
        # S^-1/2 (P - S) S^-1/2 = e^-Kt (S^-1/2 P0 S^-1/2 - I) e^-K't, without cancellation.
        white = self._white
        eye = torch.eye(len(white), dtype=white.dtype)
        start = torch.zeros_like(eye) if cov0 is None else self._whitened(covariance("cov0", cov0))
        forget = torch.linalg.matrix_exp(-t * white)
        return relative_entropy(
            self._whiten @ self.mean(t, mean0),
            forget @ (start - eye) @ forget.T,
            self._whitened(now),
        )

    def fisher(
        self, t: float, mean0: Tensor, cov0: Tensor | None = None, weight: Tensor | None = None
    ) -> float:
        """Return the Fisher-type functional (F.16) of the law at time t.

        Args:
            t: At least 0 [time].
            mean0: Mean of the normal law at the start.
            cov0: Its covariance; a point unless given.
            weight: W; unless given D, with which this is minus the derivative of `kl`. With the
                weight of `entropy_bound` it decays at twice that bound's rate.
        """
        _ = self._whiten  # refuses a singular S
        w = self._matrix if weight is None else covariance("weight", weight, len(self.hessian))
        return gaussian_fisher(self.mean(t, mean0), self.cov(t, cov0), self._cov, w)

    def contraction(self, t: float) -> float:
        r"""Return the share of its relative entropy which the worst start keeps until time t.

        $$KL(t) \le |S^{-1/2} e^{-H t} S^{1/2}|^2\, KL(0) \tag{F.19}$$

        for every law at the start, normal or not, and for any hypoelliptic noise; equality for a
        shifted steady state. In coordinates with S = I a time t scales along singular vectors and
        adds the noise that keeps I: the semigroup of Ornstein and Uhlenbeck along each, which by
        Gross' logarithmic Sobolev inequality contracts the entropy by the scale's square.
        """
        forget = torch.linalg.matrix_exp(-nonnegative("t", t) * self._white)
        return float(torch.linalg.matrix_norm(forget, 2)) ** 2

    def entropy_bound(self, rate: float | None = None) -> EntropyBound:
        r"""Return the bound (F.17) with its constant, C > 1 as a rule if the noise is degenerate.

        $C = \kappa(S^{-1/2} P S^{-1/2})$ for a weight with $Q P + P Q^\top \ge 2 \mu P$,
        $Q = S H^\top S^{-1}$, found by (F.18).

        Args:
            rate: μ, positive and at most `relaxation_rate`, which it is unless given. A lower one
                always has a constant, a defective slowest eigenvalue has none at its own.
        """
        mu = self.relaxation_rate if rate is None else positive("rate", rate)
        if mu > self.relaxation_rate * (1 + 1e-12):
            raise ValueError(
                f"rate must be at most the relaxation rate {self.relaxation_rate:.6g}, got {mu:.6g}"
            )
        found = entropy_weight(self._white, mu)
        if found is None:
            return EntropyBound(
                mu,
                None,
                "defective",
                "the slowest eigenvalue of H lacks eigenvectors, or nearly: no constant below 1e8 "
                "was found at this rate; give a lower rate, or use contraction(t)",
            )
        values = torch.linalg.eigvalsh(found[1])
        weight = self._root @ found[1] @ self._root
        return EntropyBound(found[0], float(values[-1] / values[0]), "ok", "", weight)

    def mean_loss(self, kind: Kind = "sde") -> float:
        r"""Return the loss above its minimum in the steady state [loss].

        $$E L - L^* = \tfrac12 \operatorname{tr}(H S) = \tfrac{\eta}{4 B} \operatorname{tr} \Sigma
        \;\text{for the diffusion}, \qquad T = \frac{\operatorname{tr} D}{p}, \quad
        T_v = \frac{v^\top D v}{|v|^2} \tag{F.24}$$

        Raises:
            ValueError: If H is not symmetric, hence not of a loss, or the recursion diverges.
        """
        if not is_symmetric(self.hessian):
            raise ValueError(
                "mean_loss needs a symmetric hessian, another drift is of no loss; if it is "
                "symmetric but for rounding, give (H + H') / 2"
            )
        return float(torch.trace(self.hessian @ self.stationary_cov(kind))) / 2

    def effective_temperature(self, direction: Tensor | None = None) -> float:
        """Return the temperature (F.24), the mean over all directions or that of one [loss]."""
        if direction is None:
            return float(torch.trace(self._matrix)) / len(self._matrix)
        v = vector("direction", direction, len(self._matrix))
        if not bool(v.any()):
            raise ValueError("direction must not be zero")
        return float(v @ self._matrix @ v / (v @ v))

    @property
    def irreversibility(self) -> Float[Tensor, "p p"]:
        """The antisymmetric part A = (H S - S H') / 2 of (F.20): zero in detailed balance."""
        return steady.irreversibility(self.hessian, self._cov)

    @property
    def entropy_production(self) -> float:
        r"""Entropy that the steady state of the diffusion produces, at least 0 [1 / time].

        $$\operatorname{tr}\bigl((H - D S^{-1})^\top D^{-1} (H - D S^{-1}) S\bigr) =
        \operatorname{tr}(A^\top D^{-1} A S^{-1}), \quad A = \tfrac12 (H S - S H^\top) \tag{F.20}$$

        Where D is singular it is infinite unless the current stays within D's range. Velocities
        count as even under time reversal: taken as odd, heavy ball produces none.
        """
        return steady.entropy_production(self.hessian, self._matrix, self._cov)

    def quasipotential(self, x: Points) -> Float[Tensor, " n"]:
        r"""Return the quasi-potential V of points: times out of a region grow as $e^{V / \eta}$.

        $$V(x) = \tfrac12 x^\top \bar S^{-1} x, \quad H \bar S + \bar S H^\top = \Sigma_B; \qquad
        \Sigma_B = s^2 I \Rightarrow V = 2 (L - L^*) / s^2 \tag{F.21}$$

        Args:
            x: Points, shape (n, p).

        Returns:
            V in double precision, infinite where the noise never leads.
        """
        points = torch.as_tensor(x).detach().to("cpu", torch.float64)
        if points.dim() != 2 or points.shape[1] != len(self.hessian):
            raise ValueError(
                f"x must have shape (n, {len(self.hessian)}), got {tuple(points.shape)}"
            )
        return steady.half_square(points, self._cov / self.lr)

    def drift_bound(self, t: float, distance0: float) -> float:
        """Return the bound (F.22) of the mean squared distance from the minimum [param²]."""
        return drift_phase.drift_bound(t, distance0, **self._phase())

    def crossover_time(self, distance0: float) -> float:
        """Return when the drift phase ends, (F.23) [time]."""
        return drift_phase.crossover_time(distance0, **self._phase())

    def _phase(self) -> dict[str, float]:
        slowest = float(torch.linalg.eigvalsh((self.hessian + self.hessian.T) / 2)[0])
        if slowest <= 0:
            raise ValueError(
                f"the drift bound needs H + H' positive definite, got an eigenvalue of "
                f"{2 * slowest:.3g}; use mean and cov"
            )
        trace = 2 * float(torch.trace(self._matrix)) / self.lr
        return {"convexity": slowest, "noise_trace": trace, "lr": self.lr}

    def _whitened(self, matrix: Tensor) -> Tensor:
        found = self._whiten @ matrix @ self._whiten
        return (found + found.T) / 2

    @cached_property
    def _cov(self) -> Tensor:
        return lyapunov(self.hessian, 2 * self._matrix)

    @cached_property
    def _root(self) -> Tensor:
        return self._power(0.5)

    @cached_property
    def _whiten(self) -> Tensor:
        return self._power(-0.5)

    @cached_property
    def _white(self) -> Tensor:
        """The drift in coordinates where the stationary covariance is the identity."""
        return self._whiten @ self.hessian @ self._root

    def _power(self, power: float) -> Tensor:
        reached, smallest = self.hypoelliptic()
        if not reached:
            raise ValueError(
                f"a stationary density needs noise that reaches every direction, got the smallest "
                f"eigenvalue {smallest:.3g} of the stationary covariance; restrict to the others"
            )
        values, vectors = torch.linalg.eigh(self._cov)
        root: Tensor = (vectors * values**power) @ vectors.T
        return root
