"""The step of `DiffusionNesterov` next to the cuts of a tensor.

Every process first steps its part as if it were the whole tensor. That is right but for the cells
within two of a cut, where the diffusion looks across. Those are stepped once more, from the values
before the step, inside windows that reach two cells over the cut; one exchange, begun before the
step, brings what other processes hold of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from heatgrad.laplacian import Boundary
from heatgrad.optim.sharded.exchange import Exchange, Index, Pending, Source
from heatgrad.optim.sharded.layout import Layout
from heatgrad.optim.velocity import diffused_nesterov_foreach

__all__ = ["VelocityEdges"]

_REACH = 2  # cells that a velocity travels in a step, Eqs. (V.6) and (V.7)


@dataclass(frozen=True)
class _Window:
    """Cells around a cut.

    Attributes:
        tensor: Its tensor's place in the list.
        shape: Sizes of the window.
        inner: Where in the window the velocity's neighbours and the gradient are needed.
        wanted: The cells to be mended, in the window.
        target: The same cells, in the part that is held here.
        arrivals: Where its gradients and then its velocities begin and end among all values.
    """

    tensor: int
    shape: tuple[int, ...]
    inner: tuple[slice, ...]
    wanted: tuple[slice, ...]
    target: tuple[slice, ...]
    arrivals: tuple[int, int, int]

    def filled(self, values: Tensor, old: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return parameters, gradients and velocities; those that are not needed are zero."""
        start, middle, stop = self.arrivals
        param, grad = (old.new_zeros(self.shape) for _ in range(2))
        param[self.wanted] = old
        grad[self.inner] = values[start:middle].view(grad[self.inner].shape).to(old.dtype)
        return param, grad, values[middle:stop].view(self.shape).to(old.dtype, copy=True)


class VelocityEdges:
    """The cells next to the cuts of some tensors, over one step. All processes do this together."""

    def __init__(
        self,
        layouts: Sequence[Layout | None],
        dims: Sequence[tuple[int, ...]],
        boundaries: Sequence[Boundary],
    ) -> None:
        """Plan, or find the plan again.

        Args:
            layouts: How each tensor is cut.
            dims: Diffused axes of each tensor.
            boundaries: Ends of the axes of each tensor.
        """
        self._dims = dims
        self._windows, self._exchange = _plan(tuple(layouts), tuple(dims), tuple(boundaries))
        self._pending: Pending | None = None
        self._old: list[Tensor] = []

    def begin(
        self,
        params: Sequence[Tensor],
        gradients: Sequence[Source],
        velocities: Sequence[Tensor | None],
    ) -> None:
        """Keep the old values next to the cuts, and ask others for theirs.

        Args:
            params: The parts that are held here, before the step.
            gradients: For each, what gives the decayed gradient at an index of the flattened part.
            velocities: The parts of the velocities, None before the first step.
        """
        if self._exchange is None:
            return
        sources: list[Source] = []
        dtype = params[0].dtype
        for param, gradient, velocity in zip(params, gradients, velocities, strict=True):
            sources += [gradient, _picked(velocity, param)]
            dtype = torch.promote_types(dtype, param.dtype)
        self._pending = self._exchange.start(sources, dtype, params[0].device)
        self._old = [params[w.tensor][w.target].clone() for w in self._windows]

    def mend(
        self,
        params: Sequence[Tensor],
        velocities: Sequence[Tensor | None],
        start: int,
        *,
        lr: float | Tensor,
        momentum: float | Tensor,
        beta: Sequence[float | Tensor],
        boundary: Boundary,
    ) -> None:
        """Put the cells next to the cuts right, after the parts of a group have been stepped.

        Args:
            params: The parts of the group's parameters.
            velocities: The parts of their velocities.
            start: The place of the first of them among all tensors.
            lr: η.
            momentum: γ [1].
            beta: β of each tensor [1].
            boundary: Ends of the axes.
        """
        if self._pending is None:
            return
        values = self._pending.wait()
        mine = [
            (window, old)
            for window, old in zip(self._windows, self._old, strict=True)
            if start <= window.tensor < start + len(params)
        ]
        if not mine:
            return
        places = [window.tensor - start for window, _ in mine]
        cells = [window.filled(values, old) for window, old in mine]
        new_params, grads, new_velocities = (list(x) for x in zip(*cells, strict=True))
        diffused_nesterov_foreach(
            new_params,
            grads,
            new_velocities,
            lr=lr,
            momentum=momentum,
            beta=[beta[k] for k in places],
            dims=[self._dims[k + start] for k in places],
            boundary=boundary,
        )
        for k, (window, _), param, velocity in zip(
            places, mine, new_params, new_velocities, strict=True
        ):
            kept = velocities[k]
            assert kept is not None
            assert velocity is not None
            params[k][window.target] = param[window.wanted]
            kept[window.target] = velocity[window.wanted]


