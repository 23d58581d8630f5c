"""Byte-mask dropout against the Bernoulli law and torch's own layer."""

import math

import pytest
import torch

from heatgrad.models import ByteDropout


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_rate_and_expectation(p):
    """A Bernoulli mask of rate q = round(256 p)/256 has mean 1 - q and variance q (1 - q)."""
    torch.manual_seed(0)
    count = 400_000
    out = ByteDropout(p)(torch.ones(count, dtype=torch.float64))
    q = round(256 * p) / 256
    assert (out == 0).double().mean().item() == pytest.approx(
        q, abs=5 * math.sqrt(q * (1 - q) / count)
    )
    assert set(out.unique().tolist()) == {0.0, 1 / (1 - q)}


def test_neighbouring_elements_are_independent():
    """The bytes of one word are independent: lag-1 to lag-8 correlations vanish."""
    torch.manual_seed(1)
    count = 400_000
    kept = (ByteDropout(0.5)(torch.ones(count)) > 0).double()
    for lag in range(1, 9):
        pair = torch.stack([kept[:-lag], kept[lag:]])
        assert abs(torch.corrcoef(pair)[0, 1].item()) < 5 / math.sqrt(count)


def test_evaluation_and_zero_are_the_identity():
    """As torch.nn.Dropout: nothing happens in evaluation mode or at p = 0."""
    x = torch.randn(7, 3)
    assert ByteDropout(0.5).eval()(x) is x
    assert ByteDropout(0.0)(x) is x


def test_gradient_is_the_mask():
    """The layer is linear in its input, with the mask as its diagonal."""
    torch.manual_seed(2)
    x = torch.randn(50, 3, dtype=torch.float64, requires_grad=True)
    out = ByteDropout(0.3)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad * x, out)


@pytest.mark.parametrize("p", [-0.1, 1.0, 0.999])
def test_refuses_other_rates(p):
    """A rate outside [0, 1), or one that would drop everything, is refused."""
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\)"):
        ByteDropout(p)
