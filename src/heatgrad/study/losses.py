"""The losses that a spec may name, and their options."""

from collections.abc import Callable
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import lookup
from heatgrad.diffusion import (
    EDMLoss,
    HybridLoss,
    ReconstructionLoss,
    SimpleLoss,
    cosine_alpha_bars,
    linear_alpha_bars,
)
from heatgrad.study.components import Component, build, find, resolve
from heatgrad.training import LOSSES, Loss, Objective, is_objective

__all__ = ["ALL_LOSSES", "OBJECTIVES", "LossSpec", "make_loss", "resolved_loss"]

_CHAINS: dict[str, Callable[[int], Tensor]] = {
    "cosine": cosine_alpha_bars,
    "linear": linear_alpha_bars,
}


def simple(*, chain: str = "cosine", num_times: int = 1000, drop_label: float = 0.0) -> SimpleLoss:
    """Return the loss of DDPM over a chain.

    Args:
        chain: `"cosine"` or `"linear"`.
        num_times: Its length.
        drop_label: As of `SimpleLoss`.
    """
    return SimpleLoss(_chain(chain, num_times), drop_label=drop_label)


def hybrid(
    *,
    chain: str = "cosine",
    num_times: int = 1000,
    drop_label: float = 0.0,
    vlb_weight: float = 0.001,
    bins: int | None = None,
) -> HybridLoss:
    """Return the loss of improved DDPM over a chain; the network has `learned_variance`.

    Args:
        chain: `"cosine"` or `"linear"`.
        num_times: Its length.
        drop_label: As of `HybridLoss`.
        vlb_weight: As of `HybridLoss`.
        bins: As of `HybridLoss`.
    """
    options: dict[str, Any] = {"vlb_weight": vlb_weight, "bins": bins, "drop_label": drop_label}
    return HybridLoss(_chain(chain, num_times), **options)


def _chain(name: str, num_times: int) -> Tensor:
    return lookup(name, _CHAINS, "chain")(num_times)


# What makes losses that call the network themselves, by options.
OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "edm": EDMLoss,
    "simple": simple,
    "hybrid": hybrid,
    "reconstruction": ReconstructionLoss,
}
ALL_LOSSES: dict[str, Any] = {**LOSSES, **OBJECTIVES}


class LossSpec(Component):
    """A loss: a name alone (`loss = "edm"`), or a table with its options.

    Attributes:
        kind: A name of `heatgrad.training.LOSSES` or of `OBJECTIVES`, or an import path.
        options: Of an objective.

    Example:
        >>> LossSpec.model_validate("edm").kind
        'edm'
        >>> LossSpec.model_validate({"kind": "edm", "drop_label": 0.2}).options
        {'drop_label': 0.2}
    """

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"kind": data, "options": {}}
        if not isinstance(data, dict | LossSpec):
            raise ValueError(
                f"a loss is a name such as 'cross_entropy', or a table with kind and options, got "
                f"{data!r}"
            )
        return data

    @model_serializer(mode="wrap")
    def _as_name(self, dump: SerializerFunctionWrapHandler) -> Any:
        """Without options it is written as its name: keys of trials stay."""
        return dump(self) if self.options else self.kind


def resolved_loss(loss: LossSpec, model: Component, where: str = "loss") -> LossSpec:
    """Return a loss with its options written out.

    A loss that is scaled by the deviation of the data, `sigma_data`, takes it from the network.

    Args:
        loss: As in the file.
        model: The network, resolved.
        where: The place in the spec, to begin the message.

    Raises:
        SpecError: If the name or an option is unknown, a function is given options, or network and
            loss have different `sigma_data`.
    """
    if not _has_options(loss, _target(loss, where)):
        return loss
    options = resolve(loss, ALL_LOSSES, "loss", where).options
    name = "sigma_data"
    if name in options and name in model.options:
        theirs = model.options[name]
        if loss.options.get(name, theirs) != theirs:
            raise SpecError(
                f"{where}: sigma_data must be that of the network, {theirs!r}, got "
                f"{loss.options[name]!r}; leave it out of the loss"
            )
        options[name] = theirs
    return LossSpec(kind=loss.kind, options=options)


def make_loss(loss: LossSpec, where: str = "loss") -> Loss | Objective:
    """Return the loss that a spec names.

    Raises:
        SpecError: If the name or an option is unknown or out of range, or it is no function.
    """
    made: Any = _target(loss, where)
    if _has_options(loss, made):
        find(loss, ALL_LOSSES, "loss", where)
        made = build(made, where, **loss.options)
    if not callable(made):
        raise SpecError(
            f"{where}: '{loss.kind}' is no function; give a loss of logits and labels, or an "
            f"objective of network, inputs and labels"
        )
    return made  # type: ignore[no-any-return]


def has_accuracy(loss: LossSpec) -> bool:
    """Whether networks that are trained by a loss answer with classes."""
    return not is_objective(make_loss(loss))


def _target(loss: LossSpec, where: str) -> Any:
    try:
        target = lookup(loss.kind, ALL_LOSSES, "loss")
    except SpecError as error:
        raise SpecError(f"{where}: {error}" if where != "loss" else str(error)) from error
    if loss.options and not _has_options(loss, target):
        raise SpecError(
            f"{where}: '{loss.kind}' is a function and takes no options, got "
            f"{', '.join(loss.options)}"
        )
    return target


def _has_options(loss: LossSpec, target: Any) -> bool:
    """Whether what a loss names makes it from options, and is not the loss itself."""
    return loss.kind in OBJECTIVES or isinstance(target, type)
