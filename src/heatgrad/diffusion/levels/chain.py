"""Chains of discrete times: their tables, and the levels that a sampler visits."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = [
    "Spacing",
    "alpha_bars_of",
    "cosine_alpha_bars",
    "levels_of",
    "linear_alpha_bars",
    "respaced_times",
    "sigmas_of",
]

Spacing = Literal["trailing", "leading", "linspace"]


def linear_alpha_bars(
    num_times: int = 1000, *, beta_first: float = 1e-4, beta_last: float = 0.02
) -> Float[Tensor, " times"]:
    r"""Return the share of the signal's variance that is left, for betas on a line.

    $$\bar\alpha_t = \prod_{s \le t} (1 - \beta_s), \qquad
    \beta_t \text{ from } \beta_1 \text{ to } \beta_T \text{ on a line.} \tag{D.4}$$

    Args:
        num_times: T, at least 1.
        beta_first: Variance added at the first time, in (0, 1) [1].
        beta_last: At the last, at least `beta_first` [1].

    Returns:
        Shape (T,), float64; entry 0 is after one step of noise, as everywhere here.

    Raises:
        ValueError: If a number is out of range.

    References:
        Ho et al. (2020), arXiv:2006.11239v2, section 4. Theory page: Eq. (D.4).

    Example:
        >>> [round(v, 6) for v in linear_alpha_bars(2).tolist()]
        [0.9999, 0.979902]
    """
    _check_num_times(num_times)
    if not 0 < beta_first <= beta_last < 1:
        raise ValueError(f"need 0 < beta_first <= beta_last < 1, got {beta_first}, {beta_last}")
    betas = torch.linspace(beta_first, beta_last, num_times, dtype=torch.float64)
    return torch.cumprod(1 - betas, 0)


def cosine_alpha_bars(
    num_times: int = 1000, *, shift: float = 0.008, max_beta: float = 0.999
) -> Float[Tensor, " times"]:
    r"""Return the cosine schedule of improved DDPM.

    $$\bar\alpha_t = \prod_{s \le t} (1 - \beta_s), \quad
    \beta_t = \min\Bigl(1 - \frac{f(t)}{f(t - 1)}, \beta_{\max}\Bigr), \quad
    f(t) = \cos^2 \Bigl(\frac{t / T + s}{1 + s} \frac{\pi}{2}\Bigr). \tag{D.5}$$

    Args:
        num_times: T, at least 1.
        shift: s, at least 0: keeps the first betas from being too small [1].
        max_beta: Keeps the last ones below 1, in (0, 1) [1].

    Returns:
        Shape (T,), float64.

    Raises:
        ValueError: If a number is out of range.

    References:
        Nichol and Dhariwal (2021), arXiv:2102.09672v1, Eq. (17). Theory page: Eq. (D.5).

    Example:
        >>> cosine_alpha_bars(1000)[499].item()  # doctest: +ELLIPSIS
        0.4938...
    """
    _check_num_times(num_times)
    if not 0 <= shift < math.inf or not 0 < max_beta < 1:
        raise ValueError(f"need shift >= 0 and 0 < max_beta < 1, got {shift} and {max_beta}")
    share = torch.arange(num_times + 1, dtype=torch.float64) / num_times
    f = torch.cos((share + shift) / (1 + shift) * (math.pi / 2)) ** 2
    betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    return torch.cumprod(1 - betas, 0)


def sigmas_of(alpha_bars: Float[Tensor, " times"]) -> Float[Tensor, " times"]:
    r"""Return the noise levels of a chain's times in the coordinate of all this subpackage.

    $\sigma_t = \sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}$, Eq. (D.2).

    Args:
        alpha_bars: Shape (T,), strictly decreasing, in (0, 1), in float64 if possible: near 1,
            float32 keeps three digits of 1 - alpha_bar.

    Returns:
        Shape (T,), strictly increasing, float64, on the CPU [data].

    Raises:
        ValueError: If they are no such chain; one that ends in pure noise, with a last entry 0,
            has an infinite level there.

    References:
        Theory page: Eq. (D.2).

    Example:
        >>> [round(v, 6) for v in sigmas_of(torch.tensor([0.8, 0.5, 0.2])).tolist()]
        [0.5, 1.0, 2.0]
    """
    if alpha_bars.ndim != 1 or not len(alpha_bars):
        raise ValueError(f"alpha_bars must be a list, got shape {tuple(alpha_bars.shape)}")
    values = alpha_bars.detach().to("cpu", torch.float64)
    if not bool(((values > 0) & (values < 1)).all()):
        raise ValueError(
            f"alpha_bars must be above 0 and below 1, got {float(values.min())} to "
            f"{float(values.max())}; leave out times of pure noise and of none"
        )
    if not bool((values[1:] < values[:-1]).all()):
        raise ValueError("alpha_bars must be strictly decreasing in time")
    return ((1 - values) / values).sqrt()


def alpha_bars_of(sigmas: Tensor) -> Tensor:
    r"""Return $\bar\alpha = 1 / (1 + \sigma^2)$, the inverse of `sigmas_of`, Eq. (D.2).

    Args:
        sigmas: Any shape [data].

    Example:
        >>> alpha_bars_of(torch.tensor([0.0, 1.0])).tolist()
        [1.0, 0.5]
    """
    return 1 / (1 + sigmas**2)


def respaced_times(
    num_times: int, steps: int, *, spacing: Spacing = "trailing"
) -> Int64[Tensor, " steps"]:
    """Return which times of a chain to visit, the noisiest first.

    | spacing | times, of T | |
    |---|---|---|
    | `trailing` | T - 1, T - 1 - T/n, ... | begins where the noise is pure |
    | `linspace` | T - 1 to 0, evenly | has both ends |
    | `leading` | ..., 2T/n, T/n, 0 | begins below the last time: a known flaw, for parity |

    Args:
        num_times: T.
        steps: n, from 1 to T.
        spacing: As above.

    Returns:
        Shape (n,), strictly decreasing, from 0 to T - 1.

    Raises:
        ValueError: If there are more steps than times, or the spacing is unknown.

    References:
        Lin et al. (2023), arXiv:2305.08891, Table 2. Theory page: Eq. (D.6).

    Example:
        >>> respaced_times(1000, 4).tolist(), respaced_times(1000, 4, spacing="leading").tolist()
        ([999, 749, 499, 249], [750, 500, 250, 0])
    """
    if not 1 <= steps <= num_times:
        raise ValueError(f"steps must be from 1 to the {num_times} times of the chain, got {steps}")
    i = np.arange(steps)
    if spacing == "trailing":
        times = np.round(num_times - i * (num_times / steps)) - 1
    elif spacing == "linspace":
        times = np.round(np.linspace(0, num_times - 1, steps))[::-1] if steps > 1 else i[:1]
        times = times if steps > 1 else np.array([num_times - 1])
    elif spacing == "leading":
        times = (i * (num_times // steps))[::-1]
    else:
        raise ValueError(f"spacing must be trailing, leading or linspace, got {spacing!r}")
    return torch.from_numpy(times.astype(np.int64).copy())


def levels_of(
    alpha_bars: Float[Tensor, " times"],
    steps: int | Sequence[int] | Int64[Tensor, " steps"] | None = None,
    *,
    spacing: Spacing = "trailing",
) -> Float[Tensor, " levels"]:
    r"""Return the levels of a chain, or of some of its times, decreasing and then 0.

    $$\sigma_i = \sqrt{(1 - \bar\alpha_{t_i}) / \bar\alpha_{t_i}}, \quad
    t_0 > t_1 > \dots > t_{n-1}, \qquad \sigma_n = 0. \tag{D.6}$$

    Args:
        alpha_bars: Shape (T,), see `sigmas_of`.
        steps: How many of the times, by `respaced_times`; or the times themselves, from 0 to
            T - 1, strictly decreasing; all of them by default.
        spacing: Of a number of steps.

    Returns:
        Shape (n + 1,), float64, on the CPU [data].

    Raises:
        ValueError: If the chain or the times are not as above.

    References:
        Theory page: Eqs. (D.2) and (D.6).

    Example:
        >>> [round(v, 6) for v in levels_of(torch.tensor([0.8, 0.5, 0.2]), [2, 0]).tolist()]
        [2.0, 0.5, 0.0]
    """
    sigmas = sigmas_of(alpha_bars)
    num_times = len(sigmas)
    if steps is None or isinstance(steps, int):
        times = respaced_times(num_times, num_times if steps is None else steps, spacing=spacing)
    else:
        times = torch.as_tensor(steps, dtype=torch.int64, device="cpu")
        is_inside = bool(((times >= 0) & (times < num_times)).all())
        if times.ndim != 1 or not len(times) or not is_inside:
            raise ValueError(f"steps must be times from 0 to {num_times - 1}, got {steps}")
        if not bool((times[1:] < times[:-1]).all()):
            raise ValueError(f"steps must be strictly decreasing times, got {steps}")
    return torch.cat([sigmas[times], sigmas.new_zeros(1)])


def _check_num_times(num_times: int) -> None:
    if num_times < 1:
        raise ValueError(f"num_times must be at least 1, got {num_times}")
