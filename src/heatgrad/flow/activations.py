"""Activations with their first two derivatives, on arrays of any floating type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import erf, expit
from torch import Tensor
from torch.nn import functional

__all__ = ["ACTIVATIONS", "Activation", "Jet"]

Array = NDArray[np.floating]
Jet = tuple[Array, Array, Array]

_ROOT_2 = np.sqrt(2.0)
_ROOT_2PI = np.sqrt(2 * np.pi)


@dataclass(frozen=True)
class Activation:
    """A scalar function that a network applies to each unit.

    Attributes:
        name: As in `ACTIVATIONS`.
        torch: The function of a tensor, which torch can differentiate.
        jet: The function, its first and its second derivative, of an array.
        center: Where the second derivative is well away from 0: about it units can be bent to a
            square (see `valley_start`).
        odd_center: Where an antisymmetric pair of units is closest to a straight line.
    """

    name: str
    torch: Callable[[Tensor], Tensor]
    jet: Callable[[Array], Jet]
    center: float
    odd_center: float = 0.0


def _logistic(z: Array) -> Jet:
    s = expit(z)
    slope = s * expit(-z)
    return s, slope, slope * (1 - 2 * s)


def _tanh(z: Array) -> Jet:
    s = np.tanh(z)
    slope = 1 - s * s
    return s, slope, -2 * s * slope


def _softplus(z: Array) -> Jet:
    s = expit(z)
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))), s, s * expit(-z)


def _gelu(z: Array) -> Jet:
    below = (1 + erf(z / z.dtype.type(_ROOT_2))) / 2
    density = np.exp(-z * z / 2) / z.dtype.type(_ROOT_2PI)
    return z * below, below + z * density, density * (2 - z * z)


def _elu(z: Array) -> Jet:
    low = np.minimum(z, 0)
    bend = np.exp(low)
    return np.maximum(z, 0) + np.expm1(low), bend, np.where(z > 0, 0, bend)


def _swish(z: Array) -> Jet:
    s = expit(z)
    slope = s * expit(-z)
    return z * s, s + z * slope, slope * (2 + z * (1 - 2 * s))


def _torch_softplus(z: Tensor) -> Tensor:
    # torch.nn.functional.softplus turns into the identity above 20, a jump of 2e-9.
    return -functional.logsigmoid(-z)


# Those named by [SAD]; ELU and swish are ours. The centers are near the largest second derivative.
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "logistic": Activation("logistic", torch.sigmoid, _logistic, 1.5),
        "tanh": Activation("tanh", torch.tanh, _tanh, 0.75),
        "softplus": Activation("softplus", _torch_softplus, _softplus, 0.0),
        "gelu": Activation("gelu", functional.gelu, _gelu, 0.0),
        "elu": Activation("elu", functional.elu, _elu, -0.7, 0.7),
        "swish": Activation("swish", functional.silu, _swish, 0.0),
    }
)
