"""The checks of a parameter group: what is required, what was received, the remedy."""

import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from heatgrad.core.errors import HeatgradWarning
from heatgrad.laplacian import check_boundary, max_explicit_diffusion, resolve_dims
from heatgrad.optim.dials import as_number, is_out_of_sight
from heatgrad.optim.operators import LAYER_MODES

__all__ = [
    "MODES",
    "check_axes",
    "check_diffusion",
    "check_group",
    "check_groups_agree",
    "check_is_chain",
    "check_is_dict",
    "check_placebo",
    "check_rates",
    "check_smoothing",
    "check_smoothing_group",
    "check_transform",
    "check_velocity",
    "check_velocity_group",
    "check_velocity_numbers",
    "warn_about",
]

MODES = ("global", *LAYER_MODES)
STABILITIES = ("refine", "error", "off")


def check_group(group: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError if an option of the group is not usable."""
    _check_common(group)
    _check_heavy_ball(group)
    check_transform(group)


def check_is_dict(param_group: object) -> None:
    """Raise TypeError if a parameter group is something else than a dict."""
    if not isinstance(param_group, dict):
        raise TypeError(
            f"param_group must be a dict such as {{'params': [...]}}, got "
            f"{type(param_group).__name__}"
        )


def check_velocity_group(group: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError if an option of a `DiffusionNesterov` group is not usable."""
    _check_common(group)
    check_velocity(group)


def check_velocity(group: Mapping[str, Any]) -> None:
    """Raise if what decides a group's diffusion is not usable; quick enough for every step."""
    check_rates(group)
    check_boundary(group["boundary"])
    if group["stability"] not in STABILITIES:
        raise ValueError(
            f"stability must be one of {', '.join(STABILITIES)}, got {group['stability']!r}"
        )
    momentum = group["momentum"]
    if not is_out_of_sight(momentum) and momentum > 1:
        raise ValueError(f"momentum must be at most 1, got {momentum:g}; lower it")
    diffusion = group["diffusion"]
    if isinstance(diffusion, Tensor) and diffusion.numel() != 1:
        raise ValueError(
            f"diffusion must be one number, got a tensor of shape {tuple(diffusion.shape)}"
        )
    if is_out_of_sight(diffusion):
        return
    _check_non_negative("diffusion", diffusion)
    if group["stability"] == "error":
        _check_bound(diffusion)


def check_velocity_numbers(
    lr: float, momentum: float, per_axis: float, *, is_bounded: bool
) -> None:
    """Raise ValueError if what a velocity's step is given in the end is not usable.

    Args:
        lr: η.
        momentum: γ [1].
        per_axis: Nβ [1].
        is_bounded: Whether β must be at most β_max.
    """
    _check_non_negative("lr", lr)
    _check_non_negative("momentum", momentum)
    diffusion = 4 * per_axis / (1 + momentum)
    _check_non_negative("diffusion", diffusion)
    if is_bounded:
        _check_bound(diffusion, slack=1e-6)


def check_axes(group: Mapping[str, Any]) -> None:
    """Raise ValueError if a diffused axis is beyond the rank of one of the group's parameters."""
    names = group.get("param_names") or [f"number {i}" for i in range(len(group["params"]))]
    for name, param in zip(names, group["params"], strict=True):
        try:
            resolve_dims(group["dims"], param.dim())
        except ValueError as error:
            raise ValueError(f"parameter {name} of shape {tuple(param.shape)}: {error}") from None


def check_smoothing_group(group: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError if an option of an implicit smoother is not usable."""
    _check_common(group)
    _check_heavy_ball(group)
    check_smoothing(group)


def check_smoothing(group: Mapping[str, Any]) -> None:
    """Raise if what decides a group's smoothing is not usable; quick enough for every step."""
    check_rates(group)
    check_boundary(group["boundary"])
    _check_non_negative("diffusion", group["diffusion"])


def check_transform(group: Mapping[str, Any]) -> None:
    """Raise if what decides a group's transform is not usable; quick enough for every step."""
    check_rates(group)
    if group["mode"] not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {group['mode']!r}")
    check_boundary(group["boundary"])
    if group["max_norm"] is not None:
        _check_non_negative("max_norm", group["max_norm"])
        if group["max_norm"] == 0:
            raise ValueError("max_norm must be positive, got 0; use None for no clipping")
    check_diffusion(group["diffusion"], group["mode"])


def check_diffusion(diffusion: float | Tensor, mode: str) -> None:
    """Raise ValueError if a coefficient is negative, not finite or makes the operator grow."""
    if is_out_of_sight(diffusion):
        return
    _check_non_negative("diffusion", diffusion)
    bound = max_explicit_diffusion(1)
    if mode == "global" and diffusion > bound:
        raise ValueError(
            f"diffusion must be at most {bound} in mode 'global' (above it the highest "
            f"frequencies grow), got {float(diffusion):g}; lower it"
        )
    if mode == "layer" and diffusion > 2:
        raise ValueError(
            f"diffusion must be at most 2 in mode 'layer' (above it deviations from the mean "
            f"grow), got {float(diffusion):g}; lower it"
        )
    if mode in ("centralize", "centralize_channel") and diffusion not in (0, 1):
        raise ValueError(f"diffusion must be 0 or 1 in mode '{mode}', got {float(diffusion):g}")


def warn_about(group: Mapping[str, Any]) -> None:
    """Warn of settings that are allowed but rarely meant."""
    diffusion, mode = group["diffusion"], group["mode"]
    keeps_sign = {"global": max_explicit_diffusion(1, keep_sign=True), "layer": 1.0}
    if mode in keeps_sign and diffusion > keeps_sign[mode]:
        warnings.warn(
            f"diffusion {float(diffusion):g} in mode '{mode}' changes the sign of some gradient "
            f"components (a step uphill for them); choose at most {keeps_sign[mode]} to keep "
            f"every sign",
            HeatgradWarning,
            stacklevel=_caller_level(),
        )
    ones = sum(1 for param in group["params"] if param.numel() == 1)
    if mode == "centralize" and diffusion == 1 and ones:
        warnings.warn(
            f"mode 'centralize' leaves {ones} one-element parameter(s) as they are: without "
            f"their mean they would not train; give them a group with diffusion=0 instead",
            HeatgradWarning,
            stacklevel=_caller_level(),
        )


def check_groups_agree(groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError if values that are one for the whole optimizer differ between groups."""
    norms = {group["max_norm"] for group in groups}
    if len(norms) > 1:
        raise ValueError(
            f"max_norm bounds the norm over all parameters and must be the same in every group, "
            f"got {sorted(norms, key=str)}"
        )
    ends = {group["boundary"] for group in groups if group["mode"] == "global"}
    if len(ends) > 1:
        raise ValueError(
            f"groups in mode 'global' form one chain and need one boundary, got {sorted(ends)}"
        )


def check_is_chain(groups: Sequence[Mapping[str, Any]], whose: str) -> None:
    """Raise ValueError if a group of a control does not diffuse along the chain."""
    for group in groups:
        if group["mode"] != "global":
            raise ValueError(f"{whose} mode must be 'global', got {group['mode']!r}")


def check_placebo(groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError or TypeError for what one permutation of all elements cannot be."""
    check_is_chain(groups, "the placebo's")
    # A group has no seed yet while the constructor adds it.
    seeds = [group["seed"] for group in groups if "seed" in group]
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f"seed must be an int, got {seed!r}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
    if len(set(seeds)) > 1:
        raise ValueError(f"seed must be the same in every group, got {sorted(set(seeds))}")


def _caller_level() -> int:
    """Return the `stacklevel` of the user's line, however deep the constructors are nested."""
    level, frame = 0, sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].startswith(("heatgrad.", "torch.optim.")):
        level, frame = level + 1, frame.f_back
    return level + 1


def _check_common(group: Mapping[str, Any]) -> None:
    for name in ("lr", "momentum", "weight_decay"):
        _check_non_negative(name, group[name])
    for name in ("nesterov", "maximize", "differentiable", "foreach", "fused"):
        may_be_none = name in ("foreach", "fused")
        value = group.get(name, False)
        if not (isinstance(value, bool) or (may_be_none and value is None)):
            raise TypeError(
                f"{name} must be True{', False or None' if may_be_none else ' or False'}, got "
                f"{value!r}"
            )


def check_rates(group: Mapping[str, Any]) -> None:
    """Look at the numbers that a schedule, or a hand, may have changed."""
    for name in ("lr", "momentum", "weight_decay"):
        if not is_out_of_sight(group[name]):
            _check_non_negative(name, group[name])


def _check_heavy_ball(group: Mapping[str, Any]) -> None:
    dampening = as_number("dampening", group["dampening"])
    if not math.isfinite(dampening):
        raise ValueError(f"dampening must be finite, got {dampening:g}")
    if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
        raise ValueError(
            f"nesterov needs momentum > 0 and dampening = 0, got momentum = "
            f"{group['momentum']} and dampening = {group['dampening']}"
        )


def _check_bound(diffusion: float | Tensor, slack: float = 0.0) -> None:
    if diffusion > 1 + slack:
        raise ValueError(
            f"diffusion must be at most 1 (in units of beta_max) with stability='error', got "
            f"{float(diffusion):g}; lower it, or let stability='refine' lower the time step"
        )


def _check_non_negative(name: str, value: float | Tensor) -> None:
    if isinstance(value, Tensor) and torch.compiler.is_compiling():
        return  # its value would stop the graph; eager steps look at it
    number = as_number(name, value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} must be finite and at least 0, got {number:g}")
