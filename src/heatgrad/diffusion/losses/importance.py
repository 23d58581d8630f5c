"""Which times to train at: those whose loss is large, more often."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["LossHistory"]


class LossHistory:
    r"""The last losses of each time, and times drawn by their root mean square.

    $$p_t = (1 - u) \frac{\sqrt{E[L_t^2]}}{\sum_s \sqrt{E[L_s^2]}} + \frac{u}{T}, \qquad
    w_t = \frac{1}{T p_t}, \tag{D.28}$$

    so that the mean of $w_t L_t$ is that of uniform times, with less noise. Uniform until every
    time has its full history. The history is kept in memory alone: a training that goes on from a
    checkpoint begins it anew.

    Args:
        num_times: T, at least 1.
        length: Losses kept of each time, at least 1.
        uniform: u, the share drawn uniformly, in (0, 1]: no time is forgotten [1].

    Raises:
        ValueError: If a number is out of range.

    References:
        Nichol and Dhariwal (2021), arXiv:2102.09672v1, Eq. (18). Theory page: Eq. (D.28).

    Example:
        >>> history = LossHistory(2, length=1, uniform=0.5)
        >>> history.record(torch.tensor([0, 1]), torch.tensor([1.0, 3.0]))
        >>> history.probabilities().tolist()
        [0.375, 0.625]
    """

    def __init__(self, num_times: int, *, length: int = 10, uniform: float = 0.001) -> None:
        if num_times < 1 or length < 1 or not 0 < uniform <= 1:
            raise ValueError(
                f"need num_times and length at least 1, and uniform in (0, 1], got {num_times}, "
                f"{length} and {uniform}"
            )
        self.num_times, self.uniform = num_times, uniform
        self._losses = torch.zeros(num_times, length, dtype=torch.float64)
        self._counts = torch.zeros(num_times, dtype=torch.int64)

    def probabilities(self) -> Float[Tensor, " times"]:
        """Return how likely each time is now, float64, on the CPU."""
        even = torch.full((self.num_times,), 1 / self.num_times, dtype=torch.float64)
        sizes = self._losses.square().mean(1).sqrt()
        if bool((self._counts < self._losses.shape[1]).any()) or not float(sizes.sum()) > 0:
            return even
        return (1 - self.uniform) * sizes / sizes.sum() + self.uniform * even

    def draw(
        self, num: int, generator: torch.Generator | None = None
    ) -> tuple[Int64[Tensor, " num"], Float[Tensor, " num"]]:
        """Return times and the weights of their losses, float64, on the CPU.

        Args:
            num: How many.
            generator: On the CPU; torch's default one if none is given.
        """
        p = self.probabilities()
        times = torch.multinomial(p, num, replacement=True, generator=generator)
        return times, 1 / (self.num_times * p[times])

    def record(self, times: Int64[Tensor, " num"], losses: Float[Tensor, " num"]) -> None:
        """Keep losses, unweighted, in place of the oldest of their times.

        Raises:
            ValueError: If there is not one finite loss for each time.
        """
        if times.shape != losses.shape or not bool(torch.isfinite(losses).all()):
            raise ValueError(
                f"need one finite loss for each of {len(times)} times, got shape "
                f"{tuple(losses.shape)}"
            )
        length = self._losses.shape[1]
        pairs = zip(times.tolist(), losses.detach().double().tolist(), strict=True)
        for time, loss in pairs:
            self._losses[time, int(self._counts[time]) % length] = loss
            self._counts[time] += 1
