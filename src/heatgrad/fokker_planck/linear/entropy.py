"""How fast a linear diffusion forgets its start, in relative entropy, whatever its noise."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.fokker_planck.linear.checks import nonnegative

__all__ = ["EntropyBound", "entropy_weight", "gaussian_fisher", "relative_entropy"]

_LARGEST = 1e8  # constant that still says something
_SAME = 1e-6  # eigenvalues that are nearer, relative to the largest, are taken together

Matrix = NDArray[np.complex128]


@dataclass(frozen=True)
class EntropyBound:
    r"""A bound of the relative entropy to the stationary density, for every start.

    $$KL(t) \le C e^{-2 \mu t} KL(0) \tag{F.17}$$

    Attributes:
        rate: μ [1 / time].
        constant: C, at least 1; None where none was found that says anything.
        status: `"ok"`, or `"defective"` where the slowest eigenvalue lacks eigenvectors, or nearly.
        reason: What is wrong and what to do about it; empty if nothing is.
        weight: P of the Fisher-type functional which decays at the rate 2 μ, None without C.
    """

    rate: float
    constant: float | None
    status: Literal["ok", "defective"]
    reason: str = ""
    weight: Float[Tensor, "p p"] | None = None

    def at(self, t: float) -> float:
        """Return the share of the entropy at the start that can be left at time t, at most 1."""
        decay = math.exp(-2 * self.rate * nonnegative("t", t))
        return 1.0 if self.constant is None else min(1.0, self.constant * decay)


def relative_entropy(
    shift: Float[Tensor, " p"], excess: Float[Tensor, "p p"], covariance: Float[Tensor, "p p"]
) -> float:
    r"""Return the relative entropy of a normal law to the standard one.

    $$KL = \tfrac12 \Bigl[|m|^2 + \sum_i (r_i - 1 - \log r_i)\Bigr] \tag{F.15}$$

    with the eigenvalues r of its covariance R. In the coordinates where the stationary covariance S
    is the identity this is $\frac12 [\operatorname{tr} S^{-1} P + m^\top S^{-1} m - p + \log \det S
    / \det P]$; summed as written here it keeps its digits near equilibrium.

    Args:
        shift: m, float64.
        excess: R - I, as known without subtracting.
        covariance: R, as known without subtracting.

    Returns:
        The entropy, infinite where R is singular [1].
    """
    apart = torch.linalg.eigvalsh(excess)
    if float(apart[0]) < -0.5:  # r near 0, of which r - 1 has lost the digits
        r = torch.linalg.eigvalsh(covariance)
        if float(r[0]) <= 0:
            return math.inf
        terms = r - 1 - torch.log(r)
    else:
        series = apart**2 * (0.5 - apart / 3 + apart**2 / 4)
        terms = torch.where(apart.abs() < 1e-4, series, apart - torch.log1p(apart))
    return float((shift @ shift + terms.sum()) / 2)


def gaussian_fisher(
    mean: Float[Tensor, " p"],
    cov: Float[Tensor, "p p"],
    stationary: Float[Tensor, "p p"],
    weight: Float[Tensor, "p p"],
) -> float:
    r"""Return the Fisher-type functional of a normal law relative to another.

    $$I_W = \int \rho\, \langle \nabla \log \tfrac{\rho}{\pi}, W \nabla \log \tfrac{\rho}{\pi}
    \rangle = \operatorname{tr}(W G P G) + m^\top S^{-1} W S^{-1} m, \quad G = S^{-1} - P^{-1}
    \tag{F.16}$$

    Args:
        mean: m, float64.
        cov: P.
        stationary: S, positive definite.
        weight: W, symmetric.

    Returns:
        The functional, infinite where P is singular.
    """
    values = torch.linalg.eigvalsh(cov)
    if float(values[0]) <= 1e-15 * float(values[-1]):
        return math.inf
    # G = P^-1 (P - S) S^-1.
    slope = torch.linalg.solve(cov, torch.linalg.solve(stationary, cov - stationary).T)
    at_mean = torch.linalg.solve(stationary, mean)
    return float(torch.trace(weight @ slope @ cov @ slope.T) + at_mean @ weight @ at_mean)


def entropy_weight(
    drift: Float[Tensor, "p p"], rate: float
) -> tuple[float, Float[Tensor, "p p"]] | None:
    r"""Return a certified rate and the weight of a modified Fisher information that decays at it.

    $$K^\top P + P K \ge 2 \mu P \quad\Rightarrow\quad |e^{-K t}|^2 \le \kappa(P)\, e^{-2 \mu t}
    \tag{F.18}$$

    in coordinates where the stationary covariance is the identity. Several P are tried: the
    identity, dual eigenvectors, the slow ones of them beside a Lyapunov solution of the rest, and
    below the slowest rate a Lyapunov solution of all. Each is certified by the inequality itself;
    of those that hold, the best conditioned is taken.

    Args:
        drift: K, float64 [1 / time].
        rate: μ, at most the smallest real part of K's eigenvalues [1 / time].

    Returns:
        The rate which P was certified for, no more than 1e-6 below `rate`, and P; None if no P that
        was tried has a condition number below 1e8.

    References:
        Arnold and Erb (2014), arXiv:1409.5425; Achleitner, Arnold and Stürzer (2015).
    """
    best: tuple[float, float, Matrix] | None = None
    k = drift.numpy()
    for weight in _candidates(k, rate):
        condition = float(np.linalg.cond(weight))
        if not condition < (_LARGEST if best is None else best[0]):
            continue
        left = k.T @ weight
        found = float(scipy.linalg.eigh(left + left.conj().T, weight, eigvals_only=True)[0]) / 2
        if found >= rate * (1 - 1e-6):
            best = condition, min(rate, found), weight
    if best is None:
        return None
    real = torch.from_numpy(np.ascontiguousarray(best[2].real))
    return best[1], (real + real.T) / 2


def _candidates(k: NDArray[np.float64], rate: float) -> Iterator[Matrix]:
    eye = np.eye(len(k), dtype=np.complex128)
    yield eye
    values, vectors = _eigenbasis(k)
    if np.linalg.cond(vectors) < _LARGEST:
        yield _dual(vectors)
    if values.real.min() > rate * (1 + 1e-6):
        yield _from_lyapunov(k.astype(np.complex128), rate)
        return
    slow = values.real <= rate * (1 + 1e-6)
    if slow.all():
        return
    # Unitary basis of the fast directions' invariant space: there (F.18) has a strict solution.
    border = (values.real[slow].max() + values.real[~slow].min()) / 2
    triangle, basis, count = scipy.linalg.schur(k, output="complex", sort=lambda z: z.real > border)
    together = np.concatenate([vectors[:, slow], basis[:, :count]], axis=1)
    if together.shape[1] == len(k) and np.linalg.cond(together) < _LARGEST:
        inner = eye.copy()
        place = int(slow.sum())
        inner[place:, place:] = _from_lyapunov(triangle[:count, :count], rate)
        yield _dual(together, inner)


def _eigenbasis(k: NDArray[np.float64]) -> tuple[NDArray[np.complex128], Matrix]:
    """Return eigenvalues and vectors of length 1, those of equal ones orthonormal if they exist."""
    values, vectors = np.linalg.eig(k)
    values, vectors = values.astype(np.complex128), vectors.astype(np.complex128)
    scale = float(np.abs(values).max())
    left = set(range(len(k)))
    while left:
        first = left.pop()
        same = [first, *(j for j in left if abs(values[j] - values[first]) < _SAME * scale)]
        left.difference_update(same)
        if len(same) > 1:
            center = values[same].mean()
            space = np.linalg.svd(k - center * np.eye(len(k)))[2][-len(same) :].conj().T
            vectors[:, same] = space
    return values, vectors


def _dual(vectors: Matrix, inner: Matrix | None = None) -> Matrix:
    """Return the sum of the dual vectors' squares, made real: conjugates come in pairs."""
    dual = np.linalg.inv(vectors)
    weight = dual.conj().T @ (dual if inner is None else inner @ dual)
    found: Matrix = ((weight + weight.conj().T) / 2).real.astype(np.complex128)
    return found


def _from_lyapunov(k: Matrix, rate: float) -> Matrix:
    shifted = k - rate * np.eye(len(k))
    found = scipy.linalg.solve_continuous_lyapunov(shifted.conj().T, np.eye(len(k)))
    weight: Matrix = (found + found.conj().T) / 2
    return weight / np.linalg.norm(weight, 2)
