"""Disconnected Gaussian clusters in many dimensions, labelled by parity."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.data.checks import check_int, check_positive, check_split
from heatgrad.data.dataset import Ceiling, Dataset
from heatgrad.data.noise import check_rate
from heatgrad.data.split import stratified_split
from heatgrad.data.task import Task

__all__ = ["FragmentedManifold"]

_CEILING_DRAWS = 200_000


@dataclass(frozen=True, kw_only=True)
class FragmentedManifold(Task):
    r"""Clusters in a row, with labels that alternate, and flipped labels by default.

    $$\mu_k = \tilde\mu_k + \alpha k v, \quad \tilde\mu_k \sim N(0, I_d), \qquad
    x \sim N(\mu_k, \sigma^2 I_d), \qquad y = k \bmod 2, \tag{T.4}$$

    for $k = 0, \dots, K - 1$, with $v = (1, \dots, 1)/\sqrt d$. Clusters are equally large;
    the samples are shuffled and split with the same class proportions in both parts (the
    paper: "approximately balanced").

    Attributes:
        num_samples: N, both parts together, a multiple of `num_clusters`.
        num_test: Size of the test part; each class must have a whole share in it.
        dim: d, number of coordinates.
        num_clusters: K, at least 2.
        separation: alpha, positive (not given in the paper) [data].
        sigma: Standard deviation inside a cluster, positive [data].
        label_noise: Probability that a label is replaced (the paper: 0.3) [1].
        noise_in: The parts that get label noise (the paper: both).

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> data = FragmentedManifold(num_samples=1000, num_test=200).load(seed=0)
        >>> data.input_shape, int(data.y_test_clean.sum()), round(data.ceiling.noisy, 2)
        ((20,), 100, 0.7)

    References:
        [Ray] appendix A. Theory page: Eqs. (T.4) to (T.7).
    """

    num_samples: int = 50_000
    num_test: int = 10_000
    dim: int = 20
    num_clusters: int = 10
    separation: float = 5.0
    sigma: float = 1.5
    label_noise: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self.label_noise, 2)
        check_int("num_clusters", self.num_clusters, at_least=2)
        check_int("num_samples", self.num_samples, at_least=self.num_clusters)
        check_int("num_test", self.num_test, at_least=1)
        check_int("dim", self.dim, at_least=1)
        check_split(self.num_samples, self.num_test)
        if self.num_samples % self.num_clusters:
            raise ValueError(
                f"num_samples must be a multiple of num_clusters = {self.num_clusters}, for "
                f"equal clusters, got {self.num_samples}"
            )
        unit = self.num_clusters if self.num_clusters % 2 else 2
        if self.num_test % unit:
            raise ValueError(
                f"num_test must be a multiple of {unit}, to give each class its exact share, "
                f"got {self.num_test}"
            )
        for name in ("separation", "sigma"):
            check_positive(name, getattr(self, name))

    def generate(self, seed: int) -> Dataset:
        """Return the data with clean labels, from the streams `(seed, "data", ...)`."""
        size = self.num_samples // self.num_clusters
        cluster = torch.arange(self.num_clusters).repeat_interleave(size)
        noise = torch.randn(
            (self.num_samples, self.dim),
            generator=stream_generator(seed, "data", 1),
            dtype=torch.float64,
        )
        x = (self.centers(seed)[cluster] + self.sigma * noise).float()
        labels = cluster % 2
        train, test = stratified_split(labels, self.num_test, stream_generator(seed, "data", 2))
        clean, stderr = _bayes_accuracy(
            self.dim, self.num_clusters, self.separation, self.sigma, seed
        )
        return Dataset.from_clean(
            x_train=x[train],
            y_train=labels[train],
            x_test=x[test],
            y_test=labels[test],
            num_classes=2,
            ceiling=Ceiling(clean=clean, noisy=clean, stderr=stderr),
        )

    def centers(self, seed: int) -> Float64[Tensor, "clusters dim"]:
        """Return the cluster centres mu_k of one seed, Eq. (T.4) [data]."""
        return _centers(self.dim, self.num_clusters, self.separation, seed)

    def posterior(self, x: Float[Tensor, "n dim"], seed: int) -> Float64[Tensor, " n"]:
        r"""Return the exact probability of class 1 at each point, given the centres.

        $$P(1 \mid x) = \frac{\sum_{k \text{ odd}} w_k}{\sum_k w_k}, \qquad
        w_k = \exp\left(-\frac{|x - \mu_k|^2}{2\sigma^2}\right), \tag{T.5}$$

        in float64 on the CPU; labels are clean ones.

        Args:
            x: Points [data].
            seed: The seed that drew the centres.

        Example:
            >>> task = FragmentedManifold()
            >>> task.posterior(task.centers(seed=0)[:3], seed=0).round().tolist()
            [0.0, 1.0, 0.0]
        """
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must have shape (n, {self.dim}), got {tuple(x.shape)}")
        return _posterior(x.detach().to("cpu", torch.float64), self.centers(seed), self.sigma)


def _centers(dim: int, num_clusters: int, separation: float, seed: int) -> Tensor:
    generator = stream_generator(seed, "data", 0)
    centers = torch.randn((num_clusters, dim), generator=generator, dtype=torch.float64)
    shift = separation * torch.arange(num_clusters, dtype=torch.float64)
    return centers + shift[:, None] / math.sqrt(dim)


def _posterior(x: Tensor, centers: Tensor, sigma: float) -> Tensor:
    # |x - mu|^2 without |x|^2, which all clusters share.
    scores = (x @ centers.T - 0.5 * (centers**2).sum(dim=1)) / sigma**2
    return torch.softmax(scores, dim=1)[:, 1::2].sum(dim=1)


@lru_cache(maxsize=256)
def _bayes_accuracy(
    dim: int, num_clusters: int, separation: float, sigma: float, seed: int
) -> tuple[float, float]:
    """Return the mean of max(p, 1 - p) over fresh draws, Eq. (T.6), and its standard error."""
    centers = _centers(dim, num_clusters, separation, seed)
    # Only the part of x in the span of the centres matters: K coordinates do for any dim.
    coordinates = torch.linalg.qr(centers.T).R.T
    per_cluster = -(-_CEILING_DRAWS // num_clusters)
    draws = torch.randn(
        (num_clusters, per_cluster, coordinates.shape[1]),
        generator=stream_generator(seed, "ceiling"),
        dtype=torch.float64,
    )
    x = (coordinates[:, None] + sigma * draws).flatten(0, 1)
    p = _posterior(x, coordinates, sigma)
    confidence = torch.maximum(p, 1 - p)
    # Equal draws per cluster lower the variance; the plain formula is on the safe side.
    return float(confidence.mean()), float(confidence.std() / confidence.numel() ** 0.5)
