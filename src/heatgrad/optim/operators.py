"""The operators that diffuse a gradient: the chain stencil and the mean-based modes.

Everything here is a pure function of tensors. Half types are diffused in float32 and rounded
once; the gradients passed in are never written to.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from heatgrad.optim.chunks import in_chunks
from heatgrad.optim.dials import is_zero

__all__ = [
    "LAYER_MODES",
    "Neighbours",
    "Run",
    "averaged_dims",
    "chain_neighbours",
    "chain_runs",
    "diffuse_chain",
    "diffuse_chain_foreach",
    "diffuse_layer",
    "has_deviation",
]

# Elements of a tensor that are diffused at a time on a CPU, so that what is on the way to the
# result stays in cache.
_PIECE = 1 << 17

# What lies left and right of each tensor in a chain.
Neighbours = Sequence[tuple[Tensor, Tensor]]
# A tensor's place in a chain, its elements, and what lies left and right of them.
Run = tuple[int, Tensor, tuple[Tensor, Tensor]]

LAYER_MODES = ("layer", "layer_literal", "centralize", "centralize_channel")


def diffuse_chain(
    grads: Sequence[Tensor],
    diffusion: Sequence[float],
    boundary: str,
    neighbours: Neighbours | None = None,
) -> list[Tensor]:
    r"""Diffuse gradients along the one chain that their flattened elements form.

    $$g'_i = g_i + \lambda_i (g_{i+1} - 2 g_i + g_{i-1}) \tag{R.2}$$

    The tensors are never concatenated: each sees its neighbours' border elements. Tensors
    without elements are passed over; a complex element is one point of the chain, and where
    it borders on a real tensor only its real part crosses.

    Args:
        grads: Gradients of any shapes, in chain order (logical order inside each tensor).
        diffusion: One coefficient λ per gradient [1].
        boundary: Ghost cells at the two ends of the chain: `"neumann"` (copy of the edge),
            `"periodic"` (wrap) or `"dirichlet"` (zero).
        neighbours: Where the gradients are parts of longer ones: what lies left and right of each,
            shape (runs, 1), a part being that many runs of the chain.

    Returns:
        New tensors of the shapes and dtypes of `grads`; where λ is 0, the gradient itself.

    References:
        [Ray] 3.1 and B.1 (gradient-based diffusion). Theory page: Eq. (R.2).
    """
    diffused = list(grads)
    for k, flat, (left, right) in chain_runs(grads, boundary, neighbours):
        if not is_zero(diffusion[k]):
            # The second difference of a run with its two neighbours is its Laplacian.
            lap = torch.diff(flat, n=2, prepend=left, append=right)
            diffused[k] = _as(lap.mul_(diffusion[k]).add_(flat), grads[k])
    return diffused


def diffuse_chain_foreach(
    grads: Sequence[Tensor],
    diffusion: Sequence[float],
    boundary: str,
    neighbours: Neighbours | None = None,
) -> list[Tensor]:
    """Return `diffuse_chain(...)`, bit for bit, in a few multi-tensor operations."""
    diffused = list(grads)
    pieces: list[tuple[Tensor, Tensor, Tensor, float]] = []
    outs_of: dict[int, Tensor] = {}
    for k, flat, ends in chain_runs(grads, boundary, neighbours):
        if not is_zero(diffusion[k]):
            outs_of[k] = torch.empty_like(flat)
            pieces += _pieces(flat, outs_of[k], ends, float(diffusion[k]))
    for chunk in in_chunks([piece for _, piece, _, _ in pieces]):
        padded, here, outs, strengths = zip(*(pieces[i] for i in chunk), strict=True)
        slopes = torch._foreach_sub([p[:, 1:] for p in padded], [p[:, :-1] for p in padded])
        laps = torch._foreach_sub([d[:, 1:] for d in slopes], [d[:, :-1] for d in slopes])
        torch._foreach_mul_(laps, strengths)
        torch._foreach_add_(laps, here)
        torch._foreach_copy_(outs, laps)
    for k, out in outs_of.items():
        diffused[k] = _as(out, grads[k])
    return diffused


def _pieces(
    flat: Tensor, out: Tensor, ends: tuple[Tensor, Tensor], strength: float
) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    """Cut a tensor; return each piece with its neighbours, alone, where it goes, and λ.

    Only the first and the last piece have neighbours elsewhere, and are copied.
    """
    n = flat.shape[1]
    size = max(1, _PIECE // flat.shape[0]) if flat.device.type == "cpu" else n
    cuts = []
    for low in range(0, n, size):
        high = min(n, low + size)
        padded = flat[:, max(0, low - 1) : high + 1]
        if low == 0:
            padded = torch.cat([ends[0], padded], 1)
        if high == n:
            padded = torch.cat([padded, ends[1]], 1)
        cuts.append((padded, flat[:, low:high], out[:, low:high], strength))
    return cuts


def diffuse_layer(grad: Tensor, diffusion: float, mode: str, mean: Tensor | None = None) -> Tensor:
    r"""Diffuse one gradient toward, or away from, its mean.

    | mode | result |
    |---|---|
    | `layer` | $g + \lambda (\bar g - g)$ (R.3) |
    | `layer_literal` | $g + \lambda (g - \bar g)$ (R.4), which amplifies |
    | `centralize` | $g - \bar g$ (R.5) |
    | `centralize_channel` | $g$ minus its mean over dims 1.., for rank above 1 (R.6) |

    A mean over a single element would make the last two remove the whole gradient; such
    tensors (and empty ones) are returned as they are.

    Args:
        grad: The gradient, any shape.
        diffusion: λ; for the last two modes 1 (full) or 0 (nothing) [1].
        mode: One of `LAYER_MODES`.
        mean: Where the gradient is a part of a longer one: the mean over all of that.

    Returns:
        A new tensor of the shape and dtype of `grad`, or `grad` itself if nothing is to be done.

    References:
        [Ray] B.1 (layer-based diffusion); Yong et al. (2020) for `centralize_channel`.
    """
    if is_zero(diffusion) or (mean is None and not has_deviation(grad.shape, mode)):
        return grad
    work = grad.float() if _is_half(grad) else grad
    if mean is None:
        mean = work.mean(dim=averaged_dims(grad.dim(), mode), keepdim=True)
    if mode == "layer":
        work = (mean - work).mul_(diffusion).add_(work)
    elif mode == "layer_literal":
        work = (work - mean).mul_(diffusion).add_(work)
    elif mode in ("centralize", "centralize_channel"):
        work = work - mean
    else:
        raise ValueError(f"mode must be one of {', '.join(LAYER_MODES)}, got {mode!r}")
    return work.to(grad.dtype)


def has_deviation(shape: Sequence[int], mode: str) -> bool:
    """Whether the mean is over more than one element, so that something is left beside it."""
    if mode == "centralize_channel":
        return len(shape) > 1 and prod(shape[1:]) > 1 and shape[0] > 0
    return prod(shape) > 1


def averaged_dims(num_dims: int, mode: str) -> tuple[int, ...]:
    """Return the axes over which a mode takes the mean."""
    return tuple(range(1 if mode == "centralize_channel" else 0, num_dims))


def _is_half(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float16, torch.bfloat16)


def chain_runs(grads: Sequence[Tensor], boundary: str, neighbours: Neighbours | None) -> list[Run]:
    """Return the place, the elements and the neighbours of each gradient that has any elements.

    The elements stand in logical order, shape (runs, length); the neighbours of each run left and
    right, shape (runs, 1).
    """
    kept = [k for k, grad in enumerate(grads) if grad.numel() > 0]
    work = [grads[k].float() if _is_half(grads[k]) else grads[k] for k in kept]
    if neighbours is None:
        flats = [grad.reshape(1, -1) for grad in work]
        ends = chain_neighbours(flats, boundary)
    else:
        ends = [neighbours[k] for k in kept]
        flats = [grad.reshape(len(end[0]), -1) for grad, end in zip(work, ends, strict=True)]
    return [
        (k, flat, (_crossing(left, flat), _crossing(right, flat)))
        for k, flat, (left, right) in zip(kept, flats, ends, strict=True)
    ]


def chain_neighbours(flats: Sequence[Tensor], boundary: str) -> list[tuple[Tensor, Tensor]]:
    """Return what lies left and right of each tensor in the chain.

    Args:
        flats: Tensors of shape (runs, length); runs of several chains stand side by side.
        boundary: Ends of the chain.
    """
    firsts, lasts = [flat[:, :1] for flat in flats], [flat[:, -1:] for flat in flats]
    if boundary == "neumann":
        before, after = firsts[:1], lasts[-1:]
    elif boundary == "periodic":
        before, after = lasts[-1:], firsts[:1]
    elif boundary == "dirichlet":
        before = [torch.zeros_like(first) for first in firsts[:1]]
        after = [torch.zeros_like(last) for last in lasts[-1:]]
    else:
        raise ValueError(f"boundary must be neumann, periodic or dirichlet, got {boundary!r}")
    return list(zip(before + lasts[:-1], firsts[1:] + after, strict=True))


def _crossing(value: Tensor, tensor: Tensor) -> Tensor:
    """Return a border value in the dtype and on the device of the tensor it crosses into."""
    if value.dtype == tensor.dtype and value.device == tensor.device:
        return value
    if value.is_complex() and not tensor.is_complex():
        value = value.real
    return value.to(device=tensor.device, dtype=tensor.dtype)


def _as(flat: Tensor, grad: Tensor) -> Tensor:
    """Return flat elements in the shape and dtype of the gradient they belong to."""
    shaped = flat.view(grad.shape)
    return shaped if shaped.dtype == grad.dtype else shaped.to(grad.dtype)
