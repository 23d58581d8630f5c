"""A trained denoiser of images, and what its training says about how it may be used."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from heatgrad.core.errors import SpecError
from heatgrad.diffusion import sigmas_of
from heatgrad.study.losses import make_loss
from heatgrad.study.trained import TrainedModel, trained_model

__all__ = ["TrainedDenoiser", "trained_denoiser"]

_WEIGHTS = "weights.safetensors"
_WIDTH = 4.0  # deviations of the logarithm of a level that a network is used within
# Of networks whose loss does not say: those of EDM, for data of deviation 1/2.
_LOW, _HIGH = 0.002 / 0.5, 80 / 0.5


@dataclass(frozen=True, eq=False)
class TrainedDenoiser:
    """A denoiser that a training has left.

    Attributes:
        trained: The network and its training.
        folder: Of the training.
        num_classes: Number of classes that it can be told, or None.
        drop_label: Share of the labels that were not told in training; NaN where the loss does
            not say [1].
        sigma_min: The lowest level that it is used at [data].
        sigma_max: The highest [data].
        chain: Shares of variance of the chain that it was trained on, or None.
    """

    trained: TrainedModel
    folder: Path
    num_classes: int | None
    drop_label: float
    sigma_min: float
    sigma_max: float
    chain: Tensor | None

    @property
    def model(self) -> nn.Module:
        """The network, in evaluation mode."""
        return self.trained.model

    @property
    def sigma_data(self) -> float:
        """Deviation of the data that it was built for [data]."""
        model: Any = self.trained.model
        return float(model.sigma_data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what it denoises: an image, or a latent."""
        return tuple(getattr(self.model, "latent_shape", self.trained.input_shape))


def trained_denoiser(run: str | Path, *, device: str = "cpu") -> TrainedDenoiser:
    """Return the denoiser of a training.

    It is used within the levels that it was trained at: those of its chain, or of a log-normal law
    those within four deviations of its logarithm.

    Args:
        run: The folder of a training, or its file `weights.safetensors`.
        device: Where it is put.

    Raises:
        SpecError: If it is no denoiser of images.
        StoreError: If there is no training, or its files are damaged.
    """
    place = Path(run)
    if place.is_file():
        if place.name != _WEIGHTS:
            raise SpecError(
                f"'{place}' must be the folder of a training, or its file {_WEIGHTS}, got another "
                f"file"
            )
        place = place.parent
    trained = trained_model(place, device=device)
    _check_denoiser(trained, place)
    objective = make_loss(trained.spec.loss)
    drop_label = float(getattr(objective, "drop_label", math.nan))
    told = getattr(trained.model, "num_classes", trained.num_classes)
    chain = getattr(objective, "alpha_bars", None)
    return TrainedDenoiser(
        trained=trained,
        folder=place,
        num_classes=None if drop_label == 1 else told,
        drop_label=drop_label,
        **_range(objective, trained.model),
        chain=chain if isinstance(chain, Tensor) else None,
    )


def _check_denoiser(trained: TrainedModel, place: Path) -> None:
    if not hasattr(trained.model, "sigma_data"):
        raise SpecError(
            f"'{place}' must hold a denoiser, got the network {trained.spec.model.kind} trained "
            f"by {trained.spec.loss.kind}; train one by a loss of diffusion, as heatgrad train "
            f"digits-diffusion does"
        )
    shape = trained.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise SpecError(
            f"'{place}' must hold a denoiser of images of 1 or 3 channels, got one of samples of "
            f"shape {shape}"
        )


def _range(objective: object, model: Any) -> dict[str, float]:
    """Return the levels between which a network was trained."""
    chain = getattr(objective, "alpha_bars", None)
    mean, std = (getattr(objective, name, None) for name in ("log_mean", "log_std"))
    if isinstance(chain, Tensor):
        sigmas = sigmas_of(chain)
        low, high = float(sigmas[0]), float(sigmas[-1])
    elif mean is not None and std is not None:
        low, high = math.exp(mean - _WIDTH * std), math.exp(mean + _WIDTH * std)
    else:
        low, high = _LOW * model.sigma_data, _HIGH * model.sigma_data
    return {"sigma_min": low, "sigma_max": high}
