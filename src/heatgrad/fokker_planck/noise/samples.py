"""Gradients of a network's loss at single samples, in chunks: never all of them at once."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from heatgrad.core.random import own_random_state, stream_seed

__all__ = ["Criterion", "Randomness", "SampleGradients"]

Criterion = Callable[[Tensor, Tensor], Tensor]
Randomness = Literal["off", "different", "same"]


class SampleGradients:
    r"""The gradients $g_i = \nabla \ell(\theta; x_i, y_i)$ of a network as it is now.

    The loss is called with batches of one sample. The network's parameters and buffers are copied,
    so that later passes see the same network; the data are kept in memory. The network itself is
    left as it was: modes, buffers, gradients and random numbers.

    Args:
        model: The network, on the device where the work is done.
        loss: Mean loss of a batch, a function of outputs and targets, such as
            `torch.nn.functional.cross_entropy`.
        data: Inputs and targets as two tensors, or batches of both.
        chunk: Samples whose gradients are taken at once.
        params: Parameters that the gradients are of; all that require gradients, unless given.
        randomness: `"off"` puts all modules into evaluation mode. Otherwise each keeps its own
            mode, and dropout draws a mask for each sample, or the same one for all.
        vectorized: Whether a chunk is taken by `vmap`, or one sample after another, for networks
            that `vmap` cannot take (control flow that depends on data, checkpointing).
        limit: Only the first so many samples; all, unless given.
        seed: Of what dropout draws.

    Attributes:
        num_samples: n.
        num_params: p.
        sizes: Numbers in each parameter tensor.
        dtype: Of the gradients.
        device: Of the gradients.
        chunks: Which samples are in each chunk, in order.

    Raises:
        ValueError: If there are fewer than two samples or no parameters, the network mixes samples,
            the loss is not the mean over a batch or not finite, or `vmap` cannot take the network.

    Example:
        >>> x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [1.0]])
        >>> net = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.ones_(net.weight)
        >>> each = SampleGradients(net, nn.functional.mse_loss, (x, y))
        >>> each.rows(0)[0]  # 2 (theta x - y) x
        tensor([[2.],
                [4.]])
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Criterion,
        data: tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]],
        *,
        chunk: int = 32,
        params: Sequence[Tensor] | None = None,
        randomness: Randomness = "off",
        vectorized: bool = True,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        for name, count in (("chunk", chunk), ("limit", limit)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        if randomness not in ("off", "different", "same"):
            raise ValueError(f"randomness must be 'off', 'different' or 'same', got {randomness!r}")
        self._model, self._loss, self._seed = model, loss, seed
        self.randomness, self._vectorized = randomness, vectorized
        names = _names_of(model, params)
        state = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._moved = {name: state.pop(name) for name in names}
        self._fixed = state | {name: b.detach().clone() for name, b in model.named_buffers()}
        first = next(iter(self._moved.values()))
        self.dtype, self.device = first.dtype, first.device
        self.sizes = [value.numel() for value in self._moved.values()]
        self.num_params = sum(self.sizes)
        parts = [part for batch in _batches_of(data, limit) for part in _split(batch, chunk)]
        self._parts = parts
        ends = list(accumulate((len(x) for x, _ in parts), initial=0))
        self.num_samples = ends[-1]
        self.chunks = [slice(a, b) for a, b in pairwise(ends)]
        if self.num_samples < 2:
            raise ValueError(f"data must hold at least two samples, got {self.num_samples}")
        self._modes = [(m, m.training and randomness != "off") for m in model.modules()]
        _refuse_batch_norm(model, {m for m, mode in self._modes if mode})
        self._check()

    def rows(
        self, chunk: int, tensors: slice = slice(None)
    ) -> tuple[Float[Tensor, "samples part"], Float[Tensor, " samples"]]:
        """Return gradients and losses of one chunk.

        Args:
            chunk: Which one.
            tensors: Of which parameter tensors, in order; all, unless given.

        Returns:
            One row of numbers for each sample, and their losses.

        Raises:
            ValueError: If a loss or gradient is not finite, or `vmap` cannot take the network.
        """
        names = list(self._moved)[tensors]
        x, y = (part.to(self.device) for part in self._parts[chunk])
        moved = {name: self._moved[name] for name in names}
        with self._quiet() as seed_with:
            # The same masks again in each pass; and in each chunk, where all samples share one.
            index = (chunk,) if self.randomness == "different" else ()
            seed_with(stream_seed(self._seed, "noise", *index))
            take = self._at_once if self._vectorized else self._one_by_one
            grads, losses = take(moved, x, y)
        flat = torch.cat([grads[name].reshape(len(x), -1) for name in names], dim=1)
        if not bool(torch.isfinite(losses).all() & torch.isfinite(flat).all()):
            bad = ~torch.isfinite(losses) | ~torch.isfinite(flat).all(1)
            index_of_bad = self.chunks[chunk].start + int(bad.nonzero()[0])
            raise ValueError(
                f"losses and gradients must be finite, got a loss of "
                f"{float(losses[bad][0]):.6g} at sample {index_of_bad} with a gradient that is "
                f"{'' if bool(torch.isfinite(flat[bad][0]).all()) else 'not '}finite"
            )
        return flat, losses

    def _loss_of(self, moved: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        outputs = functional_call(self._model, {**self._fixed, **self._moved, **moved}, (x,))
        value = self._loss(outputs, y)
        if not isinstance(value, Tensor) or value.dim():
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"loss must return the mean loss of a batch, one number, got {got}; take "
                f"reduction='mean'"
            )
        return value

    def _at_once(
        self, moved: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        def one(moved: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return self._loss_of(moved, x.unsqueeze(0), y.unsqueeze(0))

        kind = "error" if self.randomness == "off" else self.randomness
        try:
            found: tuple[dict[str, Tensor], Tensor] = vmap(
                grad_and_value(one), in_dims=(None, 0, 0), randomness=kind
            )(moved, x, y)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            said = str(error).strip().split("\n")[0][:200]
            if "random" in said:
                remedy = "it draws random numbers in evaluation mode: give randomness='different'"
            else:
                remedy = "vectorized=False takes one sample after another"
            raise ValueError(
                f"the network must work under torch.func.vmap, got '{said}'; {remedy}"
            ) from error
        return found

    def _one_by_one(
        self, moved: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        leaves = {name: value.clone().requires_grad_() for name, value in moved.items()}
        grads: dict[str, list[Tensor]] = {name: [] for name in moved}
        losses = []
        start = torch.get_rng_state()
        for one_x, one_y in zip(torch.split(x, 1), torch.split(y, 1), strict=True):
            if self.randomness == "same":
                torch.set_rng_state(start)
            value = self._loss_of(leaves, one_x, one_y)
            losses.append(value.detach())
            found = torch.autograd.grad(
                value, list(leaves.values()), allow_unused=True, materialize_grads=True
            )
            for name, slope in zip(leaves, found, strict=True):
                grads[name].append(slope)
        return {name: torch.stack(rows) for name, rows in grads.items()}, torch.stack(losses)

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[Callable[[int], None]]:
        """Put the modules into their modes, and modes and random numbers back afterwards."""
        before = [(module, module.training) for module, _ in self._modes]
        try:
            for module, mode in self._modes:
                module.training = mode
            with own_random_state(self.device) as seed_with:
                yield seed_with
        finally:
            for module, mode in before:
                module.training = mode

    def _check(self) -> None:
        """Refuse a loss of a batch that is not the mean over its samples."""
        with self._quiet(), torch.no_grad():
            x, y = (part.to(self.device) for part in self._parts[0])
            together = float(self._loss_of(self._moved, x, y))
        each = self.rows(0)[1].double()
        # Rounding apart; dropout, where it is on, makes the two differ rightly.
        allowed = torch.finfo(self.dtype).eps ** 0.5 * (abs(together) + float(each.abs().mean()))
        if self.randomness == "off" and abs(together - float(each.mean())) > allowed:
            raise ValueError(
                f"the loss of a batch must be the mean over its samples, taken one by one, got "
                f"{together:.6g} for {len(x)} together and a mean of {float(each.mean()):.6g}; "
                f"take reduction='mean' without class weights, and no layer that mixes samples"
            )


def _names_of(model: nn.Module, params: Sequence[Tensor] | None) -> list[str]:
    names = {id(p): name for name, p in model.named_parameters()}
    moved = [p for p in model.parameters() if p.requires_grad]
    chosen: list[Tensor] = [*(moved if params is None else params)]
    if not chosen:
        raise ValueError("the network must have a parameter that requires a gradient, got none")
    strangers = [tuple(p.shape) for p in chosen if id(p) not in names]
    if strangers:
        raise ValueError(f"params must be parameters of the network, got others of {strangers}")
    if len({id(p) for p in chosen}) < len(chosen):
        raise ValueError("params must hold each parameter once, got one of them again")
    return [names[id(p)] for p in chosen]


def _batches_of(
    data: tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]], limit: int | None
) -> list[tuple[Tensor, Tensor]]:
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], Tensor):
        data = [data]
    found: list[tuple[Tensor, Tensor]] = []
    left = float("inf") if limit is None else limit
    with torch.random.fork_rng(devices=[]):  # loaders draw from it
        for batch in data:
            is_pair = isinstance(batch, tuple | list) and len(batch) == 2
            if not is_pair or not all(isinstance(part, Tensor) and part.dim() for part in batch):
                raise ValueError(
                    f"data must be inputs and targets as two tensors, or batches of both, got a "
                    f"batch that is a {type(batch).__name__}; wrap a network of other inputs"
                )
            x, y = batch
            if len(x) != len(y):
                raise ValueError(
                    f"data must hold as many targets as inputs, got {len(x)} and {len(y)}"
                )
            take = int(min(len(x), left))
            left -= take
            if take:
                found.append((x[:take], y[:take]))
            if left <= 0:
                break
    return found


def _split(batch: tuple[Tensor, Tensor], chunk: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(*(torch.split(part, chunk) for part in batch), strict=True))


def _refuse_batch_norm(model: nn.Module, training: set[nn.Module]) -> None:
    for name, layer in model.named_modules():
        if not isinstance(layer, _BatchNorm):
            continue
        if layer in training:
            raise ValueError(
                f"batch normalisation must be in evaluation mode, got '{name}' in training mode, "
                f"where it mixes samples and no gradient of one sample exists; call its .eval(), "
                f"or take randomness='off'"
            )
        if layer.running_mean is None:
            raise ValueError(
                f"batch normalisation must keep running statistics, got none in '{name}', which "
                f"therefore mixes samples; make it with track_running_stats=True"
            )
