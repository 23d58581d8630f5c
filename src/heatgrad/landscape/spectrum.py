"""The spectrum of the Hessian, by stochastic Lanczos quadrature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor, nn

from heatgrad.landscape.lanczos import Krylov, lanczos
from heatgrad.landscape.norms import kept
from heatgrad.landscape.objective import Objective, check_repeatable, objective_of, quiet
from heatgrad.landscape.product import HessianProduct

__all__ = ["Extreme", "Spectrum", "check_spectrum", "hessian_spectrum", "top_directions"]

_RESAMPLES = 999


@dataclass(frozen=True)
class Extreme:
    """An eigenvalue at an end of the spectrum.

    Attributes:
        value: The Ritz value; no eigenvalue beyond it is known.
        residual: Length of H q - value q, q of length 1, relative to the value's size [1]; an
            eigenvalue is no farther from the value than that.
    """

    value: float
    residual: float


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of a Hessian, as random starts see it.

    Attributes:
        size: Number of parameters.
        starts: What Lanczos' method found from each start.
        resolution: Eigenvalues that are smaller cannot be told from 0, by rounding.
    """

    size: int
    starts: tuple[Krylov, ...]
    resolution: float = 0.0

    @property
    def traces(self) -> NDArray[np.float64]:
        """The estimate of the trace from each start."""
        return np.array([self.size * float(k.weights @ k.nodes) for k in self.starts])

    @property
    def trace(self) -> float:
        """Sum of the eigenvalues."""
        return float(self.traces.mean())

    @property
    def trace_error(self) -> float:
        """Standard error of the trace; NaN with one start."""
        return _standard_error(self.traces)

    @property
    def largest(self) -> Extreme:
        """The largest eigenvalue."""
        best = max(self.starts, key=lambda k: k.nodes[-1])
        return _extreme(float(best.nodes[-1]), best.residuals[1])

    @property
    def smallest(self) -> Extreme:
        """The smallest eigenvalue."""
        best = min(self.starts, key=lambda k: k.nodes[0])
        return _extreme(float(best.nodes[0]), best.residuals[0])

    @property
    def negative_mass(self) -> float:
        """Share of the eigenvalues that are negative, by more than the resolution [1]."""
        return float(np.mean([k.weights[k.nodes < -self.resolution].sum() for k in self.starts]))

    @property
    def width(self) -> float:
        r"""Standard deviation of the normal curves of `density`.

        $$s = \frac{\lambda_{\max} - \lambda_{\min}}{(m - 1) \sqrt{8 \ln 3}}$$

        for m steps; on a spectrum mapped to [-1, 1] that is Ghorbani's 2 / ((m - 1) sqrt(8 ln 3)).
        """
        low, high = self.smallest.value, self.largest.value
        steps = max(len(k.nodes) for k in self.starts)
        apart = max(high - low, 1e-3 * max(abs(low), abs(high)))
        return apart / (max(1, steps - 1) * float(np.sqrt(8 * np.log(3))))

    def density(self, at: ArrayLike, *, width: float | None = None) -> Float[np.ndarray, " points"]:
        r"""Return the density of the eigenvalues, smoothed.

        $$\phi(t) = \frac1{n_v} \sum_l \sum_k \tau_{lk}^2\, N(t;\, \theta_{lk}, s^2) \tag{G.7}$$

        Args:
            at: Places t, shape (points,).
            width: s; `width` of the spectrum, unless given.
        """
        return np.asarray(self._curves(at, width).mean(axis=0))

    def band(
        self,
        at: ArrayLike,
        *,
        width: float | None = None,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        """Return the ends of the density's bootstrap interval at each place, over the starts."""
        curves = self._curves(at, width)
        rng = np.random.default_rng(seed)
        chosen = rng.integers(len(curves), size=(_RESAMPLES, len(curves)))
        means = np.stack([curves[rows].mean(axis=0) for rows in chosen])
        tail = (1 - confidence) / 2
        low, high = np.quantile(means, [tail, 1 - tail], axis=0)
        return low, high

    def _curves(self, at: ArrayLike, width: float | None) -> NDArray[np.float64]:
        places = np.asarray(at, dtype=np.float64)
        s = self.width if width is None else width
        if not s > 0:
            raise ValueError(f"width must be positive, got {s:g}; give one for a single eigenvalue")
        scale = s * np.sqrt(2 * np.pi)
        return np.stack(
            [
                (k.weights * np.exp(-(((places[:, None] - k.nodes) / s) ** 2) / 2) / scale).sum(1)
                for k in self.starts
            ]
        )


def hessian_spectrum(
    model: nn.Module,
    loss: Objective | Callable[[nn.Module], Tensor],
    *,
    vectors: int = 10,
    steps: int = 100,
    at_once: int = 1,
    params: Sequence[Tensor] | None = None,
    seed: int = 0,
) -> Spectrum:
    """Return the spectrum of the Hessian of a loss, over its whole data set.

    The network is measured in evaluation mode: dropout is off and the statistics of batch
    normalisation are fixed, so this is the Hessian at those statistics. It is left as it was.

    Args:
        model: The network.
        loss: A `DataLoss`, or a function that takes the network and returns a scalar.
        vectors: Random starts, at least 1.
        steps: Products with the Hessian from each start, at least 1.
        at_once: Starts that share a forward pass; each keeps `steps` vectors of the network's size
            in memory, and more are faster.
        params: The parameters that the Hessian is of; all that require gradients, unless given.
        seed: Of the random starts.

    Raises:
        ValueError: If a number is out of range, or the loss is not the same when asked twice.

    References:
        Ghorbani, Krishnan and Xiao (2019); Theory page: Eqs. (G.6) and (G.7).

    Example:
        >>> weights = torch.nn.Linear(3, 1, bias=False).double()
        >>> scale = torch.tensor([1.0, 2.0, 9.0], dtype=torch.float64)
        >>> found = hessian_spectrum(weights, lambda m: (scale * m.weight**2).sum() / 2)
        >>> round(found.largest.value, 6), round(found.trace, 6)
        (9.0, 12.0)
    """
    check_spectrum(vectors=vectors, steps=steps, at_once=at_once)
    objective = objective_of(loss)
    generator = torch.Generator().manual_seed(seed)
    found: list[Krylov] = []
    with quiet(model), kept(model):
        check_repeatable(objective, model)
        product = HessianProduct(model, objective, params)
        like = product.params[0]
        while len(found) < vectors:
            count = min(at_once, vectors - len(found))
            signs = torch.randint(2, (count, product.size), generator=generator) * 2 - 1
            starts = signs.to(device=like.device, dtype=like.dtype)
            found += lanczos(product, starts, steps)
    largest = max(float(np.abs(k.nodes).max()) for k in found)
    rounding = 4 * torch.finfo(like.dtype).eps * largest * float(np.sqrt(product.size))
    return Spectrum(product.size, tuple(found), rounding)


def check_spectrum(**counts: int) -> None:
    """Refuse counts below 1.

    Raises:
        ValueError: With the first of them.
    """
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")


def top_directions(
    model: nn.Module, objective: Objective, params: Sequence[Tensor], *, seed: int = 0
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the eigenvectors of the two largest eigenvalues, each one tensor a parameter.

    Args:
        model: The network, in evaluation mode.
        objective: Its loss.
        params: The parameters that the Hessian is of, at least three numbers.
        seed: Of the start.
    """
    product = HessianProduct(model, objective, params)
    like = product.params[0]
    if product.size < 3:
        raise ValueError(
            f"steepest directions need a network of at least 3 parameters, got {product.size}"
        )

    def apply(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = torch.from_numpy(vector.reshape(1, -1)).to(like.device, like.dtype)
        found: NDArray[np.float64] = product(rows)[0].double().cpu().numpy()
        return found

    operator = LinearOperator((product.size, product.size), matvec=apply, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(product.size)
    tolerance = 1e-8 if like.dtype == torch.float64 else 1e-4
    try:
        values, vectors = eigsh(operator, k=2, which="LA", v0=start, tol=tolerance)
    except ArpackError as error:
        raise ValueError(
            f"steepest directions need a Hessian with two eigenvectors to be found: {error}"
        ) from error
    order = np.argsort(values)[::-1]
    found = []
    for column in order:
        flat = torch.from_numpy(vectors[:, column].copy())
        parts = torch.split(flat, [p.numel() for p in product.params])
        found.append(
            [part.view(p.shape).to(p) for part, p in zip(parts, product.params, strict=True)]
        )
    return found[0], found[1]


def _extreme(value: float, residual: float) -> Extreme:
    return Extreme(value, residual / abs(value) if value else residual)


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
