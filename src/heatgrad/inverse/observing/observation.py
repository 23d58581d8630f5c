"""Values that were observed, with their noise."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.inverse.observing.instrument import Instrument
from heatgrad.inverse.observing.operators import Operator
from heatgrad.pde.grid import Grid

__all__ = ["Observation", "check_noise", "observe"]


@dataclass(frozen=True, eq=False)
class Observation:
    """What the same sensors said in one or several cases.

    Args:
        operators: What is measured, in the order of the values.
        values: Shape (cases, m), or (m,) for one case [field].
        noise: Standard deviation, of all or of each, shape (m,), at least 0 [field].

    Attributes:
        operators: As given.
        values: Shape (cases, m), float64.
        noise: Shape (m,), float64.

    Raises:
        ValueError: If a shape does not fit, a value is not finite, or a noise is negative.

    Example:
        >>> from heatgrad.inverse import Points
        >>> Observation([Points("u", [(0.5, 0.5)])], torch.tensor([1.0]), 0.1).values.shape
        torch.Size([1, 1])
    """

    operators: Sequence[Operator]
    values: Float[Tensor, "cases m"]
    noise: Float[Tensor, " m"]

    def __init__(
        self, operators: Sequence[Operator], values: Tensor, noise: Tensor | float = 0.0
    ) -> None:
        count = sum(len(operator) for operator in operators)
        found = torch.as_tensor(values).detach().double()
        found = found[None] if found.ndim == 1 else found
        if found.ndim != 2 or found.shape[1] != count or len(found) == 0:
            raise ValueError(
                f"values must have shape (cases, {count}), one a sensor, got {tuple(found.shape)}"
            )
        bad = ~found.isfinite()
        if bool(bad.any()):
            case, sensor = (int(k) for k in torch.nonzero(bad)[0])
            raise ValueError(
                f"values must be finite, got {int(bad.sum())} that are NaN or infinite, the first "
                f"of sensor {sensor} in case {case}; leave those sensors out"
            )
        object.__setattr__(self, "operators", tuple(operators))
        object.__setattr__(self, "values", found)
        object.__setattr__(self, "noise", check_noise(noise, count))


def observe(
    fields: Mapping[str, Float[Tensor, "cases n n"]],
    grid: Grid,
    operators: Sequence[Operator],
    noise: Tensor | float = 0.0,
    generator: torch.Generator | None = None,
) -> Observation:
    r"""Return what sensors say of known fields.

    $$y = H f + \sqrt{R}\, n, \qquad n \sim \mathcal N(0, I), \quad R = \operatorname{diag} r^2.
    \tag{I.8}$$

    Args:
        fields: By name, each of shape (cases, n, n).
        grid: Of the fields.
        operators: What is measured.
        noise: r, of all or of each [field].
        generator: Of the noise, of the CPU; needed where there is some.

    Raises:
        ValueError: If something does not fit, or there is noise and no generator.

    References:
        Theory page: Eq. (I.8).

    Example:
        >>> from heatgrad.inverse import Points
        >>> fields = {"u": torch.arange(9.0).reshape(1, 3, 3)}
        >>> observe(fields, Grid(3), [Points("u", [(0.5, 0.25)])]).values.item()
        3.5
    """
    instrument = Instrument(grid, operators, tuple(fields))
    values = instrument(fields).detach()
    std = check_noise(noise, len(instrument))
    if bool((std > 0).any()):
        if generator is None:
            raise ValueError("noise needs a generator to be drawn from, got none")
        drawn = torch.randn(values.shape, generator=generator, dtype=torch.float64)
        values = values + (std * drawn).to(values.device)
    return Observation(operators, values, std)


def check_noise(noise: Tensor | float, count: int) -> Float[Tensor, " m"]:
    """Return the standard deviation of each of `count` values, checked, float64, on the CPU.

    Raises:
        ValueError: If it is negative or not finite, or of another shape.

    Example:
        >>> check_noise(0.5, 2).tolist()
        [0.5, 0.5]
    """
    std = torch.as_tensor(noise, dtype=torch.float64).detach().cpu()
    if std.ndim > 1 or (std.ndim == 1 and len(std) != count):
        raise ValueError(
            f"noise must be one number or one for each of {count} values, got shape "
            f"{tuple(std.shape)}"
        )
    least = float(std.min()) if std.numel() else 0.0
    if not (math.isfinite(float(std.sum())) and least >= 0):
        raise ValueError("noise is a standard deviation: it must be finite and at least 0")
    return std.expand(count).clone()
