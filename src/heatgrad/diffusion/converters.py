"""Networks of a discrete chain as denoisers, whatever it is that they predict."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from heatgrad.diffusion.denoiser import Denoiser, levels_like
from heatgrad.diffusion.levels.chain import sigmas_of

__all__ = [
    "ChainDenoiser",
    "Prediction",
    "as_noise_prediction",
    "from_data_prediction",
    "from_noise_prediction",
    "from_velocity_prediction",
]

Prediction = Literal["noise", "data", "velocity"]

_TOLERANCE = 1e-4  # of a level that lies beyond the ends of a table by rounding


class ChainDenoiser(nn.Module):
    r"""A network of a discrete chain, as a denoiser in the coordinate of this subpackage.

    The network sees $x_t = x / \sqrt{1 + \sigma^2}$ and the time, from 0 to T - 1, and predicts
    the noise ε, the data, or the velocity:

    $$\hat x_0 = x - \sigma \hat\epsilon, \tag{D.14}$$

    $$v = \sqrt{\bar\alpha}\,\epsilon - \sqrt{1 - \bar\alpha}\,x_0, \qquad
    \hat x_0 = \sqrt{\bar\alpha}\,x_t - \sqrt{1 - \bar\alpha}\,\hat v
    = \frac{x}{1 + \sigma^2} - \frac{\sigma \hat v}{\sqrt{1 + \sigma^2}}. \tag{D.15}$$

    A level between two times is told as the nearest of them in log σ, or as a fraction; x is
    scaled by the level itself. Beyond the ends of the table there is nothing to tell.

    Args:
        network: Called as `network(x_t, t)`, t int64 of shape (n,), or with the class as a third
            argument where one is given. A network whose answer is wrapped goes in as a lambda.
        alpha_bars: Those it was trained with, shape (T,), see `sigmas_of`.
        prediction: What it predicts.
        learned_variance: Whether it returns twice as many channels, axis 1, of which the second
            half, from -1 to 1, says where the variance of a step is, Eq. (D.9).
        interpolate: Whether t is a fraction between two times, of the samples' dtype.

    Attributes:
        network: As given; its parameters are this module's.

    Raises:
        ValueError: If the chain is none or the prediction unknown; on a call, if a level is beyond
            the chain's or the network returns another shape.

    References:
        Salimans and Ho (2022), arXiv:2202.00512v2, appendix D, for v. Theory page: Eqs. (D.14)
        and (D.15).

    Example:
        >>> ab = torch.tensor([0.8, 0.5, 0.2], dtype=torch.float64)
        >>> told_time = ChainDenoiser(lambda x, t: 0 * x + t, ab, prediction="data")
        >>> told_time(torch.zeros(2), torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        alpha_bars: Float[Tensor, " times"],
        *,
        prediction: Prediction,
        learned_variance: bool = False,
        interpolate: bool = False,
    ) -> None:
        super().__init__()
        if prediction not in ("noise", "data", "velocity"):
            raise ValueError(f"prediction must be noise, data or velocity, got {prediction!r}")
        self.network = network
        self._prediction, self._learned_variance = prediction, learned_variance
        self._interpolate = interpolate
        # Kept on the CPU in float64 whatever the module is moved to: a table, not a state.
        self._log_sigmas = torch.log(sigmas_of(alpha_bars))

    def forward(
        self,
        x: Float[Tensor, "n *shape"],
        sigma: Float[Tensor, "*m"],
        label: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """Return the denoised samples, see `LabelledDenoiser`."""
        return self._denoised(x, sigma, label)[0]

    def with_fraction(
        self,
        x: Float[Tensor, "n *shape"],
        sigma: Float[Tensor, "*m"],
        label: Int64[Tensor, " n"] | None = None,
    ) -> tuple[Float[Tensor, "n *shape"], Float[Tensor, "n *shape"]]:
        """Return the denoised samples and where the variance is, see `VarianceDenoiser`.

        Raises:
            TypeError: If the network has learned no variance.
        """
        if not self._learned_variance:
            raise TypeError(
                "the network has learned no variance; pass learned_variance=True if it returns "
                "twice as many channels"
            )
        x0, raw = self._denoised(x, sigma, label)
        return x0, (raw + 1) / 2

    def _denoised(self, x: Tensor, sigma: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        level = levels_like(sigma, x)
        root = (1 + level**2).sqrt()
        time = self._times(sigma, x)
        answer = self.network(x / root, time, *([] if label is None else [label]))
        answer, raw = self._parts(answer, x)
        if self._prediction == "noise":
            return x - level * answer, raw
        if self._prediction == "data":
            return answer, raw
        return x / root**2 - (level / root) * answer, raw

    def _parts(self, answer: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(answer, Tensor):
            raise ValueError(
                f"the network must return a tensor, got {type(answer).__name__}; unwrap it, as in "
                f"lambda x, t: network(x, t).sample"
            )
        wanted = list(x.shape)
        if self._learned_variance:
            if x.ndim < 2:
                raise ValueError("a learned variance needs samples with an axis of channels")
            wanted[1] *= 2
        if list(answer.shape) != wanted:
            raise ValueError(
                f"the network must return shape {tuple(wanted)}, got {tuple(answer.shape)}"
                + ("" if self._learned_variance else "; is its variance learned?")
            )
        if not self._learned_variance:
            return answer, answer
        mean, raw = answer.chunk(2, dim=1)
        return mean, raw

    def _times(self, sigma: Tensor, x: Tensor) -> Tensor:
        """Return the time of each sample, shape (n,), on the device of `x`."""
        logs = torch.log(sigma.detach().to("cpu", torch.float64)).reshape(-1)
        table = self._log_sigmas
        low, high = table[0] - _TOLERANCE, table[-1] + _TOLERANCE
        if not bool(((logs >= low) & (logs <= high)).all()):
            raise ValueError(
                f"sigma must be within the chain's levels, {float(table[0].exp()):.6g} to "
                f"{float(table[-1].exp()):.6g}, got {float(logs.exp().min()):.6g} to "
                f"{float(logs.exp().max()):.6g}; take levels_of(alpha_bars), or karras_levels "
                f"between these"
            )
        above = torch.searchsorted(table, logs).clamp(1, max(1, len(table) - 1))
        if len(table) == 1:
            share = torch.zeros_like(logs)
        else:
            gap = table[above] - table[above - 1]
            share = (above - 1) + ((logs - table[above - 1]) / gap).clamp(0, 1)
        times = share.to(x.dtype) if self._interpolate else share.round().long()
        return times.to(x.device).expand(len(x))


def from_noise_prediction(
    network: Callable[..., Tensor],
    alpha_bars: Float[Tensor, " times"],
    *,
    learned_variance: bool = False,
    interpolate: bool = False,
) -> ChainDenoiser:
    """Return a denoiser that is a network which predicts the noise; see `ChainDenoiser`.

    Example:
        >>> ab = torch.tensor([0.8, 0.5], dtype=torch.float64)
        >>> D = from_noise_prediction(lambda x, t: 0 * x + 3, ab)
        >>> D(torch.zeros(1), torch.tensor(1.0))
        tensor([-3.])
    """
    return ChainDenoiser(
        network,
        alpha_bars,
        prediction="noise",
        learned_variance=learned_variance,
        interpolate=interpolate,
    )


def from_data_prediction(
    network: Callable[..., Tensor],
    alpha_bars: Float[Tensor, " times"],
    *,
    learned_variance: bool = False,
    interpolate: bool = False,
) -> ChainDenoiser:
    """Return a denoiser that is a network which predicts the data; see `ChainDenoiser`.

    Example:
        >>> ab = torch.tensor([0.8, 0.5], dtype=torch.float64)
        >>> D = from_data_prediction(lambda x, t: 0 * x + 3, ab)
        >>> D(torch.zeros(1), torch.tensor(1.0))
        tensor([3.])
    """
    return ChainDenoiser(
        network,
        alpha_bars,
        prediction="data",
        learned_variance=learned_variance,
        interpolate=interpolate,
    )


def from_velocity_prediction(
    network: Callable[..., Tensor],
    alpha_bars: Float[Tensor, " times"],
    *,
    learned_variance: bool = False,
    interpolate: bool = False,
) -> ChainDenoiser:
    """Return a denoiser that is a network which predicts the velocity; see `ChainDenoiser`.

    Example:
        >>> ab = torch.tensor([0.8, 0.5], dtype=torch.float64)
        >>> D = from_velocity_prediction(lambda x, t: 0 * x, ab)
        >>> D(torch.ones(1), torch.tensor(1.0))
        tensor([0.5000])
    """
    return ChainDenoiser(
        network,
        alpha_bars,
        prediction="velocity",
        learned_variance=learned_variance,
        interpolate=interpolate,
    )


def as_noise_prediction(
    denoiser: Denoiser, alpha_bars: Float[Tensor, " times"]
) -> Callable[[Tensor, Tensor], Tensor]:
    r"""Return a denoiser as a network of a chain that predicts the noise, Eq. (D.14) backwards.

    So it runs in the samplers of others: $\hat\epsilon = (x - \hat x_0) / \sigma$ at
    $x = x_t / \sqrt{\bar\alpha_t}$.

    Args:
        denoiser: Any.
        alpha_bars: Of the chain, shape (T,).

    Returns:
        A function of x_t, shape (n, *shape), and of t, int64 of shape (n,) or ().

    Raises:
        ValueError: If the chain is none.

    References:
        Theory page: Eq. (D.14).

    Example:
        >>> network = as_noise_prediction(lambda x, sigma: 0 * x, torch.tensor([0.8, 0.5]))
        >>> network(torch.ones(1), torch.tensor([1]))
        tensor([1.4142])
    """
    sigmas = sigmas_of(alpha_bars)

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        sigma = sigmas[t.cpu()].to(x_t)
        level = levels_like(sigma, x_t)
        x = x_t * (1 + level**2).sqrt()
        return (x - denoiser(x, sigma)) / level

    return network
