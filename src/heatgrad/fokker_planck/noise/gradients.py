"""The gradient noise of a real network: its spectrum, ranks, temperatures and curvature."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from heatgrad.fokker_planck.noise.alignment import Alignment, RowProduct, align
from heatgrad.fokker_planck.noise.samples import Criterion, Randomness, SampleGradients
from heatgrad.fokker_planck.noise.spectrum import (
    NoiseGram,
    lifted,
    noise_gram,
    projected,
    resampled,
    summary,
)
from heatgrad.fokker_planck.processes.sgd import batch_share

__all__ = ["GradientNoise", "gradient_noise"]

_MOST_GRAM = 2**32  # bytes


@dataclass(frozen=True, eq=False)
class GradientNoise:
    r"""The covariance Σ of the gradients of single samples, of a network as it was measured.

    All quantities are of the samples that were given, with the divisor n. If they were drawn from
    many more, Σ times `unbiased_factor` has no bias. Ranks cannot exceed n - 1, and the largest
    eigenvalue of few samples is too large: repeat with more samples before they are believed.

    Attributes:
        gram: The inner products of the gradients.
        source: The gradients, which are computed anew where eigenvectors are asked for.
        seed: Of bootstrap and random directions.
        resamples: The summary of each bootstrap sample, by name.
    """

    gram: NoiseGram
    source: SampleGradients
    seed: int
    resamples: Mapping[str, NDArray[np.float64]]

    @property
    def num_samples(self) -> int:
        """Number n of samples."""
        return self.source.num_samples

    @property
    def num_params(self) -> int:
        """Number p of parameters."""
        return self.source.num_params

    @property
    def mean_gradient(self) -> Float[Tensor, " p"]:
        """The gradient of the mean loss, float64 [loss / param]."""
        return self.gram.mean

    @property
    def losses(self) -> Float[Tensor, " n"]:
        """The loss of each sample, float64 [loss]."""
        return self.gram.losses

    @cached_property
    def _decomposition(self) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(self.gram.products)
        return values.flip(0), vectors.flip(1)

    @cached_property
    def _summary(self) -> Mapping[str, float]:
        return summary(self.gram)

    @property
    def eigenvalues(self) -> Float[Tensor, " count"]:
        """The min(n - 1, p) largest eigenvalues of Σ, which are all that may differ from zero."""
        count = min(self.num_samples - 1, self.num_params)
        return self._decomposition[0][:count].clamp(min=0)

    @property
    def rank(self) -> int:
        """How many eigenvalues can be told from zero, by rounding."""
        mean_square = float(self.gram.mean @ self.gram.mean)
        rounding = max(
            torch.finfo(torch.float64).eps * self.largest,
            torch.finfo(self.source.dtype).eps ** 2 * (self.trace + mean_square),
        )
        return int((self.eigenvalues > self.num_samples * rounding).sum())

    @property
    def trace(self) -> float:
        """Trace of Σ, the mean square distance from the mean gradient [(loss / param)²]."""
        return self._summary["trace"]

    @property
    def largest(self) -> float:
        """The largest eigenvalue of Σ."""
        return self._summary["largest"]

    @property
    def intrinsic_dimension(self) -> float:
        """Trace over largest eigenvalue, from 1 to n - 1; NaN without noise. Eq. (F.92)."""
        return self._summary["intrinsic_dimension"]

    @property
    def participation_ratio(self) -> float:
        """Squared trace of Σ over the trace of Σ², at least 1; NaN without noise. Eq. (F.92)."""
        return self._summary["participation_ratio"]

    @property
    def unbiased_factor(self) -> float:
        """The factor n / (n - 1), for samples that stand for many more."""
        return self.num_samples / (self.num_samples - 1)

    def noise_scale(self, *, unbiased: bool = False) -> float:
        r"""Return the batch size at which noise and gradient are as large, Eq. (F.92).

        Args:
            unbiased: Whether trace and squared gradient are estimates for many more samples,
                $|\bar g|^2 - \operatorname{tr} \Sigma / (n - 1)$ of the latter; infinite if the
                gradient cannot be told from noise.

        References:
            McCandlish et al. (2018), arXiv:1812.06162v1, Eq. (2.9), where it is B_simple.
        """
        if not unbiased:
            return self._summary["noise_scale"]
        noise = self.unbiased_factor * self.trace
        square = float(self.gram.mean @ self.gram.mean) - noise / self.num_samples
        return noise / square if square > 0 else math.inf

    def temperature(
        self, lr: float, batch_size: int, *, replacement: bool = True, unbiased: bool = False
    ) -> float:
        r"""Return the temperature of isotropic noise of the same size [loss].

        $$T = \frac{\eta \operatorname{tr} \Sigma_B}{2 p}, \qquad
        T_i = \frac{\eta}{2}\, v_i \cdot \Sigma_B v_i \tag{F.93}$$

        with $\Sigma_B$ of Eq. (F.5), and N = n.

        Args:
            lr: η, positive [time].
            batch_size: B, at least 1; without replacement at most n.
            replacement: Whether batches are drawn with replacement.
            unbiased: Whether to apply `unbiased_factor`.

        Raises:
            ValueError: If `lr` or `batch_size` is out of range.
        """
        scale = self._scale(lr, batch_size, replacement=replacement, unbiased=unbiased)
        return scale * self.trace / self.num_params

    def temperatures(
        self,
        lr: float,
        batch_size: int,
        *,
        directions: Float[Tensor, "rows p"] | None = None,
        replacement: bool = True,
        unbiased: bool = False,
    ) -> Float[Tensor, " rows"]:
        """Return the temperature along each eigenvector of Σ, or each direction [loss]. Eq. (F.93).

        Args:
            lr: As in `temperature`.
            batch_size: As in `temperature`.
            directions: Rows of any length but zero, for which gradients are computed once more.
            replacement: As in `temperature`.
            unbiased: As in `temperature`.
        """
        scale = self._scale(lr, batch_size, replacement=replacement, unbiased=unbiased)
        return scale * (self.eigenvalues if directions is None else self.variance(directions))

    def _scale(self, lr: float, batch_size: int, *, replacement: bool, unbiased: bool) -> float:
        if not (math.isfinite(lr) and lr > 0):
            raise ValueError(f"lr must be positive and finite, got {lr!r}")
        share = batch_share(self.num_samples, batch_size, replacement=replacement)
        return lr / 2 * share * (self.unbiased_factor if unbiased else 1.0)

    def variance(self, directions: Float[Tensor, "rows p"]) -> Float[Tensor, " rows"]:
        """Return v . Σ v / |v|² for each row, by one more pass over the gradients."""
        if directions.dim() != 2 or directions.shape[1] != self.num_params:
            raise ValueError(
                f"directions must have shape (rows, {self.num_params}), got "
                f"{tuple(directions.shape)}"
            )
        squares = (directions.double() ** 2).sum(1).cpu()
        if not bool((squares > 0).all()):
            raise ValueError("directions must not be zero, got a row of zeros")
        inner = projected(self.source, directions.to(self.source.device), self.gram.mean)
        return (inner**2).mean(0) / squares

    def eigenvectors(self, count: int) -> Float[Tensor, "count p"]:
        """Return the eigenvectors of the largest eigenvalues, by one more pass. Eq. (F.91).

        Two of them are orthogonal up to rounding times the largest over their own eigenvalues.

        Args:
            count: How many, from 1 to `rank`.

        Returns:
            Rows of length 1, in the type and on the device of the parameters.

        Raises:
            ValueError: If `count` is out of range.
        """
        if not 1 <= count <= self.rank:
            raise ValueError(
                f"count must be from 1 to the rank of {self.rank} that {self.num_samples} samples "
                f"give, got {count}"
            )
        return self._lift(self.eigenvector_weights(count)).to(self.source.dtype)

    def eigenvector_weights(self, count: int) -> Float[Tensor, "count n"]:
        """Return the combinations of centred gradients that are the eigenvectors."""
        values, vectors = self._decomposition
        return (vectors[:, :count] / (self.num_samples * values[:count]).sqrt()).T

    def _lift(self, weights: Tensor) -> Tensor:
        return lifted(self.source, weights, self.gram.mean)

    def interval(self, name: str, confidence: float = 0.95) -> tuple[float, float]:
        r"""Return the basic bootstrap interval of a quantity, in logarithms.

        $$[\hat q^2 / q^*_{1 - \alpha/2},\; \hat q^2 / q^*_{\alpha/2}] \tag{F.94}$$

        with the quantiles of resamples of the samples, for the population that they were drawn
        from. The bias that a resample shows is taken off, to first order; with few samples of
        many equal eigenvalues that is not enough. Temperatures scale as the trace does.

        Args:
            name: `"trace"`, `"largest"`, `"intrinsic_dimension"`, `"participation_ratio"` or
                `"noise_scale"`.
            confidence: Between 0 and 1.

        Raises:
            ValueError: If the name is unknown, or no bootstrap was made.
        """
        if name not in self._summary:
            raise ValueError(f"name must be one of {sorted(self._summary)}, got {name!r}")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
        if not len(self.resamples[name]):
            raise ValueError("an interval needs bootstrap samples, got bootstrap=0")
        ends = ((1 + confidence) / 2, (1 - confidence) / 2)
        high, low = np.quantile(self.resamples[name], ends)
        if not low > 0:
            return math.nan, math.nan
        square = self._summary[name] ** 2
        return float(square / high), float(square / low)

    def alignment(
        self,
        hvp: RowProduct,
        *,
        directions: int = 10,
        draws: int = 20,
        hessian_vectors: Float[Tensor, "rows p"] | None = None,
    ) -> Alignment:
        """Return how the noise lies to the curvature of the loss.

        Args:
            hvp: Product of the Hessian with each of some rows, shape (rows, p) to the same, in the
                order of the parameters; `heatgrad.landscape.product.HessianProduct` is one.
            directions: Noise eigenvectors whose curvature is taken, at most `rank` of them.
            draws: Random vectors for the rest of tr(H Σ), and for tr H and the size of H.
            hessian_vectors: Leading eigenvectors of H, as rows, to be compared with those of Σ.

        Raises:
            ValueError: If a number is out of range, or a product of the wrong shape or not finite.
        """
        return align(
            hvp,
            eigenvalues=self.eigenvalues[: self.rank],
            weights=self.eigenvector_weights(self.rank),
            lift=self._lift,
            dtype=self.source.dtype,
            noise_square=float((self.gram.products**2).sum()),
            size=self.num_params,
            directions=directions,
            draws=draws,
            hessian_vectors=hessian_vectors,
            seed=self.seed,
        )


def gradient_noise(
    model: nn.Module,
    loss: Criterion,
    data: tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]],
    *,
    chunk: int = 32,
    memory: int = 2**30,
    params: Sequence[Tensor] | None = None,
    randomness: Randomness = "off",
    vectorized: bool = True,
    limit: int | None = None,
    bootstrap: int = 200,
    seed: int = 0,
) -> GradientNoise:
    r"""Measure the noise of a network's gradient over samples.

    The network is measured in evaluation mode: batch normalisation uses its running statistics,
    dropout is off. In training mode batch normalisation mixes samples and a gradient of one sample
    does not exist. The network is left as it was.

    Neither the n x p matrix of gradients nor the p x p covariance is held, only the n x n Gram
    matrix. Where the gradients do not fit into `memory`, they are computed several times. The
    memory of activations grows with `chunk` and is not counted.

    Args:
        model: Any network; the work is done where its parameters are.
        loss: Mean loss of a batch, a function of outputs and targets. It is called with batches of
            one sample, and must be the mean of what it gives there.
        data: Inputs and targets as two tensors, or batches of both, such as a loader gives. They
            are kept; a shuffling loader is read once.
        chunk: Samples whose gradients are taken at once.
        memory: Bytes that held gradients may take.
        params: Parameters that the gradients are of; all that require gradients, unless given.
        randomness: `"off"`; or `"different"` or `"same"`: modules keep their own modes, and dropout
            draws a mask for each sample, or one for all.
        vectorized: Whether gradients are taken by `vmap`, or one sample after another, for networks
            that it cannot take.
        limit: Only the first so many samples; all, unless given.
        bootstrap: Resamples of the samples, for the intervals; 0 for none.
        seed: Of dropout, bootstrap and random directions.

    Returns:
        The noise.

    Raises:
        ValueError: If there are fewer than two samples, or too many for a Gram matrix; if the
            network mixes samples, the loss is not the mean over a batch or not finite, `vmap`
            cannot take the network, or an option is out of range.

    References:
        Theory page: Eqs. (F.90) to (F.97). [Barbieri]: the degenerate noise of SGD.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> y = torch.tensor([[1.0], [1.0], [0.0]])
        >>> net = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.zeros_(net.weight)
        >>> noise = gradient_noise(net, nn.functional.mse_loss, (x, y))
        >>> noise.trace, noise.rank, noise.temperature(lr=0.3, batch_size=2)
        (1.777..., 2, 0.0666...)
    """
    if memory < 1:
        raise ValueError(f"memory must be positive [bytes], got {memory}")
    if bootstrap < 0:
        raise ValueError(f"bootstrap must be at least 0, got {bootstrap}")
    source = SampleGradients(
        model,
        loss,
        data,
        chunk=chunk,
        params=params,
        randomness=randomness,
        vectorized=vectorized,
        limit=limit,
        seed=seed,
    )
    if 8 * source.num_samples**2 > _MOST_GRAM:
        raise ValueError(
            f"the Gram matrix of {source.num_samples} samples would take "
            f"{8 * source.num_samples**2 / 2**30:.0f} GiB, more than 4; take limit=2000, say, with "
            f"a loader that shuffles"
        )
    gram = noise_gram(source, memory=memory)
    return GradientNoise(gram, source, seed, resampled(gram, draws=bootstrap, seed=seed))
