"""The loss along the straight line between two networks, and its barrier."""

import copy
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from heatgrad.landscape.along import losses_along
from heatgrad.landscape.barrier import LossPath
from heatgrad.landscape.norms import batch_norms, inputs_for
from heatgrad.landscape.objective import Objective, check_repeatable, objective_of, quiet

__all__ = ["PathStatistics", "check_alike", "copied", "interpolate"]

PathStatistics = Literal["recalibrate", "lerp", "frozen"]


def interpolate(
    model_a: nn.Module,
    model_b: nn.Module,
    loss: Objective | Callable[[nn.Module], Tensor],
    *,
    points: int = 25,
    refine: bool = True,
    statistics: PathStatistics = "recalibrate",
    recalibrate_on: Iterable[Tensor] | None = None,
    dropout: bool = False,
    seed: int = 0,
) -> LossPath:
    r"""Return the loss along $\theta(\alpha) = (1 - \alpha)\, \theta_A + \alpha\, \theta_B$.

    Both networks are left as they are. Dropout is off in what is measured.

    The statistics of batch normalisation belong to weights: those of one end are wrong elsewhere,
    and at the other end most of all. So they are estimated anew at every point, the ends included,
    unless another way is asked for: `"lerp"` interpolates them, `"frozen"` keeps the first
    network's; both are there to show what they do.

    Args:
        model_a: The network at α = 0.
        model_b: The network at α = 1, of the same architecture.
        loss: A `DataLoss`, or a function that takes a network and returns a scalar.
        points: Places on the path, evenly spaced, at least 2.
        refine: Whether the top of the path is looked for between places, by golden sections.
        statistics: `"recalibrate"`, `"lerp"` or `"frozen"`.
        recalibrate_on: Batches of inputs to estimate by; those of a `DataLoss`, unless given.
        dropout: Whether dropout is on while statistics are estimated.
        seed: Of its masks, the same at every place.

    Raises:
        ValueError: If the networks differ in architecture or one lacks running statistics, a
            number is out of range, or the loss is not the same when asked twice.

    References:
        [Ray] figure 4; Entezari et al. (2022); Jordan et al. (2023) on the statistics. Theory page:
        Eq. (G.1).

    Example:
        >>> a, b = (torch.nn.Linear(1, 1, bias=False).double() for _ in range(2))
        >>> a.weight.data.fill_(-1.0), b.weight.data.fill_(1.0)
        (tensor([[-1.]], dtype=torch.float64), tensor([[1.]], dtype=torch.float64))
        >>> path = interpolate(a, b, lambda m: (m.weight**2 - 1).square().sum())
        >>> round(path.barrier, 6), round(path.top, 6)
        (1.0, 0.5)
    """
    if statistics not in ("recalibrate", "lerp", "frozen"):
        raise ValueError(f"statistics must be one of recalibrate, lerp, frozen, got {statistics!r}")
    check_alike(model_a, model_b)
    objective = objective_of(loss)
    with quiet(copied(model_a)) as walker:
        inputs = inputs_for(objective, walker, statistics, recalibrate_on)
        check_repeatable(objective, walker)
        line = _Line(walker, model_a, model_b, with_statistics=statistics == "lerp")
        return losses_along(
            walker,
            line.go,
            objective,
            inputs,
            points=points,
            refine=refine,
            dropout=dropout,
            seed=seed,
            statistics="frozen" if inputs is None and statistics == "recalibrate" else statistics,
        )


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a network.

    Raises:
        ValueError: If it holds what cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"the network must be one that copy.deepcopy copies, got {type(error).__name__}; take "
            f"stored activations and open files out of it"
        ) from error


def check_alike(model_a: nn.Module, model_b: nn.Module) -> None:
    """Refuse two networks that have not the same parameters and buffers.

    Raises:
        ValueError: With the first that differs.
    """
    a, b = (
        {name: _shown(tuple(t.shape), t.dtype) for name, t in m.state_dict().items()}
        for m in (model_a, model_b)
    )
    tied = [{name for name, _ in m.named_parameters()} for m in (model_a, model_b)]
    if len(batch_norms(model_a)) != len(batch_norms(model_b)):
        raise ValueError(
            f"both networks must keep running statistics in the same layers, got "
            f"{len(batch_norms(model_a))} and {len(batch_norms(model_b))} such layers; set "
            f"track_running_stats alike"
        )
    _check_same(a, b)
    _check_same(*({n: _layer(m) for n, m in x.named_modules()} for x in (model_a, model_b)))
    if tied[0] != tied[1]:
        name = sorted(tied[0] ^ tied[1])[0]
        raise ValueError(f"both networks must share the same parameters, got '{name}' tied in one")
    _check_buffers(model_a, model_b)


def _shown(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"shape {shape} of {str(dtype).removeprefix('torch.')}"


def _check_same(a: dict[str, str], b: dict[str, str]) -> None:
    """Refuse two networks of which something is said differently, by its name."""
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            raise ValueError(
                f"both networks must have one architecture, got {a.get(name, 'none')} and "
                f"{b.get(name, 'none')} for '{name or 'the network'}'"
            )


def _layer(module: nn.Module) -> str:
    """Return what a module is and, but for dropout, how it was made."""
    kind = type(module)
    if isinstance(module, _BatchNorm):
        return f"{kind.__name__}(eps={module.eps:g})"
    if "Dropout" in kind.__name__ or any(module.children()):
        return kind.__qualname__
    return f"{kind.__qualname__}({module.extra_repr()})"


def _check_buffers(model_a: nn.Module, model_b: nn.Module) -> None:
    """Refuse two networks of which one knows numbers that no path leads to."""
    norms = [*batch_norms(model_a), *batch_norms(model_b)]
    own = {id(buffer) for layer in norms for buffer in layer.buffers()}
    others = dict(model_b.named_buffers())
    for name, buffer in model_a.named_buffers():
        if id(buffer) not in own and not torch.equal(buffer, others[name]):
            raise ValueError(
                f"buffers other than batch norm's must be the same in both networks, got different "
                f"ones for '{name}'"
            )


class _Line:
    """Puts a network at the points of a line."""

    def __init__(
        self, walker: nn.Module, a: nn.Module, b: nn.Module, *, with_statistics: bool
    ) -> None:
        self._with_statistics = with_statistics
        self._params = _triples(*(_named(m.named_parameters()) for m in (walker, a, b)))
        self._buffers = _triples(*(_named(m.named_buffers()) for m in (walker, a, b)))

    def go(self, alpha: float) -> None:
        """Go to a point; counters stay, since they count."""
        for own, a, b in self._params:
            own.copy_(a if alpha == 0 else b if alpha == 1 else torch.lerp(a, b, alpha))
        for own, a, b in self._buffers if self._with_statistics else ():
            if own.is_floating_point():
                own.copy_(torch.lerp(a, b, alpha))


def _named(pairs: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return dict(pairs)


def _triples(
    walker: dict[str, Tensor], a: dict[str, Tensor], b: dict[str, Tensor]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    return [
        (own, a[name].detach().clone(), b[name].detach().clone()) for name, own in walker.items()
    ]
