"""One network's hidden units put into the order of another's."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from heatgrad.landscape.gauge import Weights, without_scales
from heatgrad.landscape.path import check_alike, copied
from heatgrad.landscape.units import Place, Units, units_of

__all__ = ["Alignment", "align"]

Order = NDArray[np.int64]
_MOST_SWEEPS = 100


@dataclass(frozen=True)
class Alignment:
    """A network with its hidden units in the order of another's.

    Attributes:
        model: The second network, reordered: the same function.
        orders: For each group of units that may change places, which unit of the second network
            stands at each place, shape (units,).
        before: Cosine between both networks' weights, their scales taken out [1].
        after: The same once they are aligned.
    """

    model: nn.Module
    orders: tuple[Int[np.ndarray, " units"], ...]
    before: float
    after: float

    @property
    def num_moved(self) -> int:
        """Number of units that changed places."""
        return sum(int((order != np.arange(len(order))).sum()) for order in self.orders)


def align(
    model_a: nn.Module,
    model_b: nn.Module,
    *,
    tries: int = 5,
    seed: int = 0,
    inputs: Tensor | None = None,
) -> Alignment:
    r"""Return the second network with its hidden units in the order that suits the first best.

    $$\max_{P}\; \sum_l \langle \hat W^A_l,\, P_l \hat W^B_l P_{l-1}^{\mathsf T} \rangle \tag{G.4}$$

    over permutations of hidden units, one group after another, each by an assignment that is
    exact given the others (weight matching). The hats take out the scale of each unit that
    ReLU or batch normalisation would undo, so that a network cannot look foreign by its scales.
    The search is a heuristic: what comes out is at least as alike as the networks were, and a
    barrier that remains is an upper bound of the smallest.

    Args:
        model_a: The network that gives the order; it is left as it is.
        model_b: The network that is reordered in a copy, of the same architecture: linear layers,
            convolutions, batch norm, pointwise functions, poolings, sums.
        tries: Starts of the search, at least 1: layer by layer from the inputs, then the order as
            it is, then random ones.
        seed: Of random orders.
        inputs: A batch on which the copy is compared with the original; give one where you can:
            which axis of a tensor holds the units is read from the kinds of layers alone.

    Raises:
        ValueError: If the networks differ in architecture, or have layers that are not known.
        RuntimeError: If the copy is not the same function of `inputs`.

    References:
        Ainsworth, Hayase and Srinivasa (2023). Theory page: Eq. (G.4).

    Example:
        >>> a = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> b = copy.deepcopy(a)
        >>> b[0].weight.data, b[0].bias.data = a[0].weight[[2, 0, 1]], a[0].bias[[2, 0, 1]]
        >>> b[2].weight.data = a[2].weight[:, [2, 0, 1]]
        >>> torch.equal(align(a, b).model[0].weight, a[0].weight)
        True
    """
    if tries < 1:
        raise ValueError(f"tries must be at least 1, got {tries}")
    check_alike(model_a, model_b)
    every = [name for name, _ in model_a.named_parameters(remove_duplicate=False)]
    if len(every) > sum(1 for _ in model_a.named_parameters()):
        raise ValueError("networks to be aligned must not share parameters between layers")
    groups, factors = units_of(model_a)
    a, b = (without_scales(model, factors) for model in (model_a, model_b))
    match = _Match(groups, a, b)
    rng = np.random.default_rng(seed)
    as_they_are = [np.arange(group.size) for group in groups]
    before = match.cosine(as_they_are)
    found = [as_they_are]
    for attempt in range(tries):
        if attempt == 0:
            start = match.layer_by_layer()
        elif attempt == 1:
            start = as_they_are
        else:
            start = [rng.permutation(group.size) for group in groups]
        found.append(match.improved(start, rng))
    best = max(found, key=match.cosine)
    model = copied(model_b)
    _reorder(model, groups, best)
    if inputs is not None:
        _check_same(model_b, model, inputs)
    return Alignment(model, tuple(best), before, match.cosine(best))


class _Match:
    """How alike two networks are under orders of the second's units."""

    def __init__(self, groups: Sequence[Units], a: Weights, b: Weights) -> None:
        self._groups, self._a, self._b = groups, a, b
        self._axes: dict[str, list[tuple[int, Place]]] = {name: [] for name in a}
        for number, group in enumerate(groups):
            for place in group.places:
                if place.name in a:
                    self._axes[place.name].append((number, place))
        self._size = float(np.sqrt(np.prod([sum(_square(t) for t in w.values()) for w in (a, b)])))

    def cosine(self, orders: Sequence[Order]) -> float:
        """Return the cosine between the first network and the second, reordered."""
        inner = sum(float((a * self._reordered(name, orders)).sum()) for name, a in self._a.items())
        return inner / self._size if self._size else 1.0

    def layer_by_layer(self) -> list[Order]:
        """Return orders found from the inputs on, each by tensors whose other axes are known."""
        known: dict[int, Order] = {}
        for number in self._from_the_inputs():
            names = [
                name
                for name, axes in self._axes.items()
                if any(n == number for n, _ in axes)
                and all(n == number or n in known for n, _ in axes)
                and sum(n == number for n, _ in axes) == 1
            ]
            orders = [known.get(n, np.arange(g.size)) for n, g in enumerate(self._groups)]
            known[number] = _assigned(self._likeness(number, orders, names))
        return [known[n] for n in range(len(self._groups))]

    def improved(self, start: Sequence[Order], rng: np.random.Generator) -> list[Order]:
        """Return orders that no single group's change makes better."""
        orders = list(start)
        best = self.cosine(orders)
        for _ in range(_MOST_SWEEPS):
            before = best
            for number in rng.permutation(len(orders)):
                order = _assigned(self._likeness(number, orders, list(self._axes)))
                candidate = [*orders[:number], order, *orders[number + 1 :]]
                if (value := self.cosine(candidate)) > best:
                    orders, best = candidate, value
            if best <= before + 1e-12:
                break
        return orders

    def _from_the_inputs(self) -> Iterator[int]:
        """Yield the groups, first those that a tensor ties to none but what came before."""
        left, known = list(range(len(self._groups))), set[int]()
        while left:
            ready = [
                n
                for n in left
                if any(
                    place.axis == 0 and all(m == n or m in known for m, _ in self._axes[place.name])
                    for place in self._groups[n].places
                    if place.name in self._axes and self._a[place.name].dim() >= 2
                )
            ]
            chosen = ready[0] if ready else left[0]
            known.add(chosen)
            left.remove(chosen)
            yield chosen

    def _likeness(
        self, number: int, orders: Sequence[Order], names: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return the inner product of each unit of the first network with each of the second."""
        size = self._groups[number].size
        total = torch.zeros(size, size, dtype=torch.float64)
        for name in names:
            for n, place in self._axes[name]:
                if n == number:
                    b = self._reordered(name, orders, but=place)
                    total += _by_unit(self._a[name], place, size) @ _by_unit(b, place, size).T
        return total.numpy()

    def _reordered(self, name: str, orders: Sequence[Order], but: Place | None = None) -> Tensor:
        tensor = self._b[name]
        for number, place in self._axes[name]:
            if place != but:
                tensor = tensor.index_select(place.axis, _entries(orders[number], place.repeat))
        return tensor


def _by_unit(tensor: Tensor, place: Place, size: int) -> Tensor:
    return tensor.movedim(place.axis, 0).reshape(size, -1)


def _assigned(likeness: NDArray[np.float64]) -> Order:
    return np.asarray(linear_sum_assignment(likeness, maximize=True)[1])


def _entries(order: Order, repeat: int) -> Tensor:
    first = torch.from_numpy(order) * repeat
    return (first[:, None] + torch.arange(repeat)).reshape(-1)


@torch.no_grad()
def _reorder(model: nn.Module, groups: Sequence[Units], orders: Sequence[Order]) -> None:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for group, order in zip(groups, orders, strict=True):
        for place in group.places:
            tensor = tensors[place.name]
            chosen = _entries(order, place.repeat).to(tensor.device)
            tensor.copy_(tensor.index_select(place.axis, chosen))


@torch.no_grad()
def _check_same(before: nn.Module, after: nn.Module, inputs: Tensor) -> None:
    old, new = (copy.deepcopy(model).eval()(inputs) for model in (before, after))
    tolerance = 1e3 * torch.finfo(old.dtype).eps * float(old.abs().max())
    if (apart := float((old - new).abs().max())) > tolerance:
        raise RuntimeError(
            f"a reordered network must be the same function, got outputs {apart:.3g} apart; its "
            f"layers are joined in a way that torch.fx does not show"
        )


def _square(tensor: Tensor) -> float:
    return float(tensor.square().sum())
