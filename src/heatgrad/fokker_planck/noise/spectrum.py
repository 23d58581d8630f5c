"""The covariance of sample gradients through its Gram matrix, which is small."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh
from torch import Tensor

from heatgrad.core.random import stream_seed
from heatgrad.fokker_planck.noise.samples import SampleGradients

__all__ = ["NoiseGram", "lifted", "noise_gram", "projected", "resampled", "summary"]

_PIECE = 2**22  # numbers that are widened to double precision at once
_DENSE = 300  # samples up to which the largest eigenvalue is taken from all


@dataclass(frozen=True, eq=False)
class NoiseGram:
    r"""Inner products of centred gradients.

    $$\Sigma = \frac1n G^\top G, \qquad K = \frac1n G G^\top, \qquad
    G_{i \cdot} = g_i - \bar g \tag{F.90}$$

    The n x p matrix G is never held. K has the same nonzero eigenvalues as Σ, at most n - 1.

    Attributes:
        products: K, float64, on the CPU.
        toward_mean: Inner products of each centred gradient with the mean gradient.
        mean: The mean gradient, float64, on the gradients' device.
        losses: Of each sample, float64, on the CPU.
        evaluations: How many sample gradients were computed.
    """

    products: Float[Tensor, "n n"]
    toward_mean: Float[Tensor, " n"]
    mean: Float[Tensor, " p"]
    losses: Float[Tensor, " n"]
    evaluations: int


def noise_gram(source: SampleGradients, *, memory: int) -> NoiseGram:
    """Return the Gram matrix of sample gradients, a block of rows of some tensors at a time.

    A group of parameter tensors is taken if a chunk of its rows fits twice. A block of rows is
    held, and the chunks after it are computed anew for each block: n (n / rows + 1) / 2 gradients.

    Args:
        source: The gradients.
        memory: Bytes that held gradients may take; one chunk of one tensor is held whatever it is.
    """
    n = source.num_samples
    gram = torch.zeros(n, n, dtype=torch.float64)
    toward = torch.zeros(n, dtype=torch.float64)
    losses = torch.zeros(n, dtype=torch.float64)
    means, shift_square, evaluations = [], 0.0, 0
    for tensors in _groups(source, memory):
        # The mean of a few rows is taken off first: what is left is of the size of the noise, and
        # centring in double precision loses nothing to a large mean gradient.
        shift = source.rows(0, tensors)[0].double().mean(0).to(source.dtype)
        total = torch.zeros(len(shift), dtype=torch.float64, device=shift.device)
        wide = shift.double().unsqueeze(0)
        shift_square += float(wide[0] @ wide[0])
        evaluations += _length(source.chunks[0])
        for block in _blocks(source, len(shift), memory):
            held = torch.empty(
                source.chunks[block[-1]].stop - source.chunks[block[0]].start,
                len(shift),
                dtype=source.dtype,
                device=source.device,
            )
            place = slice(source.chunks[block[0]].start, source.chunks[block[-1]].stop)
            for chunk in range(block[0], len(source.chunks)):
                rows, values = source.rows(chunk, tensors)
                rows -= shift
                at = source.chunks[chunk]
                evaluations += len(rows)
                if chunk in block:
                    held[at.start - place.start : at.stop - place.start] = rows
                    losses[at] = values.double().cpu()
                    total += _summed(rows)
                    toward[at] += _products(rows, wide).cpu()[:, 0]
                else:
                    part = _products(held, rows).cpu()
                    gram[place, at] += part
                    gram[at, place] += part.T
                del rows
            gram[place, place] += _products(held, held).cpu()
            del held
        means.append(wide[0] + total / n)
    return _centred(gram, toward, shift_square, torch.cat(means), losses, evaluations)


def _centred(
    gram: Tensor,
    toward: Tensor,
    shift_square: float,
    mean: Tensor,
    losses: Tensor,
    evaluations: int,
) -> NoiseGram:
    """Take off the mean of rows r = g - s whose products, and those with s, are known."""
    n = len(gram)
    row = gram.mean(1)
    all_rows = row.mean()
    # (r - rbar) . (s + rbar), term by term.
    toward_mean = toward - toward.mean() + row - all_rows
    products = (gram - row[:, None] - row[None, :] + all_rows) / n
    return NoiseGram((products + products.T) / 2, toward_mean, mean, losses, evaluations)


def lifted(
    source: SampleGradients, weights: Float[Tensor, "rows n"], mean: Float[Tensor, " p"]
) -> Float[Tensor, "rows p"]:
    r"""Return combinations of the centred gradients, $\sum_i w_i (g_i - \bar g)$, in double.

    With $w = u_k / \sqrt{n \lambda_k}$ they are the eigenvectors of Σ,

    $$v_k = G^\top u_k / \sqrt{n \lambda_k}, \qquad K u_k = \lambda_k u_k. \tag{F.91}$$
    """
    found = torch.zeros(len(weights), len(mean), dtype=torch.float64, device=source.device)
    weights = weights.to(found)
    for chunk, at in enumerate(source.chunks):
        rows, _ = source.rows(chunk)
        for piece in _pieces(rows):
            found[:, piece] += weights[:, at] @ (rows[:, piece].double() - mean[piece])
    return found


def projected(
    source: SampleGradients, vectors: Float[Tensor, "rows p"], mean: Float[Tensor, " p"]
) -> Float[Tensor, "n rows"]:
    """Return the inner products of each centred gradient with some vectors, in double."""
    found = torch.zeros(source.num_samples, len(vectors), dtype=torch.float64)
    for chunk, at in enumerate(source.chunks):
        rows, _ = source.rows(chunk)
        for piece in _pieces(rows):
            part = rows[:, piece].double() - mean[piece]
            found[at] += (part @ vectors[:, piece].to(part).T).cpu()
    return found


def summary(gram: NoiseGram, counts: Float[Tensor, " n"] | None = None) -> Mapping[str, float]:
    r"""Return what the Gram matrix says of the noise, each sample counted so many times.

    $$d_1 = \frac{\operatorname{tr} \Sigma}{\lambda_{\max}}, \qquad
    d_2 = \frac{(\operatorname{tr} \Sigma)^2}{\operatorname{tr} \Sigma^2}, \qquad
    s = \frac{\operatorname{tr} \Sigma}{|\bar g|^2} \tag{F.92}$$

    Args:
        gram: The inner products.
        counts: How often each sample is there, n in all; once, unless given.
    """
    n = len(gram.products)
    mean_square = float(gram.mean @ gram.mean)
    matrix = gram.products
    if counts is not None:
        keep = counts.nonzero()[:, 0]
        share = counts[keep] / n
        matrix = matrix[keep][:, keep]
        # The mean moves by delta = sum_i share_i (g_i - gbar); all of it is in K.
        moved = matrix @ share
        delta_square = n * float(share @ moved)
        mean_square += 2 * float(share @ gram.toward_mean[keep]) + delta_square
        matrix = matrix - moved[:, None] - moved[None, :] + delta_square / n
        root = counts[keep].sqrt()
        matrix = root[:, None] * matrix * root[None, :]
    trace = max(0.0, float(matrix.trace()))
    largest = _largest(matrix)
    return {
        "trace": trace,
        "largest": largest,
        "intrinsic_dimension": _ratio(trace, largest),
        "participation_ratio": _ratio(trace**2, float((matrix**2).sum())),
        "noise_scale": _ratio(trace, mean_square),
    }


def resampled(gram: NoiseGram, *, draws: int, seed: int) -> Mapping[str, NDArray[np.float64]]:
    """Return the summary of samples drawn anew with replacement: no gradient is computed."""
    n = len(gram.products)
    stream = np.random.default_rng(stream_seed(seed, "bootstrap"))
    found = [
        summary(gram, torch.from_numpy(np.bincount(stream.integers(n, size=n), minlength=n) * 1.0))
        for _ in range(draws)
    ]
    names = ("trace", "largest", "intrinsic_dimension", "participation_ratio", "noise_scale")
    return {name: np.array([one[name] for one in found]) for name in names}


def _largest(matrix: Tensor) -> float:
    if len(matrix) <= _DENSE or not bool(matrix.any()):
        return max(0.0, float(torch.linalg.eigvalsh(matrix)[-1]))
    # A column is no stranger to the range of the matrix, as a vector of ones would be.
    start = matrix[:, int(matrix.diagonal().argmax())].numpy()
    values = eigsh(matrix.numpy(), k=1, which="LA", v0=start, return_eigenvectors=False)
    return float(values[0])


def _groups(source: SampleGradients, memory: int) -> list[slice]:
    """Pack parameter tensors, in order, so that two chunks of rows fit into memory."""
    most = memory // (2 * max(map(_length, source.chunks)) * source.dtype.itemsize)
    groups, start, size = [], 0, 0
    for index, numbers in enumerate(source.sizes):
        if index > start and size + numbers > most:
            groups.append(slice(start, index))
            start, size = index, 0
        size += numbers
    return [*groups, slice(start, len(source.sizes))]


def _blocks(source: SampleGradients, width: int, memory: int) -> list[range]:
    """Pack chunks, in order, so that one block and one chunk more fit into memory."""
    most = memory // max(1, width * source.dtype.itemsize) - max(map(_length, source.chunks))
    blocks, start, size = [], 0, 0
    for index, chunk in enumerate(source.chunks):
        if index > start and size + _length(chunk) > most:
            blocks.append(range(start, index))
            start, size = index, 0
        size += _length(chunk)
    return [*blocks, range(start, len(source.chunks))]


def _pieces(rows: Tensor) -> list[slice]:
    width = max(64, _PIECE // max(1, len(rows)))
    return [slice(at, at + width) for at in range(0, rows.shape[1], width)]


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Return a b', in double precision whatever the type: exact for single-precision rows."""
    total = torch.zeros(len(a), len(b), dtype=torch.float64, device=a.device)
    for piece in _pieces(a if len(a) > len(b) else b):
        total += a[:, piece].double() @ b[:, piece].double().T
    return total


def _summed(rows: Tensor) -> Tensor:
    return rows.sum(0, dtype=torch.float64)


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else float("nan")


def _length(part: slice) -> int:
    return int(part.stop - part.start)
