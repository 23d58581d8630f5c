"""What a training does beside plain steps: augmentation, precision, smoothing, averages."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from heatgrad.optim import LinearDiffusionDecay
from heatgrad.training.augment import Augment
from heatgrad.training.losses import Loss
from heatgrad.training.objective import Objective, value_of
from heatgrad.training.processes import ALONE, Processes

__all__ = ["Precision", "Recipe"]

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Recipe:
    """What a training does beside plain steps; as it stands here, nothing.

    Attributes:
        augment: Changes the images of a batch at random, or None.
        label_smoothing: Share of the label's probability that goes to all classes alike, while
            training, in [0, 1) [1].
        precision: `"bfloat16"`: products and convolutions under autocast; weights, losses and steps
            stay in float32.
        accumulate: Parts that a batch goes through the network in, one after the other; the
            gradient is that of the whole batch, but batch normalisation sees a part at a time.
        average: Decay of the exponential average of the weights and of batch statistics over steps,
            by which the network is scored and which it ends with, in [0, 1); 0 for none [1].
        average_warmup: Whether that decay begins small, as (1 + n) / (10 + n) after n steps, so
            that the average forgets the first weights soon.
        diffusion_decay: Whether the optimizer's diffusion, if it has one, falls linearly to zero in
            the last epoch.
        compile: Whether the network goes through `torch.compile` first, which takes a minute or
            more at the start and rounds otherwise.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> Recipe(label_smoothing=0.1).accumulate
        1

    References:
        [Sun] appendix D for the decay, Eq. (V.13).
    """

    augment: Augment | None = None
    label_smoothing: float = 0.0
    precision: Precision = "float32"
    accumulate: int = 1
    average: float = 0.0
    diffusion_decay: bool = False
    compile: bool = False
    average_warmup: bool = False

    def __post_init__(self) -> None:
        for name in ("label_smoothing", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)!r}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be float32 or bfloat16, got {self.precision!r}")
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {self.accumulate!r}")
        if self.average_warmup and self.average == 0:
            raise ValueError(
                "average_warmup needs an average of weights, got average = 0; give average = 0.999"
            )

    def training_loss(self, loss: Loss | Objective) -> Loss | Objective:
        """Return the loss that is trained by.

        Raises:
            ValueError: If labels are smoothed and the loss is not torch's cross entropy.
        """
        if self.label_smoothing == 0:
            return loss
        if loss is not F.cross_entropy:
            raise ValueError("label_smoothing needs loss 'cross_entropy', got another")
        return partial(F.cross_entropy, label_smoothing=self.label_smoothing)

    def averaged(self, model: nn.Module) -> AveragedModel | None:
        """Return the running average of a network, if there is to be one."""
        if self.average == 0:
            return None
        step = partial(_averaged_, self.average, self.average_warmup)
        return AveragedModel(model, multi_avg_fn=step, use_buffers=True)

    def decay(self, optimizer: Optimizer, epochs: int) -> LinearDiffusionDecay | None:
        """Return the schedule of the diffusion, if there is to be one; stepped once an epoch."""
        has_any = any("diffusion" in group for group in optimizer.param_groups)
        if not self.diffusion_decay or not has_any:
            return None
        return LinearDiffusionDecay(optimizer, max(1, epochs - 1))

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """Return the context in which the network is called."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    def parts(
        self, x: Tensor, y: Tensor, *, least: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a batch in as many parts as it is taken in, of two examples at least.

        Args:
            x: Inputs.
            y: Labels.
            least: Examples in the process that has the fewest, of several: all take as many parts.
        """
        count = max(1, min(self.accumulate, (len(y) if least is None else least) // 2))
        yield from zip(x.tensor_split(count), y.tensor_split(count), strict=True)

    def gradient(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        loss: Loss | Objective,
        *,
        processes: Processes = ALONE,
        of: int | None = None,
    ) -> float:
        """Add the gradient of a batch's loss to the parameters' and return the loss.

        A loss that is not finite ends it; no gradient is made of that part.

        Args:
            model: What is called.
            x: Inputs.
            y: Labels.
            loss: Mean loss of a batch, or an objective.
            processes: Over which gradients become means.
            of: Examples of the batch in all processes; by default those given.
        """
        share = (of or len(y)) / processes.size  # of the batch, in a process
        total = 0.0
        for inputs, labels in self.parts(x, y, least=int(share)):
            with self.autocast(x.device):
                value = value_of(loss, model, inputs, labels)
            if len(labels) != share:
                value = value * (len(labels) / share)
            total += processes.mean(float(value.detach()))
            if not math.isfinite(total):
                return total
            value.backward()  # type: ignore[no-untyped-call]
        return total


@torch.no_grad()
def _averaged_(
    decay: float,
    has_warmup: bool,
    averages: list[Tensor],
    values: list[Tensor],
    count: Tensor | int,
) -> None:
    """Move averages of one dtype and device toward values, after `count` steps."""
    if has_warmup:
        num = int(count)
        decay = min(decay, (1 + num) / (10 + num))
    step = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    step(averages, values, count)
