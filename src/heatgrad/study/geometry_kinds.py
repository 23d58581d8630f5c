"""The kinds of measurement of the loss landscape that a study makes, and what each returns."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from heatgrad.landscape import (
    Curve,
    DataLoss,
    connect,
    hessian_spectrum,
    interpolate,
    sharpness,
    surface,
)
from heatgrad.landscape.barrier import LossPath

__all__ = ["KINDS", "Kind", "Value"]

_GRID = 161  # places of a spectrum's density
_GIVEN = {"self", "model", "model_a", "model_b", "loss", "kind", "trajectory", "params"}
_GIVEN |= {"recalibrate_on"}

Value = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of measurement.

    Attributes:
        label: What its number is; empty where it has none.
        functions: Those whose keywords are its options.
        measure: Called with the network, the one that a path leads to, the loss and the options.
        without: Keywords that mean nothing for it.
        is_path: Whether it leads to another network.
    """

    label: str
    functions: tuple[Callable[..., Any], ...]
    measure: Callable[..., Value]
    without: frozenset[str] = frozenset()
    is_path: bool = False

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """The options by name."""
        return {
            name: parameter
            for function in self.functions
            for name, parameter in inspect.signature(function).parameters.items()
            if name not in _GIVEN | self.without
        }


def _of_sharpness(model: nn.Module, _: nn.Module, loss: DataLoss, **options: Any) -> Value:
    found = sharpness(model, loss, **options)
    return _plain({"value": found.value, "error": found.error, "loss": found.loss})


def _of_worst_case(model: nn.Module, end: nn.Module, loss: DataLoss, **options: Any) -> Value:
    return _of_sharpness(model, end, loss, kind="worst", **options)


def _of_spectrum(model: nn.Module, _: nn.Module, loss: DataLoss, **options: Any) -> Value:
    found = hessian_spectrum(model, loss, **options)
    low, high = found.smallest.value, found.largest.value
    room = 4 * found.width
    at = np.linspace(low - room, high + room, _GRID)
    return _plain(
        {
            "trace": found.trace,
            "trace_error": found.trace_error,
            "largest": high,
            "smallest": low,
            "residual": found.largest.residual,
            "smallest_residual": found.smallest.residual,
            "negative_mass": found.negative_mass,
            "at": at,
            "density": found.density(at),
        }
    )


def _of_line(start: nn.Module, end: nn.Module, loss: DataLoss, **options: Any) -> Value:
    return _of_path(interpolate(start, end, loss, **options))


def _of_curve(start: nn.Module, end: nn.Module, loss: DataLoss, **options: Any) -> Value:
    of_training = inspect.signature(connect).parameters
    training = {name: value for name, value in options.items() if name in of_training}
    rest = {name: value for name, value in options.items() if name not in of_training}
    return _of_path(connect(start, end, loss, **training).path(loss, **rest))


def _of_path(found: LossPath) -> Value:
    return _plain(
        {
            "value": found.barrier if found.barrier > 1e-9 else 0.0,
            "interval": found.interval(),
            "top": found.top,
            "at": found.at,
            "losses": found.losses,
        }
    )


def _of_surface(model: nn.Module, _: nn.Module, loss: DataLoss, **options: Any) -> Value:
    found = surface(model, loss, **options)
    return _plain(
        {
            "across": found.across,
            "up": found.up,
            "losses": found.losses,
            "cosine": found.cosine,
            "holes": found.num_holes,
        }
    )


def _plain(values: Value) -> Value:
    """Return values as JSON holds them, numbers to seven digits; None where one is not finite."""
    return {name: _number(value) for name, value in values.items()}


def _number(value: Any) -> Any:
    if isinstance(value, np.ndarray | tuple | list):
        return [_number(part) for part in value]
    if isinstance(value, int):
        return value
    return float(f"{value:.7g}") if math.isfinite(value) else None


KINDS: Mapping[str, Kind] = {
    "sharpness": Kind("sharpness", (sharpness,), _of_sharpness, frozenset({"steps"})),
    "worst-sharpness": Kind(
        "worst-case sharpness", (sharpness,), _of_worst_case, frozenset({"draws", "noise"})
    ),
    "spectrum": Kind("of the Hessian", (hessian_spectrum,), _of_spectrum),
    "path": Kind("barrier", (interpolate,), _of_line, is_path=True),
    "curve": Kind("barrier along a curve", (connect, Curve.path), _of_curve, is_path=True),
    "surface": Kind("", (surface,), _of_surface),
}
