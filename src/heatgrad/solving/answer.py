"""What a method says of a case."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Answer"]

_FEWEST = 3  # draws: of no more, all are taken, for a spread needs two


@dataclass(frozen=True, eq=False)
class Answer:
    """Fields that agree with what was measured.

    Attributes:
        mean: Posterior mean of each field, shape (1, n, n) [field].
        draws: Draws of each field, shape (num, n, n) [field].
        calls: Calls of the denoiser for each draw; 0 where there is none.
        seconds: Time of this case, without what cases of the same sensors share [s].
        pairs: Whether draws come in pairs from opposite noise: then every second one is
            independent of the others, and the mean of all has less noise.
    """

    mean: Mapping[str, Tensor]
    draws: Mapping[str, Tensor]
    calls: int
    seconds: float
    pairs: bool = False

    def independent(self, name: str) -> Tensor:
        """Return draws of a field that do not depend on each other, shape (some, n, n)."""
        draws = self.draws[name]
        return draws[::2] if self.pairs and len(draws) > _FEWEST else draws

    def std(self) -> dict[str, Tensor]:
        """Return the standard deviation of the draws at each point, each of shape (n, n)."""
        return {name: field.std(0) for name, field in self.draws.items()}
