"""How far from a minimum SGD is: first the drift pulls it in, then the noise holds it off."""

import math

from heatgrad.fokker_planck.linear.checks import nonnegative, positive

__all__ = ["crossover_time", "drift_bound"]


def drift_bound(
    t: float, distance0: float, *, convexity: float, noise_trace: float, lr: float
) -> float:
    r"""Return a bound of the mean squared distance from a minimum at time t.

    $$E|\theta_t - \theta^*|^2 \le e^{-2 m t} |\theta_0 - \theta^*|^2 +
    \frac{\eta s^2}{2 m} (1 - e^{-2 m t}) \tag{F.22}$$

    for the diffusion (F.4), as long as it stays where $\nabla^2 L \ge m$ and
    $\operatorname{tr} \Sigma_B \le s^2$; equality for $\nabla^2 L = m I$ and constant noise.

    Args:
        t: At least 0 [time].
        distance0: Distance at the start, at least 0 [param]; the root mean square of a random one.
        convexity: m, positive [1 / time].
        noise_trace: s², trace of the covariance of a batch's gradient, at least 0.
        lr: η, positive [time].

    Returns:
        The bound [param²].

    Raises:
        ValueError: If an argument is out of range.

    References:
        [Barbieri]: where the weights concentrate first; this is Gronwall's bound, not the paper's.

    Example:
        >>> round(drift_bound(0.5, 1.0, convexity=1.0, noise_trace=2.0, lr=0.1), 4)
        0.4311
    """
    far = nonnegative("distance0", distance0) ** 2
    m = positive("convexity", convexity)
    floor = positive("lr", lr) * nonnegative("noise_trace", noise_trace) / (2 * m)
    decay = -2 * m * nonnegative("t", t)
    return math.exp(decay) * far - floor * math.expm1(decay)


def crossover_time(distance0: float, *, convexity: float, noise_trace: float, lr: float) -> float:
    r"""Return when the two terms of the bound (F.22) are equal: the end of the drift phase.

    $$t_\times = \frac{1}{2 m} \log\Bigl(1 + \frac{2 m |\theta_0 - \theta^*|^2}{\eta s^2}\Bigr)
    \tag{F.23}$$

    Args:
        distance0: As for `drift_bound`, like the rest.
        convexity: m.
        noise_trace: s²; without noise the drift phase has no end.
        lr: η.

    Returns:
        The time, infinite without noise [time].

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> round(crossover_time(1.0, convexity=1.0, noise_trace=2.0, lr=0.1), 4)
        1.1989
    """
    far = nonnegative("distance0", distance0) ** 2
    m = positive("convexity", convexity)
    floor = positive("lr", lr) * nonnegative("noise_trace", noise_trace) / (2 * m)
    if floor == 0:
        return math.inf
    return math.log1p(far / floor) / (2 * m)
