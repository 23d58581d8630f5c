"""Diffusion in the latents of an autoencoder that is trained already."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from heatgrad.core.errors import StoreError
from heatgrad.core.lookup import lookup
from heatgrad.diffusion.networks.autoencoder import Autoencoder
from heatgrad.diffusion.networks.preconditioning import WithFraction
from heatgrad.diffusion.networks.transformer import DenoisingTransformer
from heatgrad.diffusion.networks.unet import DenoisingUNet

__all__ = ["LatentDenoiser", "trained_autoencoder"]

_INNER: dict[str, type[nn.Module]] = {
    "DenoisingUNet": DenoisingUNet,
    "DenoisingTransformer": DenoisingTransformer,
}


class LatentDenoiser(nn.Module):
    """A denoiser of latents, with the autoencoder that they come from, which is not trained.

    Called, it denoises latents; `encode` and `decode` go from data to latents and back. Its
    weights hold those of the autoencoder.

    Args:
        input_shape: (channels, height, width) of one image.
        num_classes: Number of classes, or None for a network that is never told one.
        autoencoder: An `Autoencoder`; the folder of a training of one, or its file
            `weights.safetensors` there; or the options of one, whose weights are loaded later.
        network: The denoiser: its `kind` and its options, as in a file.
        sigma_data: Standard deviation of the latents [1].
        conditional: Whether it is told the class; false as with `num_classes` None.

    Attributes:
        latent_shape: Shape of one latent.
        autoencoder: The autoencoder, in evaluation mode always.
        network: The denoiser of latents.
        sigma_data: As given.
        is_trained_on_latents: What is asked before it is trained: data are encoded first.
        rebuilt_with: The options that build it without the files that were read.

    Raises:
        StoreError: If there is no trained autoencoder where it should lie.
        ValueError: If the autoencoder is one of other images, or an option is out of range.

    Example:
        >>> import torch
        >>> coder = Autoencoder((1, 28, 28))
        >>> model = LatentDenoiser((1, 28, 28), 10, autoencoder=coder, network={"width": 32})
        >>> z = model.encode(torch.zeros(2, 1, 28, 28))
        >>> model.decode(model(z, torch.tensor(1.0), torch.tensor([3, 4]))).shape
        torch.Size([2, 1, 28, 28])

    References:
        Rombach et al. (2022), arXiv:2112.10752v2.
    """

    is_trained_on_latents: ClassVar[Literal[True]] = True

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int | None = None,
        *,
        autoencoder: "Autoencoder | str | Path | Mapping[str, Any]",
        network: Mapping[str, Any] | None = None,
        sigma_data: float = 1.0,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        self.autoencoder, options = _autoencoder(autoencoder, tuple(input_shape))
        self._has_weights = not isinstance(autoencoder, Mapping)
        self.register_load_state_dict_post_hook(_told_of_weights)  # type: ignore[no-untyped-call]
        self.autoencoder.requires_grad_(False).eval()
        self.rebuilt_with = {"autoencoder": options}
        self.input_shape, self.latent_shape = (
            self.autoencoder.input_shape,
            self.autoencoder.latent_shape,
        )
        chosen = {"kind": "DenoisingUNet", "width": 64, "multipliers": (1, 2)}
        if network is not None:
            chosen = {"kind": "DenoisingUNet", **network}
        kind = lookup(str(chosen.pop("kind")), _INNER, "network of latents")
        self.network = kind(
            self.latent_shape,
            num_classes,
            sigma_data=sigma_data,
            conditional=conditional,
            **chosen,
        )
        self.sigma_data, self.num_classes = sigma_data, self.network.num_classes

    def forward(
        self,
        x: Float[Tensor, "n k a b"],
        sigma: Float[Tensor, "*m"],
        label: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n k a b"]:
        """Return the denoised latents.

        Args:
            x: Noisy latents [1].
            sigma: Level of all, shape (), or of each, shape (n,) [1].
            label: Class of each; -1 where it is not told. None: of none.
        """
        denoised: Tensor = self.network(x, sigma, label)
        return denoised

    @property
    def with_fraction(self) -> WithFraction:
        """That of the denoiser of latents, if it has learned a variance.

        Raises:
            AttributeError: If it has not.
        """
        return self.network.with_fraction  # type: ignore[return-value]

    def train(self, mode: bool = True) -> "LatentDenoiser":
        """Put the denoiser in a mode; the autoencoder stays as it is."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def encode(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k a b"]:
        """Return the latents of images.

        Raises:
            RuntimeError: If the autoencoder was built from options and has no weights yet.
        """
        self._check_weights()
        return self.autoencoder.encode(x)

    def decode(self, z: Float[Tensor, "n k a b"]) -> Float[Tensor, "n c h w"]:
        """Return the images of latents.

        Raises:
            RuntimeError: If the autoencoder was built from options and has no weights yet.
        """
        self._check_weights()
        return self.autoencoder.decode(z.to(self.autoencoder.dtype))

    def _check_weights(self) -> None:
        if not self._has_weights:
            raise RuntimeError(
                "the autoencoder has no trained weights, only options; give the folder of a "
                "training of one (autoencoder = 'runs/<name>'), or load the weights of the whole"
            )


def trained_autoencoder(place: str | Path) -> tuple[Autoencoder, dict[str, Any]]:
    """Return the autoencoder that a training has left in a folder, and the options of it.

    Args:
        place: The folder, which holds `spec.json` and `weights.safetensors`, or the latter file.

    Raises:
        StoreError: If files are missing or damaged, or hold another network.
    """
    folder = Path(place)
    folder = folder.parent if folder.suffix == ".safetensors" else folder
    spec, weights = folder / "spec.json", folder / "weights.safetensors"
    for path in (spec, weights):
        if not path.exists():
            raise StoreError(
                f"no '{path}'; train the autoencoder to its end first (heatgrad train), and give "
                f"its folder, as runs/<name>"
            )
    try:
        about = json.loads(spec.read_text(encoding="utf-8"))
        kind, options = about["model"]["kind"], dict(about["model"]["options"])
        if kind != "Autoencoder":
            raise ValueError(f"it describes a {kind}, and must an Autoencoder")
        coder = Autoencoder(about["input_shape"], about["num_classes"], **options)
        coder.load_state_dict(load_file(weights))
    except (LookupError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StoreError(
            f"'{folder}' holds no autoencoder that can be used ({reason}); train one "
            f"(model kind = 'Autoencoder', loss = 'reconstruction')"
        ) from error
    return coder, options


def _told_of_weights(model: nn.Module, keys: object) -> None:
    """Note that a network's weights were loaded, those of its autoencoder among them."""
    model._has_weights = True  # type: ignore[assignment]


def _autoencoder(
    given: "Autoencoder | str | Path | Mapping[str, Any]", input_shape: tuple[int, ...]
) -> tuple[Autoencoder, dict[str, Any]]:
    """Return an autoencoder, and the options that build it."""
    options: dict[str, Any]
    if isinstance(given, Autoencoder):
        coder, options = given, given.options
    elif isinstance(given, Mapping):
        coder, options = Autoencoder(input_shape, **given), dict(given)
    elif isinstance(given, str | Path):
        coder, options = trained_autoencoder(given)
    else:
        raise TypeError(
            f"autoencoder must be the folder of a trained one, or an Autoencoder, got {given!r}"
        )
    if coder.input_shape != input_shape:
        raise ValueError(
            f"autoencoder must be one of images of shape {input_shape}, got one of "
            f"{coder.input_shape}; train one on the same data"
        )
    return coder, options
