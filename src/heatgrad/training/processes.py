"""One training on several processes, as `torchrun` starts them."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from heatgrad.core.errors import SpecError
from heatgrad.optim.sharded import is_sharded

__all__ = [
    "ALONE",
    "Parallel",
    "Processes",
    "cut_like",
    "is_cut",
    "joined",
    "optimizer_state",
    "sharded",
    "whole",
]

Parallel = Literal["ddp", "fsdp"]

_UNIT = 1_000_000  # parameters of a child that is gathered by itself


class Processes:
    """The processes of one training, seen from one of them; here a single one.

    Attributes:
        rank: Number of this process, from 0; the first writes the files.
        size: How many there are.
    """

    rank, size = 0, 1

    def share(self, batch: Tensor) -> Tensor:
        """Return this process's part of a batch, a first axis of examples; parts differ by one."""
        return batch

    def mean(self, value: float) -> float:
        """Return the mean of a number over the processes, the same in all."""
        return value

    def forward_of(self, model: nn.Module) -> nn.Module:
        """Return what is called in place of the network, so that gradients are means over all."""
        return model

    def agree(self, model: nn.Module) -> None:
        """Make the batch statistics of a network their means over the processes."""

    def wait(self) -> None:
        """Wait until all processes are here."""


ALONE = Processes()


class _Group(Processes):
    """The processes of the default group of `torch.distributed`."""

    def __init__(self, device: torch.device) -> None:
        import torch.distributed as dist

        self.rank, self.size, self._dist = dist.get_rank(), dist.get_world_size(), dist
        self._device = device

    def share(self, batch: Tensor) -> Tensor:
        return batch.tensor_split(self.size)[self.rank]

    def mean(self, value: float) -> float:
        total = torch.tensor(value, dtype=torch.float64, device=self._device)
        self._dist.all_reduce(total)
        return total.item() / self.size

    def forward_of(self, model: nn.Module) -> nn.Module:
        if is_cut(model):
            return model  # FSDP2 has its own hooks
        with warnings.catch_warnings():
            # PyTorch renames the option; both names do the same here.
            warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
            # Statistics of batches are each process's own until all agree at an epoch's end.
            return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)

    @torch.no_grad()
    def agree(self, model: nn.Module) -> None:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                self._dist.all_reduce(buffer)
                buffer.div_(self.size)

    def wait(self) -> None:
        self._dist.barrier()


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that `torchrun` has started, for as long as this lasts.

    Args:
        device: `"cpu"` (they talk through gloo) or `"cuda"`, of which each takes its own (NCCL).

    Yields:
        They, or `ALONE` where this process was started by itself.

    Raises:
        SpecError: If `WORLD_SIZE` asks for several, and they cannot meet, or share a GPU.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    import torch.distributed as dist

    was_there = dist.is_initialized()
    if not was_there:
        _check_started()
    place = torch.device(device)
    if place.type == "cuda":
        place = torch.device("cuda", _own_gpu())
        torch.cuda.set_device(place)
    if not was_there:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield _Group(place)
    finally:
        if not was_there:
            dist.destroy_process_group()


def _check_started() -> None:
    """Refuse what `init_process_group` would wait for, or end with a traceback."""
    size, rank = _number("WORLD_SIZE"), _number("RANK")
    if not 0 <= rank < size:
        raise _not_started(f"got RANK {rank} of WORLD_SIZE {size}")
    if not os.environ.get("MASTER_ADDR"):
        raise _not_started("got no MASTER_ADDR")
    _number("MASTER_PORT")


def _own_gpu() -> int:
    """Return the number of this process's GPU."""
    number, count = _number("LOCAL_RANK"), torch.cuda.device_count()
    if not 0 <= number < count:
        raise _not_started(
            f"got LOCAL_RANK {number} where {count} are seen",
            required="a GPU for each",
            remedy=f"start {count} a machine with torchrun --nproc-per-node {count}",
        )
    return number


def _number(name: str) -> int:
    value = os.environ.get(name)
    try:
        return int(value or "")
    except ValueError:
        what = f"no {name}" if value is None else f"{name} '{value}'"
        raise _not_started(f"got {what}") from None


def _not_started(
    received: str,
    *,
    required: str = "what torchrun sets",
    remedy: str = "start them with torchrun",
) -> SpecError:
    return SpecError(
        f"WORLD_SIZE is set, so several processes train together, which needs {required}, "
        f"{received}; {remedy}, or unset WORLD_SIZE to train in one"
    )


def sharded(model: nn.Module) -> nn.Module:
    """Return a network with its parameters cut over the processes by FSDP2."""
    from torch.distributed.fsdp import fully_shard

    for param in model.parameters():  # FSDP2 takes no other layout
        param.data = param.data.contiguous()
    for child in model.children():
        if sum(param.numel() for param in child.parameters()) >= _UNIT:
            fully_shard(child)
    fully_shard(model)
    return model


def is_cut(model: nn.Module) -> bool:
    """Whether parameters of a network are cut over processes."""
    return any(map(is_sharded, model.parameters()))


def whole(values: Any) -> Any:
    """Return nested values with every tensor that is cut over processes made whole, in all."""
    return tree_map(lambda x: x.full_tensor() if is_sharded(x) else x, values)


def cut_like(values: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return whole tensors by name, cut over the processes as others of the same names are."""
    return {name: _cut(value, own.get(name)) for name, value in values.items()}


def optimizer_state(state: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimizer's whole state with its tensors cut as their parameters are."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    owners = dict(zip(numbers, params, strict=True))
    kept = {
        number: {name: _cut(value, owners[number]) for name, value in of_param.items()}
        for number, of_param in state["state"].items()
    }
    return {**state, "state": kept}


def _cut(value: Any, like: Any) -> Any:
    if not is_sharded(like) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
