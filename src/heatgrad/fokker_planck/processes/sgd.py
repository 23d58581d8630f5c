"""Stochastic gradient descent as a diffusion process."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.fokker_planck.processes.process import Points, Process, at_points, scalar_valued

__all__ = ["LOSS_OF", "SGDDiffusion", "SampleLoss", "batch_share", "check_sgd"]

# Of the parameters, shape (p,), and one sample of each tensor of the data, to a scalar.
SampleLoss = Callable[..., Tensor]
LOSS_OF = "the parameters and one sample"


class SGDDiffusion(Process):
    r"""The diffusion that minibatch SGD follows for small learning rates.

    $$b = -\nabla L - \tfrac{\eta}{4} \nabla |\nabla L|^2 \;[\text{order 2 only}], \qquad
    D = \tfrac{\eta}{2} (\Sigma_B + \epsilon I) \tag{F.4}$$

    on the clock t = η k after k steps, with $\Sigma_B = \Sigma / B$ for batches drawn with
    replacement, $\Sigma (N - B) / (B (N - 1))$ without, and Σ the covariance of the gradients of
    single samples. D has at most rank N - 1 and vanishes where all samples agree: an interpolating
    minimum is absorbing.

    Args:
        loss: Of the parameters, shape (p,), and one sample, to a scalar [loss].
        data: Tensors whose first axis counts the samples, handed on to `loss` one by one.
        lr: η, positive [time].
        batch_size: B, at least 1; without replacement at most N.
        order: 1, or 2 for the drift of Li, Tai and E.
        extra_noise: ε, the variance of noise added to every gradient, at least 0.
        replacement: Whether the batches are drawn with replacement.

    Attributes:
        num_samples: N. The arguments, too, are attributes.

    Raises:
        ValueError: If an argument is out of range, or the data are not as many; when evaluated,
            if the loss is not a scalar.

    References:
        Li, Tai and E (2019), JMLR 20(40), Theorem 1. [Barbieri]: the degenerate equation, and
        ε -> 0. Theory page: Eqs. (F.4) and (F.5).

    Example:
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> y = torch.tensor([1.0, 3.0])
        >>> loss = lambda theta, x, y: (x @ theta - y) ** 2 / 2
        >>> sgd = SGDDiffusion(loss, (x, y), lr=0.1, batch_size=1)
        >>> sgd.drift(torch.zeros(1, 1)), sgd.diffusion(torch.zeros(1, 1))
        (tensor([[3.5000]]), tensor([[[0.3125]]]))
    """

    def __init__(
        self,
        loss: SampleLoss,
        data: Sequence[Tensor],
        *,
        lr: float,
        batch_size: int,
        order: Literal[1, 2] = 1,
        extra_noise: float = 0.0,
        replacement: bool = True,
    ) -> None:
        count = check_sgd(data, lr, extra_noise)
        if order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, got {order!r}")
        self.loss, self.data, self.num_samples = loss, tuple(data), count
        self._loss = scalar_valued("loss", loss, LOSS_OF)
        self.lr, self.batch_size, self.order = float(lr), batch_size, order
        self.extra_noise, self.replacement = float(extra_noise), replacement
        self._share = batch_share(count, batch_size, replacement=replacement)
        self._slopes = torch.func.vmap(
            torch.func.vmap(
                torch.func.grad_and_value(self._loss), in_dims=(None, *[0] * len(self.data))
            ),
            in_dims=(0, *[None] * len(self.data)),
        )

    def mean_loss(self, theta: Float[Tensor, " p"]) -> Tensor:
        """Return L at one point."""
        each = torch.func.vmap(self._loss, in_dims=(None, *[0] * len(self.data)))
        value: Tensor = each(theta, *self._data(theta)).mean()
        return value

    def sample_gradients(self, x: Points) -> Float[Tensor, "n samples p"]:
        """Return the gradient of every sample's loss at each point."""
        slopes: Tensor = self._slopes(x, *self._data(x))[0]
        return slopes

    def drift(self, x: Points) -> Points:
        """Return the drift of the chosen order; NaN where a loss is not finite."""
        if self.order == 1:
            slopes, values = self._slopes(x, *self._data(x))
            drift: Tensor = (0 * values.mean(1)).to(x).unsqueeze(1) - slopes.mean(1)
            return drift

        def one(theta: Tensor) -> Tensor:
            g, value = torch.func.grad_and_value(self.mean_loss)(theta)
            # grad |g|^2 / 4 = H g / 2, and H g is the derivative of g along g.
            slope = torch.func.grad(self.mean_loss)
            along: Tensor = torch.func.jvp(slope, (theta,), (g.detach(),))[1]
            drift: Tensor = -g - self.lr / 2 * along + (0 * value).to(g)
            return drift

        return at_points(one)(x)

    def diffusion(self, x: Points) -> Float[Tensor, "n p p"]:
        """Return D."""
        factor = self.noise_factor(x)
        return factor @ factor.mT

    def noise_factor(self, x: Points) -> Float[Tensor, "n p r"]:
        """Return the centred gradients of the samples, scaled; then the extra noise, if any."""
        slopes = self.sample_gradients(x)
        centred = (slopes - slopes.mean(1, keepdim=True)).mT
        factor = centred * math.sqrt(self.lr / 2 * self._share / self.num_samples)
        if not self.extra_noise:
            return factor
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        extra = (math.sqrt(self.lr / 2 * self.extra_noise) * eye).expand(len(x), -1, -1)
        return torch.cat([factor, extra], dim=2)

    def _data(self, like: Tensor) -> list[Tensor]:
        return [
            part.to(like) if part.is_floating_point() else part.to(like.device)
            for part in self.data
        ]


def check_sgd(data: Sequence[Tensor], lr: float, extra_noise: float) -> int:
    """Return the number of samples of data that can be trained on.

    Raises:
        ValueError: If the data are not as many, or a number is out of range.
    """
    counts = {len(part) for part in data}
    if len(counts) != 1 or not (count := counts.pop()):
        raise ValueError(
            f"data must be tensors of as many samples, at least one, got "
            f"{[tuple(part.shape) for part in data]}"
        )
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr must be positive and finite, got {lr!r}")
    if not (math.isfinite(extra_noise) and extra_noise >= 0):
        raise ValueError(f"extra_noise must be at least 0 and finite, got {extra_noise!r}")
    return count


def batch_share(num_samples: int, batch_size: int, *, replacement: bool) -> float:
    r"""Return the covariance of a batch's mean relative to that of one sample.

    $$\frac{1}{B} \;\text{with replacement}, \qquad
    \frac{N - B}{B (N - 1)} \;\text{without} \tag{F.5}$$

    Raises:
        ValueError: If `batch_size` is below 1, or above `num_samples` without replacement.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1, got {batch_size!r}")
    if replacement:
        return 1 / batch_size
    if batch_size > num_samples:
        raise ValueError(
            f"batch_size must be at most the {num_samples} samples without replacement, got "
            f"{batch_size}"
        )
    return (num_samples - batch_size) / (batch_size * max(1, num_samples - 1))
