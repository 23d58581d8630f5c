"""The part of a specification that says how options are tuned."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from heatgrad.core.spec import Spec

__all__ = ["Budget", "Range", "TuningSpec"]

Budget = Literal[1, 8, 16, 32]
_DIGITS = 4


class Range(Spec):
    """Where an option is searched; in a file `[low, high]`, or a table with a scale.

    Attributes:
        low: Smallest value [option].
        high: Largest value [option].
        scale: `"log"`, even in the logarithm, or `"linear"`.
    """

    low: float
    high: float
    scale: Literal["log", "linear"] = "log"

    @model_validator(mode="before")
    @classmethod
    def _from_pair(cls, data: Any) -> Any:
        if isinstance(data, (list, tuple)) and len(data) == 2:
            data = {"low": data[0], "high": data[1]}
        if not isinstance(data, (dict, Range)):
            shown = list(data) if isinstance(data, tuple) else data
            raise ValueError(
                f"a range is [low, high], or a table of low, high and scale, got {shown!r}"
            )
        if isinstance(data, dict):
            return data | {k: _as_float(data[k]) for k in ("low", "high") if k in data}
        return data

    @model_validator(mode="after")
    def _is_in_order(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"a range must rise, got [{self.low:g}, {self.high:g}]")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(
                f"a logarithmic range must begin above 0, got {self.low:g}; write "
                f'{{ low = {self.low:g}, high = {self.high:g}, scale = "linear" }}'
            )
        return self

    def at(self, place: float) -> float:
        """Return the value at a place from 0 (low) to 1 (high), to four digits."""
        low, high = self._ends()
        value = low + place * (high - low)
        return float(f"{np.exp(value) if self.scale == 'log' else value:.{_DIGITS}g}")

    def place_of(self, value: float) -> float:
        """Return the place of a value, from 0 (low) to 1 (high)."""
        low, high = self._ends()
        return float(((np.log(value) if self.scale == "log" else value) - low) / (high - low))

    def _ends(self) -> tuple[float, float]:
        if self.scale == "linear":
            return self.low, self.high
        return float(np.log(self.low)), float(np.log(self.high))


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class TuningSpec(Spec):
    """How the options of each arm are tuned, for the regime "each tuned".

    Attributes:
        budget: K, the number of settings tried for each arm, controls included: 8, 16 or 32; a
            task may have its own, and 1 leaves it untuned.
        blocks: Number of tuning blocks, which no verdict uses.
        held_out: Share of the training part that is held out to choose by [1].
        space: Ranges of options that every arm has; an arm may have its own.
    """

    budget: Budget = 8
    blocks: Annotated[int, Field(ge=1, le=100)] = 3
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    space: dict[str, Range] = Field(default_factory=dict)
