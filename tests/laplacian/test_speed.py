"""Which sizes are fast, against trial division and a search of all sizes near."""

import pytest
import torch
from scipy import fft

from heatgrad.laplacian import Laplacian
from heatgrad.laplacian.speed import transform_length, transform_speed


def is_smooth(number):
    for prime in (2, 3, 5, 7, 11, 13):
        while number % prime == 0:
            number //= prime
    return number == 1


@pytest.mark.parametrize("boundary", ["neumann", "periodic", "dirichlet"])
def test_nearest_fast_size(boundary):
    """Against all sizes from 1 to 500; of two at the same distance the larger."""
    good = [n for n in range(1, 700) if is_smooth(2 * n + 2 if boundary == "dirichlet" else n)]
    for n in range(1, 500):
        speed = transform_speed(n, boundary)
        assert speed.is_slow == (n not in good)
        assert speed.faster == min(good, key=lambda other: (abs(other - n), -other))
        assert speed.length % speed.largest_prime == 0


def test_129_nodes_not_128():
    """126 inner nodes need a transform of 254 = 2 * 127; 127 need 256."""
    assert transform_length(126, "dirichlet") == 254
    assert transform_speed(126, "dirichlet").faster == 127
    assert not transform_speed(127, "dirichlet").is_slow
    assert not transform_speed(128, "neumann").is_slow


@pytest.mark.parametrize("n", [126, 130, 96])
def test_a_slow_size_is_as_exact_as_a_fast_one(n):
    """Against SciPy's DST-I and DCT-II; 254 and 262 = 2 * 131 take Bluestein's way."""
    x = torch.randn(3, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for boundary, truth in (
        ("dirichlet", fft.dst(x.numpy(), type=1, norm="ortho")),
        ("neumann", fft.dct(x.numpy(), type=2, norm="ortho")),
    ):
        found = Laplacian(dims=-1, boundary=boundary).transform(x)
        torch.testing.assert_close(found, torch.from_numpy(truth), rtol=0, atol=1e-13)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="n must be at least 1 point, got 0"):
        transform_speed(0, "neumann")
    with pytest.raises((ValueError, TypeError), match=r"boundary must be one of|Type-check error"):
        transform_speed(3, "robin")
