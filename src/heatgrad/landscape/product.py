"""Products of the Hessian with vectors, over a whole data set."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from heatgrad.landscape.objective import Objective, moved_params

__all__ = ["HessianProduct"]


class HessianProduct:
    r"""The map $v \mapsto \nabla^2 L(\theta)\, v$, exact but for rounding, one term at a time.

    Args:
        model: The network, in the mode in which it is to be measured.
        objective: Its loss L.
        params: Parameters θ that the Hessian is of; all that require gradients, unless given.

    Raises:
        ValueError: If there is no such parameter.
    """

    def __init__(
        self, model: nn.Module, objective: Objective, params: Sequence[Tensor] | None = None
    ) -> None:
        self.params: list[Tensor] = [*(moved_params(model) if params is None else params)]
        if not self.params:
            raise ValueError("params must hold at least one tensor, got none")
        self._model, self._objective = model, objective
        self.size = sum(p.numel() for p in self.params)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the products.

        Args:
            vectors: Rows v, shape (count, size).

        Returns:
            Rows of the same shape.
        """
        total = torch.zeros_like(vectors)
        for term in self._objective.terms(self._model):
            grads = torch.autograd.grad(
                term, self.params, create_graph=True, allow_unused=True, materialize_grads=True
            )
            flat = torch.cat([grad.reshape(-1) for grad in grads])
            if not flat.requires_grad:  # linear in all parameters
                continue
            for row, vector in enumerate(vectors):
                rows = torch.autograd.grad(
                    flat,
                    self.params,
                    vector.to(flat.dtype),
                    retain_graph=row + 1 < len(vectors),
                    allow_unused=True,
                    materialize_grads=True,
                )
                total[row] += torch.cat([part.reshape(-1) for part in rows])
        return total
