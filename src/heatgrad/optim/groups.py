"""Parameter groups by kind of layer and direction, as [Sun] diffuses them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from heatgrad.core.lookup import nearest
from heatgrad.laplacian import Boundary, check_boundary

__all__ = ["KINDS", "diffusion_groups"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)

Axes = tuple[int, ...]


def _norm(name: str) -> Callable[[nn.Module], tuple[Tensor | None, Axes] | None]:
    def find(module: nn.Module) -> tuple[Tensor | None, Axes] | None:
        if not isinstance(module, _NORMS):
            return None
        value = getattr(module, name, None)
        return value, tuple(range(value.dim())) if value is not None else ()

    return find


def _conv(
    plain: Callable[[int], Axes], transposed: Callable[[int], Axes]
) -> Callable[[nn.Module], tuple[Tensor | None, Axes] | None]:
    def find(module: nn.Module) -> tuple[Tensor | None, Axes] | None:
        if isinstance(module, _CONVOLUTIONS):
            return module.weight, plain(module.weight.dim())
        if isinstance(module, _TRANSPOSED):
            return module.weight, transposed(module.weight.dim())
        return None

    return find


# What a kind means: the parameter of a module that it takes, and the axes along which. The weight
# of a transposed convolution has its input channels first.
KINDS: dict[str, Callable[[nn.Module], tuple[Tensor | None, Axes] | None]] = {
    "conv_in": _conv(lambda ndim: (1,), lambda ndim: (0,)),
    "conv_out": _conv(lambda ndim: (0,), lambda ndim: (1,)),
    "conv_spatial": _conv(lambda ndim: tuple(range(2, ndim)), lambda ndim: tuple(range(2, ndim))),
    "norm_bias": _norm("bias"),
    "norm_weight": _norm("weight"),
}


def diffusion_groups(
    model: nn.Module,
    *kinds: str,
    diffusion: float | Tensor = 1.0,
    boundary: Boundary = "neumann",
) -> list[dict[str, Any]]:
    """Return parameter groups that diffuse some directions of some layers, and nothing else.

    Args:
        model: The network.
        kinds: Names of `KINDS`: `"conv_out"`, `"conv_in"`, `"conv_spatial"` (the axes of the
            kernel), `"norm_weight"`, `"norm_bias"`.
        diffusion: β of these groups in units of β_max [1].
        boundary: Ends of the axes.

    Returns:
        One group per kind and set of axes, with `params` as pairs of name and parameter, `dims`,
        `boundary` and `diffusion`; then one group with `diffusion` 0 of all other parameters that
        require a gradient. For `DiffusionNesterov`.

    Raises:
        TypeError: If the model is none, or a kind is no name.
        ValueError: If no kind is given, one is unknown or named twice, or has no parameter in this
            model, or two claim the same parameter.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
        >>> for group in diffusion_groups(net, "conv_out", "norm_weight"):
        ...     print(group["dims"], group["diffusion"], [name for name, _ in group["params"]])
        (0,) 1.0 ['0.weight']
        (0,) 1.0 ['1.weight']
        () 0.0 ['1.bias']

    References:
        [Sun] appendices C and D.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    _check_kinds(kinds)
    check_boundary(boundary)
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    parameters: dict[int, Tensor] = {id(p): p for p in model.parameters() if p.requires_grad}
    owner: dict[int, str] = {}
    groups: list[dict[str, Any]] = []
    for kind in kinds:
        by_axes: dict[Axes, list[tuple[str, Tensor]]] = {}
        for module in model.modules():
            found = KINDS[kind](module)
            if found is None or found[0] is None or id(found[0]) not in parameters:
                continue
            param, axes = found
            if owner.setdefault(id(param), kind) != kind:
                raise ValueError(
                    f"'{owner[id(param)]}' and '{kind}' both claim parameter {names[id(param)]}; "
                    f"give one of them, or write a group with both axes in dims"
                )
            entry = (names[id(param)], parameters[id(param)])
            if all(entry[0] != name for name, _ in by_axes.get(axes, [])):
                by_axes.setdefault(axes, []).append(entry)
        if not by_axes:
            raise ValueError(
                f"the model has no parameter of kind '{kind}' that requires a gradient; kinds it "
                f"has: {', '.join(_present(model, parameters)) or 'none'}"
            )
        groups += [
            {"params": entries, "dims": axes, "boundary": boundary, "diffusion": diffusion}
            for axes, entries in by_axes.items()
        ]
    rest = [(names[key], param) for key, param in parameters.items() if key not in owner]
    if rest:
        groups.append({"params": rest, "dims": (), "boundary": boundary, "diffusion": 0.0})
    return groups


def _check_kinds(kinds: tuple[str, ...]) -> None:
    if not kinds:
        raise ValueError(f"diffusion_groups needs at least one kind; {nearest('', KINDS)}")
    for kind in kinds:
        if not isinstance(kind, str):
            raise TypeError(
                f"kinds must be names, one argument each, got {kind!r}; write "
                f"diffusion_groups(model, 'conv_out', 'norm_weight')"
            )
        if kind not in KINDS:
            raise ValueError(f"unknown kind '{kind}'; {nearest(kind, KINDS)}")
        if kinds.count(kind) > 1:
            raise ValueError(f"each kind must be named once, got '{kind}' again; leave it out")


def _present(model: nn.Module, parameters: Mapping[int, Tensor]) -> list[str]:
    found = {kind: [take(module) for module in model.modules()] for kind, take in KINDS.items()}
    return [
        kind
        for kind, entries in found.items()
        if any(e is not None and e[0] is not None and id(e[0]) in parameters for e in entries)
    ]
