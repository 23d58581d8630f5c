"""Directions through weight space, along which a loss is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from heatgrad.landscape.scales import filter_lengths

__all__ = [
    "Trajectory",
    "cosine_of",
    "filter_normalised",
    "project",
    "random_plane",
    "trajectory_plane",
]

Direction = list[Tensor]
_TINY = 1e-10  # keeps a filter of zeros from being divided by


def filter_normalised(
    direction: Sequence[Tensor], params: Sequence[Tensor], *, vectors: bool = False
) -> Direction:
    r"""Return a direction with every filter as long as the network's own.

    $$d_f \leftarrow d_f\, \frac{|w_f|}{|d_f| + 10^{-10}} \tag{G.2}$$

    Biases and the scales and shifts of normalisations (tensors of at most one axis) do not move,
    unless asked for; then the whole vector is a filter.

    Args:
        direction: One tensor for each parameter.
        params: The parameters.
        vectors: Whether tensors of at most one axis move.

    References:
        Li et al. (2018). Theory page: Eq. (G.2).
    """
    found = []
    for part, param in zip(direction, params, strict=True):
        if param.dim() >= 2:
            found.append(part * (filter_lengths(param) / (filter_lengths(part) + _TINY)))
        elif vectors:
            length = torch.linalg.vector_norm(param.detach())
            found.append(part * (length / (torch.linalg.vector_norm(part) + _TINY)))
        else:
            found.append(torch.zeros_like(part))
    return found


def random_plane(
    params: Sequence[Tensor], *, seed: int = 0, vectors: bool = False
) -> tuple[Direction, Direction, float]:
    """Return two random directions, filter-normalised, and the cosine that is left between them.

    The second is made orthogonal to the first before both are normalised; afterwards they are so
    only almost.

    Args:
        params: The parameters.
        seed: Of the directions.
        vectors: As in `filter_normalised`.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = (
        [
            torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.device, p.dtype)
            for p in params
        ]
        for _ in range(2)
    )
    share = _dot(first, second) / _dot(first, first)
    second = [b - share.to(b.dtype) * a for a, b in zip(first, second, strict=True)]
    first, second = (filter_normalised(d, params, vectors=vectors) for d in (first, second))
    return first, second, cosine_of(first, second)


def cosine_of(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Return the cosine between two directions; 0 where one has no length."""
    lengths = torch.sqrt(_dot(first, first) * _dot(second, second))
    return float(_dot(first, second) / lengths) if lengths > 0 else 0.0


@dataclass(frozen=True)
class Trajectory:
    """Some networks on the way to a solution, as they look in a plane through it.

    Attributes:
        places: Their coordinates in the plane, shape (networks, 2).
        residuals: The length of what the plane does not hold of each network's distance from the
            solution, relative to that distance [1], shape (networks,): where it is not small, the
            surface's value at the place is not the network's loss.
    """

    places: Tensor
    residuals: Tensor


def project(
    states: Sequence[Mapping[str, Tensor]],
    model: nn.Module,
    first: Sequence[Tensor],
    second: Sequence[Tensor],
) -> Trajectory:
    """Return where networks lie in a plane through a solution, by least squares.

    Args:
        states: Their state dicts.
        model: The solution.
        first: A direction of the plane, one tensor for each parameter that requires a gradient.
        second: Another, not along the first.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    _check_states(states, named)
    basis = torch.stack([_flat(first), _flat(second)], 1)
    away = torch.stack(
        [_flat([state[name] - p.detach() for name, p in named.items()]) for state in states]
    )
    places = torch.linalg.lstsq(basis, away.T).solution.T
    rest = torch.linalg.vector_norm(away - places @ basis.T, dim=1)
    lengths = torch.linalg.vector_norm(away, dim=1)
    return Trajectory(places, torch.where(lengths > 0, rest / lengths, torch.zeros_like(rest)))


def _check_states(states: Sequence[Mapping[str, Tensor]], named: Mapping[str, Tensor]) -> None:
    for state in states:
        for name, param in named.items():
            if name not in state or state[name].shape != param.shape:
                got = tuple(state[name].shape) if name in state else "none"
                raise ValueError(
                    f"a trajectory must hold state dicts of the network, got {got} for '{name}' in "
                    f"place of {tuple(param.shape)}"
                )


def trajectory_plane(
    states: Sequence[Mapping[str, Tensor]], model: nn.Module
) -> tuple[Direction, Direction, float]:
    """Return the two principal directions of a trajectory and the share of it that they hold.

    Args:
        states: State dicts of networks on the way, at least two.
        model: The solution, from which distances are taken.

    Returns:
        Directions of unit length, and the share of the squared distances in their plane [1].

    Raises:
        ValueError: If there are fewer than two networks, or all are on one line.

    References:
        Li et al. (2018), section 7.2.
    """
    if len(states) < 2:
        raise ValueError(f"a trajectory must hold at least two networks, got {len(states)}")
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    _check_states(states, named)
    away = torch.stack(
        [_flat([state[name] - p.detach() for name, p in named.items()]) for state in states]
    )
    _, lengths, axes = torch.linalg.svd(away, full_matrices=False)
    if len(lengths) < 2 or lengths[1] <= 1e-12 * lengths[0]:
        raise ValueError("the networks of a trajectory must span a plane, got a line")
    share = (lengths[:2] ** 2).sum() / (lengths**2).sum()
    return _like(axes[0], named.values()), _like(axes[1], named.values()), float(share)


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return torch.stack([(x.double() * y.double()).sum() for x, y in zip(a, b, strict=True)]).sum()


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.detach().double().reshape(-1) for part in parts])


def _like(flat: Tensor, params: object) -> Direction:
    found, start = [], 0
    for param in params:  # type: ignore[attr-defined]
        stop = start + param.numel()
        found.append(flat[start:stop].view(param.shape).to(param.dtype))
        start = stop
    return found
