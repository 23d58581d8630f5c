"""Sensors that carry nothing, say the same twice, or do not fit the law."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from heatgrad.core.errors import DataError
from heatgrad.solving.problems import Problem
from heatgrad.solving.sensors import Sensors

__all__ = ["cleaned", "doubted", "with_noise"]

_FAR = 6.0  # root mean squares of the law: what it hardly ever reaches
_SAME = 1e-9  # of the side: sensors nearer than that are at one point


def cleaned(
    sensors: Sensors, problem: Problem, *, is_drawn: bool = False
) -> tuple[Sensors, tuple[str, ...], tuple[str, ...]]:
    """Return the sensors that tell something, with notes and warnings on the others.

    Those on a border where the field is 0 by definition carry nothing. Of several at one point
    without noise the first is kept, if all say the same.

    Args:
        sensors: All of them.
        problem: Whose fields they measured.
        is_drawn: Whether they were drawn at random: then sensors that carry nothing are expected.

    Returns:
        The sensors that are left, notes, warnings.

    Raises:
        DataError: If none is left, or two at one point contradict each other.
    """
    notes: list[str] = []
    doubts: list[str] = []
    is_blind = np.zeros(len(sensors), dtype=bool)
    for name in sensors.fields:
        if problem.boundaries[name] != "dirichlet":
            continue
        own = sensors.of(name)
        on_border = own[np.any((sensors.points[own] <= 0) | (sensors.points[own] >= 1), axis=1)]
        if not len(on_border):
            continue
        is_blind[on_border] = True
        found = (
            f"{len(on_border)} of {len(own)} sensors of {name} lie on the border, where {name} is "
            f"0 by definition: they carry no information and are left out"
        )
        (notes if is_drawn else doubts).append(found)
    left = sensors.only(np.flatnonzero(~is_blind))
    if not len(left):
        raise DataError(
            "no sensor carries information: all lie on a border where their field is 0 by "
            "definition; put some inside"
        )
    left, repeated = _without_repeats(left)
    if repeated:
        doubts.append(f"{repeated} sensors repeat another at the same point and are left out")
    return left, tuple(notes), tuple(doubts)


def with_noise(sensors: Sensors, sizes: Mapping[str, float], relative: float) -> Sensors:
    """Return sensors that all have a noise: where none is given, a share of the field's size.

    Args:
        sensors: Some with NaN for noise.
        sizes: Root mean square of each field by its law [field].
        relative: The share [1].

    Example:
        >>> one = Sensors(("u",), np.zeros((1, 2)), np.ones(1), np.array([np.nan]))
        >>> with_noise(one, {"u": 2.0}, 0.1).noise.tolist()
        [0.2]
    """
    size = np.array([sizes[name] for name in sensors.field])
    noise = np.where(np.isnan(sensors.noise), relative * size, sensors.noise)
    return replace(sensors, noise=noise)


def doubted(sensors: Sensors, sizes: Mapping[str, float]) -> tuple[str, ...]:
    """Return a warning for each field whose values its law hardly ever reaches.

    Example:
        >>> one = Sensors(("u",), np.zeros((1, 2)), np.array([100.0]), np.zeros(1))
        >>> len(doubted(one, {"u": 1.0}))
        1
    """
    found = []
    for name in sensors.fields:
        most = float(np.abs(sensors.value[sensors.of(name)]).max())
        if most > _FAR * sizes[name]:
            found.append(
                f"values of {name} reach {most:.3g}, {most / sizes[name]:.3g} times its typical "
                f"size by the law of the problem, {sizes[name]:.3g}: check their unit, for the "
                f"answer cannot be trusted"
            )
    return tuple(found)


def _without_repeats(sensors: Sensors) -> tuple[Sensors, int]:
    """Return the sensors without those that repeat another, and how many there were."""
    seen: dict[tuple[str, int, int], int] = {}
    kept = []
    for k, name in enumerate(sensors.field):
        x, y = (round(float(c) / _SAME) for c in sensors.points[k])
        first = seen.setdefault((name, x, y), k)
        if first == k or sensors.noise[k] > 0:
            kept.append(k)
        elif not math.isclose(sensors.value[first], sensors.value[k], rel_tol=1e-9):
            place = ", ".join(f"{c:g}" for c in sensors.points[k])
            raise DataError(
                f"two sensors of {name} at ({place}) say {sensors.value[first]:g} and "
                f"{sensors.value[k]:g}; give a column noise, or leave one out"
            )
    return sensors.only(np.array(kept, dtype=np.int64)), len(sensors) - len(kept)
