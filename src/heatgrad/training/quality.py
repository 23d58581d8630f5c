"""How good samples are: a classifier's word, a distance between laws, and copies of the data."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.core.shares import wilson
from heatgrad.data import Dataset
from heatgrad.training.judge import Judge

__all__ = [
    "Copies",
    "Laws",
    "Quality",
    "Told",
    "frechet_distance",
    "nearest",
    "quality_of",
]

_SPLITS = 8
_MOST_COMPARED = 1000  # test images whose nearest training image is looked for


@dataclass(frozen=True)
class Told:
    """How many samples the classifier gives the class that was wanted.

    Attributes:
        right: Their number.
        count: Number of samples.
        share: The one over the other [1].
        low: Lower end of Wilson's 95 % interval, Eq. (F.101) [1].
        high: Its upper end [1].
    """

    right: int
    count: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, right: int, count: int) -> "Told":
        """Return the share and its interval.

        Example:
            >>> told = Told.of(9, 10)
            >>> told.share, round(told.low, 3), round(told.high, 3)
            (0.9, 0.596, 0.982)
        """
        low, high = wilson(right, count)
        return cls(right, count, right / count if count else math.nan, float(low), float(high))


@dataclass(frozen=True)
class Laws:
    """Frechet distances of features to those of one half of the real test images.

    All are between the same numbers of images with the same classes; each is the mean over random
    halves of the test images.

    Attributes:
        samples: Of the samples.
        floor: Of as many images of the other half.
        floor_high: The largest of the floors over the halves.
        ceiling: Of images of independent normal pixels of the data's mean and deviation.
        count: Images on the side of the samples; NaN distances where below 2.
        count_real: Images of a half.
        num_features: Length of a feature vector.
    """

    samples: float
    floor: float
    floor_high: float
    ceiling: float
    count: int
    count_real: int
    num_features: int


@dataclass(frozen=True, eq=False)
class Copies:
    """How near samples lie to training images, beside how near test images do.

    Attributes:
        samples: Distance of each sample to its nearest training image [data].
        of: Number of that training image.
        tests: Distance of each of some test images to theirs [data].
        nearer: Share of the samples that are nearer than the median of the test images: about a
            half if samples are like new data.
        copied: Share that are nearer than all but a hundredth of the test images.
    """

    samples: Float[Tensor, " n"]
    of: Int64[Tensor, " n"]
    tests: Float[Tensor, " m"]
    nearer: Told
    copied: Told


@dataclass(frozen=True)
class Quality:
    """What is measured of samples.

    Attributes:
        accuracy: Share of the test images of the wanted classes that the classifier gets right.
        told: The same of the samples; None where no class was wanted.
        laws: Frechet distances.
        copies: Distances to training images.
    """

    accuracy: Told
    told: Told | None
    laws: Laws
    copies: Copies


def quality_of(
    judge: Judge,
    dataset: Dataset,
    samples: Float[Tensor, "n *shape"],
    labels: Int64[Tensor, " n"] | None,
    *,
    seed: int = 0,
) -> Quality:
    """Measure samples against the data set that they should be like.

    Args:
        judge: A classifier of the data set.
        dataset: Training and test images.
        samples: Made images, as the data set has them [data].
        labels: The class that each should have; None where none was asked for. Then all test
            images are compared with, else those of these classes.
        seed: Of the halves and of the images of noise.

    Raises:
        ValueError: If samples have another shape than the data, or are none, or no test image is
            of their classes.

    Example:
        >>> from heatgrad.data import Digits
        >>> from heatgrad.models import SimpleCNN
        >>> data = Digits().load(0)
        >>> judge = Judge(SimpleCNN((1, 8, 8), 10, hidden=32).eval())
        >>> found = quality_of(judge, data, data.x_train[:50], data.y_train[:50])
        >>> found.copies.copied.share  # training images are copies
        1.0
    """
    if len(samples) == 0 or samples.shape[1:] != dataset.x_test.shape[1:]:
        raise ValueError(
            f"samples must be one at least, of shape {tuple(dataset.x_test.shape[1:])} as the data "
            f"have, got shape {tuple(samples.shape)}"
        )
    keep = slice(None) if labels is None else torch.isin(dataset.y_test, labels)
    x, y = dataset.x_test[keep], dataset.y_test[keep]
    if len(x) == 0:
        raise ValueError("labels must be of classes that test images have, got others alone")
    generator = stream_generator(seed, "quality")
    found, features = judge.looks_at(samples)
    read, real = judge.looks_at(x)
    noise = torch.randn(samples.shape, generator=generator, dtype=samples.dtype)
    whole = dataset.x_train
    noise = noise.to(samples.device) * whole.std() + whole.mean()
    three = (features, real, judge.looks_at(noise)[1])
    return Quality(
        accuracy=Told.of(int((read == y).sum()), len(y)),
        told=None if labels is None else Told.of(int((found == labels).sum()), len(labels)),
        laws=_laws(*three, labels, y, generator),
        copies=_copies(samples, whole, x, generator),
    )


def _laws(
    samples: Tensor,
    real: Tensor,
    noise: Tensor,
    labels: Tensor | None,
    real_labels: Tensor,
    generator: torch.Generator,
) -> Laws:
    """Return the distances between features, each the mean over halves of the real ones."""
    found, count, half = [], 0, len(real) // 2
    for _ in range(_SPLITS):
        order = torch.randperm(len(real), generator=generator).to(real.device)
        one, other = order[:half], order[half:]
        if labels is None:
            count = min(len(samples), half)
            ours, theirs = torch.arange(count), one[:count]
        else:
            ours, theirs = _matched(labels, real_labels, one)
            count = len(ours)
        if min(count, half) < 2:
            return Laws(*4 * (math.nan,), count, half, real.shape[1])
        to = real[other]
        sides = (samples[ours], real[theirs], noise[ours])
        found.append([frechet_distance(side, to) for side in sides])
    distance, floor, ceiling = torch.tensor(found, dtype=torch.float64).unbind(1)
    means = (float(distance.mean()), float(floor.mean()), float(floor.max()), float(ceiling.mean()))
    return Laws(*means, count, half, real.shape[1])


def _matched(labels: Tensor, real_labels: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Return as many samples as real images of each class, the first ones of each.

    Where a class has more samples than real images, all classes are cut in proportion. Else
    samples with a fixed number of each class would beat real images with a random one.
    """
    classes, wanted = torch.unique(labels, return_counts=True)
    have = torch.stack([(real_labels[order] == c).sum() for c in classes])
    share = float((have / wanted).min().clamp(max=1))
    ours, theirs = [], []
    for label, number in zip(classes, wanted, strict=True):
        some = math.floor(share * int(number) + 1e-6)
        ours.append((labels == label).nonzero()[:some, 0])
        theirs.append(order[(real_labels[order] == label).nonzero()[:some, 0]])
    return torch.cat(ours), torch.cat(theirs)


