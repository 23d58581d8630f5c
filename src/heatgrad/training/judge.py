"""A small classifier of a data set, trained once and kept, that judges samples."""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from heatgrad.core.errors import StoreError
from heatgrad.data import Dataset
from heatgrad.models import SimpleCNN
from heatgrad.training.checkpoint import weights_of
from heatgrad.training.loop import Training, initialised

__all__ = ["Judge", "kept_judge", "train_judge"]

_FEATURES = 32  # few, so that a covariance of some hundred samples means something
_LEAST_STEPS, _LEAST_EPOCHS, _BATCH = 1350, 3, 128


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier of a data set, which tells the class of samples and gives their features.

    Attributes:
        model: The network, in evaluation mode.

    Example:
        >>> judge = Judge(SimpleCNN((1, 8, 8), 10, hidden=32).eval())
        >>> labels, features = judge.looks_at(torch.zeros(3, 1, 8, 8))
        >>> labels.shape, features.shape, features.dtype
        (torch.Size([3]), torch.Size([3, 32]), torch.float64)
    """

    model: SimpleCNN

    @torch.no_grad()
    def looks_at(
        self, x: Float[Tensor, "n *shape"], *, batch_size: int = 2048
    ) -> tuple[Int64[Tensor, " n"], Float[Tensor, "n features"]]:
        """Return the class of each image, and the hidden layer of the head, in float64.

        Args:
            x: Images, as the data set has them [data].
            batch_size: Images a call.
        """
        hidden, last = self.model.head[:2], self.model.head[-1]
        labels, features = [], []
        for part in torch.split(x, batch_size):
            found = hidden(self.model.features(part))
            labels.append(last(found).argmax(dim=1))
            features.append(found.double())
        return torch.cat(labels), torch.cat(features)


def _new_network(dataset: Dataset) -> SimpleCNN:
    return SimpleCNN(dataset.input_shape, dataset.num_classes, hidden=_FEATURES, dropout=0.0)


def train_judge(
    dataset: Dataset,
    *,
    seed: int = 0,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Judge:
    """Train the classifier that judges samples: seconds for small data, a minute for MNIST.

    Args:
        dataset: Of images.
        seed: Of initial weights and order.
        on_step: Called after each step with the examples that are done, and all.

    Raises:
        ValueError: If the data are no images of 4 by 4 pixels at least.
    """
    build: Callable[[], nn.Module] = lambda: _new_network(dataset)  # noqa: E731
    model = initialised(build, seed=seed).to(dataset.x_train.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(model, SimpleCNN)
    count = len(dataset.y_train)
    batch_size = min(_BATCH, max(2, count // 16))
    epochs = max(_LEAST_EPOCHS, math.ceil(_LEAST_STEPS * batch_size / count))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    training = Training(
        model,
        optimizer,
        dataset,
        loss=F.cross_entropy,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
    )
    done = 0

    def told(examples: int) -> None:
        nonlocal done
        done += examples
        on_step(done, epochs * count)

    for _ in training.records(on_step=told):
        pass
    return Judge(model.eval())


def kept_judge(
    place: Path,
    dataset: Dataset,
    identity: str,
    *,
    seed: int = 0,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Judge:
    """Return the classifier that a file keeps, or train it and keep it there.

    A folder that cannot be written is no obstacle: then it is trained the next time again.

    Args:
        place: A safetensors file.
        dataset: As for `train_judge`.
        identity: Of the data set; a file of another is written anew.
        seed: As for `train_judge`.
        on_step: As for `train_judge`.

    Raises:
        StoreError: If the file is damaged, or none of ours.
    """
    mark = {"heatgrad": "judge", "identity": f"{identity} {seed} {_FEATURES}"}
    weights = _read(place, mark)
    if weights is None:
        judge = train_judge(dataset, seed=seed, on_step=on_step)
        _write(place, judge.model, mark)
        return judge
    model = _new_network(dataset)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise _foreign(place) from error
    return Judge(model.to(dataset.x_train.device).eval())


def _read(place: Path, mark: Mapping[str, str]) -> dict[str, Tensor] | None:
    """Return the weights in a file; None if it is not there, or a judge of something else."""
    if not place.exists():
        return None
    try:
        with safe_open(place, framework="pt") as file:
            found = file.metadata() or {}
        if found.get("heatgrad") != "judge":
            raise _foreign(place)
        weights: dict[str, Tensor] | None = load_file(place) if found == mark else None
    except (OSError, SafetensorError) as error:
        raise _foreign(place) from error
    return weights


def _write(place: Path, model: nn.Module, mark: Mapping[str, str]) -> None:
    fresh = place.with_name(f"{place.name}.unfinished")
    try:
        save_file(weights_of(model), fresh, metadata=dict(mark))
        fresh.replace(place)
    except (OSError, SafetensorError):
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def _foreign(place: Path) -> StoreError:
    return StoreError(
        f"'{place}' is damaged, or no classifier that heatgrad keeps; move it away, and it is "
        f"trained again"
    )
