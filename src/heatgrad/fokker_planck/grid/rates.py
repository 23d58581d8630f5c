"""Scharfetter-Gummel rates: jumps that keep the stationary law of each link."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["bernoulli", "excess_diffusion", "jump_rate"]

_CLIP = 700.0


def bernoulli(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    r"""Return the Bernoulli function, without cancellation near zero or overflow far away.

    $$B(z) = \frac{z}{e^z - 1}, \qquad B(0) = 1, \qquad B(-z) = e^z B(z) \tag{F.32}$$

    Args:
        z: Real numbers; beyond 700 in size they count as 700, save that B(z) = -z below.

    References:
        Scharfetter and Gummel (1969), IEEE Trans. Electron Devices 16. Theory page: Eq. (F.32).

    Example:
        >>> bernoulli(np.array([-1000.0, 0.0, 1000.0])).round(6)
        array([1000.,    1.,    0.])
    """
    clipped = np.clip(z, -_CLIP, _CLIP)
    near = np.abs(clipped) < 1e-8
    safe = np.where(near, 1.0, clipped)
    value = np.where(near, 1.0 - clipped / 2, safe / np.expm1(safe))
    found: NDArray[np.float64] = np.where(z < -_CLIP, -z, value)
    return found


def jump_rate(
    weight: Float[np.ndarray, " links"], flux: Float[np.ndarray, " links"]
) -> Float[np.ndarray, " links"]:
    r"""Return the rate of jumps along a link, by its diffusion and its share of the drift.

    $$q = \rho\, B(-f / \rho), \qquad q \to \max(f, 0) \text{ as } \rho \to 0 \tag{F.33}$$

    Without noise it is the upwind scheme; with much of it central differences.

    Args:
        weight: ρ, at least 0 [1 / time].
        flux: f, the drift along the link, positive in its direction [1 / time].

    Example:
        >>> jump_rate(np.array([1.0, 0.0, 0.0]), np.array([0.0, 2.0, -2.0]))
        array([1., 2., 0.])
    """
    upwind = np.maximum(flux, 0.0)
    # A weight so small that the ratio overflows is none.
    noisy = weight > 1e-250 * np.abs(flux)
    ratio = np.divide(-flux, weight, out=np.zeros_like(flux), where=noisy & (weight > 0))
    with np.errstate(over="ignore"):
        value = weight * bernoulli(ratio)
    found: NDArray[np.float64] = np.where(noisy & (weight > 0), value, upwind)
    return found


def excess_diffusion(
    weight: Float[np.ndarray, " links"], flux: Float[np.ndarray, " links"]
) -> Float[np.ndarray, " links"]:
    r"""Return how much more a link diffuses than its weight: numerical diffusion.

    $$\tfrac12 (q_{ij} + q_{ji}) - \rho = \rho \left( \tfrac{z}{2} \coth \tfrac{z}{2} - 1 \right),
    \qquad z = f / \rho, \tag{F.34}$$

    which tends to |f| / 2 where the cell Péclet number |z| / 2 is large.

    Example:
        >>> excess_diffusion(np.array([0.0, 1.0]), np.array([2.0, 0.0]))
        array([1., 0.])
    """
    mean = (jump_rate(weight, flux) + jump_rate(weight, -flux)) / 2
    found: NDArray[np.float64] = np.maximum(mean - weight, 0.0)
    return found
