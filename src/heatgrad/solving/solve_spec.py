"""What is asked of one solution from sensors."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from heatgrad.core.errors import DataError
from heatgrad.core.lookup import nearest
from heatgrad.core.spec import Positive, Spec, digest, parse

__all__ = ["METHOD_NAMES", "Method", "SolveSpec", "parse_observe"]

Method = Literal["pseudo-inverse", "exact", "dps", "adam", "kriging"]
METHOD_NAMES: tuple[str, ...] = get_args(Method)

_FILE_NOISE = 0.01  # of a field's size, where a file gives no noise: no instrument is without


class SolveSpec(Spec):
    """A problem, its sensors, and how the field is found.

    Attributes:
        problem: A name of `PROBLEMS`, or `"package.module:Name"`.
        options: Keyword arguments for it.
        observe: How many sensors of which field, at random points of a solution that is drawn.
        data: A file of sensors, in place of that.
        data_digest: SHA-256 of the file's contents.
        draws: Draws of the posterior, at least 2.
        noise: Standard deviation of the measurements, over the field's root mean square by its
            law; 0 for sensors that are drawn and 0.01 for a file, unless given [1].
        method: How it is found.
        seed: Of the solution, the sensors, the noise and the draws.
    """

    problem: str
    options: dict[str, Any] = Field(default_factory=dict)
    observe: dict[str, Positive] = Field(default_factory=dict)
    data: str | None = None
    data_digest: str = ""
    draws: Annotated[int, Field(ge=2)] = 16
    noise: Annotated[float, Field(ge=0)] | None = None
    method: Method = "pseudo-inverse"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits(self) -> "SolveSpec":
        if self.observe and self.data is not None:
            raise ValueError("give sensors to draw or a file of sensors, not both")
        if not self.observe and self.data is None:
            raise ValueError("give sensors: some to draw, as u:500, or a file of them")
        return self

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, source: str = "solve") -> "SolveSpec":
        """Return what plain values describe, or raise SpecError with one line."""
        return parse(cls, data, source=source)

    @classmethod
    def of_file(cls, problem: str, path: str | Path, **others: Any) -> "SolveSpec":
        """Return the specification of a file's sensors; its contents count, not its name.

        Raises:
            DataError: If it cannot be read.
            SpecError: If another value does not fit.
        """
        try:
            content = Path(path).read_bytes()
        except FileNotFoundError:
            raise DataError(f"no file of sensors at '{path}'") from None
        except OSError as error:
            raise DataError(f"cannot read the sensors '{path}': {error.strerror}") from error
        found = hashlib.sha256(content).hexdigest()
        given = {"problem": problem, "data": str(path), "data_digest": found}
        return cls.from_dict({**given, **others})

    @property
    def relative_noise(self) -> float:
        """The noise of a sensor that has none of its own, over the size of its field [1]."""
        if self.noise is not None:
            return self.noise
        return 0.0 if self.data is None else _FILE_NOISE

    @property
    def id(self) -> str:
        """The SHA-256 of all that decides the results."""
        return digest(self.model_dump(mode="json", exclude={"data"}))


def parse_observe(words: list[str], fields: tuple[str, ...]) -> dict[str, int]:
    """Return how many sensors of which field, as read from `field:number`.

    Raises:
        DataError: If a word has another form, or a field is unknown or named twice.

    Example:
        >>> parse_observe(["u:500"], ("a", "u"))
        {'u': 500}
    """
    counts: dict[str, int] = {}
    for word in words:
        field, _, number = word.partition(":")
        if field not in fields:
            raise DataError(f"unknown field '{field}' in '{word}'; {nearest(field, fields)}")
        if not (number.isascii() and number.isdigit()) or int(number) < 1:
            raise DataError(f"sensors are given as field:number, as {field}:500, got '{word}'")
        if field in counts:
            raise DataError(f"field '{field}' is given twice; add the numbers up")
        counts[field] = int(number)
    return counts
