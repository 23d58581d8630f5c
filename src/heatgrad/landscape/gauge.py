"""Weights without the scales that the network's function does not show."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from heatgrad.landscape.units import Factor

__all__ = ["Weights", "without_scales"]

Weights = dict[str, Tensor]


def without_scales(model: nn.Module, factors: Sequence[Factor]) -> Weights:
    """Return a network's parameters, with each unit of length 1 where its scale has no effect.

    What a unit's rows lose, the columns that read it gain; in front of batch normalisation nothing
    needs to, and a shift goes too.

    Args:
        model: The network; it is left as it is.
        factors: The scales of its units, from the inputs on, as `units_of` finds them.

    Returns:
        Copies of all parameters, float64, on the CPU.
    """
    weights = {n: p.detach().to("cpu", torch.float64).clone() for n, p in model.named_parameters()}
    for factor in factors:
        if not factor.is_free or any(name not in weights for name in factor.rows):
            continue
        rows = [weights[name] for name in factor.rows]
        if factor.is_normed and not factor.columns:
            for shift in rows[1:]:
                shift.zero_()
        flat = torch.cat([row.reshape(len(row), -1) for row in rows], 1)
        lengths = torch.linalg.vector_norm(flat, dim=1)
        lengths = torch.where(lengths > 0, lengths, torch.ones_like(lengths))
        for row in rows:
            row /= lengths.view(-1, *[1] * (row.dim() - 1))
        for place in factor.columns:
            tensor = weights[place.name]
            shape = [1] * tensor.dim()
            shape[place.axis] = -1
            tensor *= lengths.repeat_interleave(place.repeat).view(shape)
    return weights
