"""Checks of the fields and counts that users hand to a problem: one clear line each."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["check_count", "check_field", "check_named", "check_positive"]


def check_field(
    name: str, field: Tensor, shape: tuple[int, int], *, finite: bool = True
) -> torch.dtype:
    """Return the type of a field of the right shape, type and without NaN.

    Args:
        name: What the user calls it, for the message.
        field: Shape (..., *shape), float32 or float64.
        shape: Points of the grid.
        finite: Whether to look at the values.

    Raises:
        TypeError: If it is no tensor, or of another type.
        ValueError: If the shape differs or a value is not finite.

    Example:
        >>> check_field("a", torch.zeros(2, 3, 3), (3, 3))
        torch.float32
    """
    if not isinstance(field, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(field).__name__}")
    if field.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {field.dtype}; cast it first")
    if field.ndim < 2 or tuple(field.shape[-2:]) != shape:
        raise ValueError(
            f"{name} must have shape (..., {shape[0]}, {shape[1]}), got {tuple(field.shape)}; "
            f"build the problem with the n of the field"
        )
    if finite and not bool(field.detach().isfinite().all()):
        bad = int((~field.detach().isfinite()).sum())
        raise ValueError(f"{name} must be finite, got {bad} values that are NaN or infinite")
    return field.dtype


def check_named(
    fields: Mapping[str, Tensor], names: tuple[str, ...], shape: tuple[int, int]
) -> tuple[Tensor, ...]:
    """Return the fields of a problem in its order, each of shape (num, *shape).

    Raises:
        ValueError: If one is missing or unknown, they differ in length, or are wrong themselves.
        TypeError: If one has a wrong type.

    Example:
        >>> (u,) = check_named({"u": torch.zeros(1, 3, 3)}, ("u",), (3, 3))
    """
    missing = [name for name in names if name not in fields]
    unknown = [name for name in fields if name not in names]
    if missing or unknown:
        raise ValueError(
            f"fields must be {', '.join(names)}, got {', '.join(map(str, fields)) or 'none'}"
        )
    found = tuple(fields[name] for name in names)
    for name, field in zip(names, found, strict=True):
        check_field(name, field, shape)
    sizes = {tuple(field.shape) for field in found}
    if len(sizes) > 1 or found[0].ndim != 3:
        got = ", ".join(f"{name}: {tuple(fields[name].shape)}" for name in names)
        raise ValueError(f"fields must all have shape (num, {shape[0]}, {shape[1]}), got {got}")
    return found


def check_count(name: str, value: int, least: int) -> None:
    """Raise unless `value` is a whole number of at least `least`.

    Example:
        >>> check_count("n", 3, 2)
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_positive(name: str, value: float, *, zero: bool = False) -> None:
    """Raise unless `value` is finite and positive, or 0 where `zero` allows it.

    Example:
        >>> check_positive("k", 0.0, zero=True)
    """
    good = value >= 0 if zero else value > 0
    if not (good and value < float("inf")):
        least = "at least 0" if zero else "positive"
        raise ValueError(f"{name} must be finite and {least}, got {value}")
