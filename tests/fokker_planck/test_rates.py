"""The Bernoulli function and the rates made of it, against series, limits and identities."""

import math

import numpy as np
import pytest

from heatgrad.fokker_planck.grid.rates import bernoulli, excess_diffusion, jump_rate


def test_series_near_zero():
    """B(z) = 1 - z/2 + z^2/12 - z^4/720 + ..., also where e^z - 1 cancels."""
    z = np.array([0.0, 1e-300, 1e-16, -1e-12, 1e-9, -1e-8, 1e-7, 1e-5, -1e-3, 1e-2])
    np.testing.assert_allclose(bernoulli(z), 1 - z / 2 + z**2 / 12 - z**4 / 720, rtol=4e-16, atol=0)


@pytest.mark.parametrize("z", [1e-9, 1e-3, 0.5, 3.0, 50.0, 600.0])
def test_detailed_balance(z):
    """B(-z) = e^z B(z), what makes the Gibbs law exact."""
    assert bernoulli(np.array(-z)) == pytest.approx(
        math.exp(z) * float(bernoulli(np.array(z))), rel=1e-13
    )


def test_far_away():
    """No overflow: B(-z) -> z, B(z) -> 0, for any size."""
    with np.errstate(all="raise", under="ignore"):
        far = bernoulli(np.array([-1e300, -1e5, -700.0, 700.0, 1e5, 1e300]))
    np.testing.assert_allclose(far[:3], [1e300, 1e5, 700.0])
    assert (far[3:] >= 0).all()
    assert (far[3:] < 1e-300).all()


def test_limits_of_the_rate():
    """Without noise upwind; without drift the weight; the difference of both ways is the drift."""
    flux = np.array([-3.0, 0.0, 2.0])
    np.testing.assert_array_equal(jump_rate(np.zeros(3), flux), [0.0, 0.0, 2.0])
    np.testing.assert_allclose(jump_rate(np.full(3, 1e-12), flux), [0.0, 1e-12, 2.0], atol=1e-20)
    np.testing.assert_allclose(jump_rate(np.full(3, 1e-310), flux), [0.0, 1e-310, 2.0])
    weight = np.array([1e-5, 1.0, 30.0])
    np.testing.assert_allclose(jump_rate(weight, flux) - jump_rate(weight, -flux), flux, rtol=1e-12)


def test_numerical_diffusion():
    """z/2 coth z/2 - 1 times the weight: z^2/12 for small, |f|/2 for large Péclet numbers."""
    small = excess_diffusion(np.array([1.0]), np.array([1e-2]))
    assert small.item() == pytest.approx(1e-4 / 12, rel=1e-4)
    large = excess_diffusion(np.array([1e-9, 0.0]), np.array([-4.0, 4.0]))
    np.testing.assert_allclose(large, 2.0, rtol=1e-8)