def frechet_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    r"""Return the squared Frechet distance of the normal laws that fit two sets of features.

    $$d^2 = |m_a - m_b|^2 + \operatorname{tr}\bigl(C_a + C_b - 2 (C_a C_b)^{1/2}\bigr)$$

    with sample means $m$ and covariances $C$: the squared 2-Wasserstein distance of two normal
    laws. With Inception features it is called FID. From few samples it comes out too large, by
    about as much for any law: compare figures of the same numbers of samples alone.

    Args:
        a: Features, at least two rows.
        b: The same of another set.

    Raises:
        ValueError: If a set has fewer than two rows, or the lengths of rows differ.

    References:
        Dowson and Landau (1982), Journal of Multivariate Analysis 12(3), Eq. (4); Heusel et al.
        (2017), arXiv:1706.08500v6, Eq. (6).

    Example:
        >>> points = torch.tensor([[-1.0], [1.0]])
        >>> frechet_distance(points, points + 3)  # equal deviations, means 3 apart
        9.0
    """
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"a and b must have two rows at least, of one length, got shapes {tuple(a.shape)} and "
            f"{tuple(b.shape)}"
        )
    a, b = a.double(), b.double()
    means = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    cov_a, cov_b = _covariance(a), _covariance(b)
    # The eigenvalues of C_a C_b are the squared singular values of C_a^(1/2) C_b^(1/2).
    cross = torch.linalg.svdvals(_root(cov_a) @ _root(cov_b)).sum()
    return max(0.0, float(means + cov_a.trace() + cov_b.trace() - 2 * cross))


def _covariance(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    centred = x - x.mean(dim=0)
    cov: Tensor = centred.T @ centred / (len(x) - 1)
    return cov


def _root(cov: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    values, vectors = torch.linalg.eigh(cov)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def nearest(
    x: Float[Tensor, "n *shape"], among: Float[Tensor, "m *shape"], *, batch_size: int = 256
) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
    """Return the distance of each sample to the nearest of some others, and which that is.

    Args:
        x: Samples [data].
        among: Those that are looked through, of the same shape each [data].
        batch_size: Samples at once; it bounds the memory.

    Example:
        >>> distance, place = nearest(torch.tensor([[0.0, 3.0]]), torch.tensor([[9.0, 9], [4, 0]]))
        >>> distance.item(), place.item()
        (5.0, 1)
    """
    flat, others = x.flatten(1), among.flatten(1)
    middle = others.mean(dim=0)
    flat, others = flat - middle, others - middle  # so that products round less
    lengths = others.square().sum(dim=1)
    places = [
        (lengths - 2 * part @ others.T).argmin(dim=1) for part in torch.split(flat, batch_size)
    ]
    place = torch.cat(places)
    return torch.linalg.vector_norm(flat - others[place], dim=1), place


def _copies(x: Tensor, train: Tensor, test: Tensor, generator: torch.Generator) -> Copies:
    distances, of = nearest(x, train)
    some = torch.randperm(len(test), generator=generator)[:_MOST_COMPARED].to(test.device)
    tests = nearest(test[some], train)[0]
    shares = [
        Told.of(int((distances < tests.quantile(level)).sum()), len(x)) for level in (0.5, 0.01)
    ]
    return Copies(distances.cpu(), of.cpu(), tests.cpu(), *shares)