def _picked(velocity: Tensor | None, param: Tensor) -> Source:
    def pick(index: Index) -> Tensor:
        if velocity is None:
            return torch.zeros_like(param.reshape(-1)[index])
        return velocity.reshape(-1)[index]

    return pick


@lru_cache(maxsize=16)
def _plan(
    layouts: tuple[Layout | None, ...],
    dims: tuple[tuple[int, ...], ...],
    boundaries: tuple[Boundary, ...],
) -> tuple[list[_Window], Exchange | None]:
    windows: list[_Window] = []
    # Source 2k is the gradient of tensor k, source 2k + 1 its velocity.
    which, where = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    count = 0
    is_cut = False
    for k, layout in enumerate(layouts):
        axes = [] if layout is None else [axis for axis in dims[k] if axis in layout.cut_axes]
        if layout is None or not axes:
            continue
        is_cut = True
        for box in _boxes(layout, axes, boundaries[k]):
            window, grads, velocities = _window(k, layout, axes, boundaries[k], box, count)
            windows.append(window)
            which += [np.full(len(grads), 2 * k), np.full(len(velocities), 2 * k + 1)]
            where += [grads, velocities]
            count = window.arrivals[-1]
    if not is_cut:  # the same everywhere: nobody waits for messages
        return [], None
    doubled = [layout for layout in layouts for _ in range(2)]
    return windows, Exchange(doubled, np.concatenate(which), np.concatenate(where))


def _boxes(layout: Layout, axes: Sequence[int], boundary: Boundary) -> list[list[tuple[int, int]]]:
    """Return the boxes of cells to be mended: first cell and last, in the whole tensor."""
    first, sizes = layout.box
    if 0 in sizes:
        return []
    whole = [(low, low + n) for low, n in zip(first, sizes, strict=True)]
    boxes = []
    for axis in axes:
        low, high = whole[axis]
        spans = [(low, low + _REACH)] if boundary == "periodic" or low > 0 else []
        if boundary == "periodic" or high < layout.shape[axis]:
            spans.append((high - _REACH, high))
        if high - low <= 2 * _REACH:
            spans = [(low, high)]
        boxes += [[*whole[:axis], span, *whole[axis + 1 :]] for span in spans]
    return boxes


def _window(
    k: int,
    layout: Layout,
    axes: Sequence[int],
    boundary: Boundary,
    box: list[tuple[int, int]],
    start: int,
) -> tuple[_Window, np.ndarray, np.ndarray]:
    """Return a window around a box, and where its gradients and velocities stand in the whole."""
    indices, inner, wanted = [], [], []
    for axis, (low, high) in enumerate(box):
        reach = _REACH if axis in axes else 0
        size = layout.shape[axis]
        index = np.arange(low - reach, high + reach)
        if boundary == "periodic":
            index %= size
        else:
            index = index[(index >= 0) & (index < size)]
        before = reach if boundary == "periodic" else min(low, reach)
        after = len(index) - before - (high - low)
        indices.append(index)
        wanted.append(slice(before, before + high - low))
        near = reach - 1 if reach else 0
        inner.append(slice(max(0, before - near), len(index) - max(0, after - near)))
    shape = tuple(len(index) for index in indices)
    first, _ = layout.box
    target = tuple(
        slice(low - here, high - here) for (low, high), here in zip(box, first, strict=True)
    )
    flat = [
        np.ravel_multi_index(np.meshgrid(*chosen, indexing="ij"), layout.shape).reshape(-1)
        for chosen in (
            [index[near] for index, near in zip(indices, inner, strict=True)],
            indices,
        )
    ]
    arrivals = (start, start + flat[0].size, start + flat[0].size + flat[1].size)
    window = _Window(k, shape, tuple(inner), tuple(wanted), target, arrivals)
    return window, flat[0].astype(np.int64), flat[1].astype(np.int64)
