"""What happens between two steps, against the reflection principle."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from heatgrad.fokker_planck.ensembles.bridge import crossing_probability, crossing_share, faces_of
from heatgrad.fokker_planck.ensembles.exits import exit_times
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.region import Ball, Box, HalfSpace


def brownian(variance):
    """Return motion of a variance per time: D is half of it."""
    return Ito(lambda x: 0 * x, torch.tensor([[variance / 2]], dtype=torch.float64))


@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_a_plane_is_exact_at_any_step(variance):
    """Reflection principle: P(tau <= t) = 2 P(W_t > h), also within steps as long as all of it.

    With sigma² in place of D, or with half of it, this fails by tens of standard errors.
    """
    start, count = torch.zeros(1, dtype=torch.float64), 50_000
    exits = exit_times(
        brownian(variance), start, HalfSpace((1.0,), 1.0), dt=1.0, t_max=3.0, replicas=count
    )
    t = np.array([0.1, 0.3, 0.6, 1.0, 1.4, 2.2, 3.0])
    truth = 1 - 2 * stats.norm.sf(1 / np.sqrt(variance * t))
    alive = exits.survival(t)[0]
    assert (abs(alive - truth) < 4.5 * np.sqrt(truth * (1 - truth) / count)).all()


def test_the_length_of_a_function_does_not_matter():
    """D_n = grad h . D grad h: the same probability from 5 h, bit for bit up to rounding."""
    h = torch.tensor([0.3, 0.02], dtype=torch.float64)
    one = crossing_probability(h, h / 2, torch.full_like(h, 0.7), 0.05)
    five = crossing_probability(5 * h, 5 * h / 2, torch.full_like(h, 25 * 0.7), 0.05)
    torch.testing.assert_close(one, five, rtol=1e-14, atol=0)
    torch.testing.assert_close(one, torch.exp(-h * h / 2 / (0.7 * 0.05)), rtol=1e-14, atol=0)


def test_no_noise_across_no_crossing_between():
    zero = torch.zeros(3, dtype=torch.float64)
    before, after = zero + 1e-200, torch.tensor([1e-200, 0.0, -1.0], dtype=torch.float64)
    assert crossing_probability(before, after, zero, 0.1).tolist() == [0, 1, 1]
    half = crossing_share(zero[:1] + 1, zero[:1] - 1, zero[:1], 0.1, zero[:1] + 2, zero[:1] + 0.9)
    assert float(half) == 0.5


def test_first_crossing_of_a_bridge():
    """Of fine random bridges from 0.7 to -0.4 in unit time: the law of their first crossing.

    At the fine step h the barrier is seen sqrt(h) late (0.5826 sigma sqrt(h)), so it is lowered.
    """
    count, steps = 4000, 2000
    rng = np.random.default_rng(0)
    t = np.arange(1, steps + 1) / steps
    w = np.cumsum(rng.standard_normal((count, steps)) / math.sqrt(steps), axis=1)
    path = 0.7 + w - t * (w[:, -1:] + 1.1)
    seen = (path <= 0.5826 / math.sqrt(steps)).argmax(1) / steps
    generator = torch.Generator().manual_seed(0)
    one = torch.ones(40_000, dtype=torch.float64)
    xi = torch.randn(40_000, generator=generator, dtype=torch.float64)
    uniform = torch.rand(40_000, generator=generator, dtype=torch.float64)
    shares = crossing_share(0.7 * one, -0.4 * one, 0.5 * one, 1.0, xi, uniform)
    assert stats.ks_2samp(seen, shares.numpy()).pvalue > 0.01
    back = crossing_share(0.7 * one, 0.4 * one, 0.5 * one, 1.0, xi, uniform)
    assert torch.equal(shares, back)  # a path that came back is its mirror image


def test_a_path_that_ends_on_the_boundary_has_a_share():
    one = torch.ones(3, dtype=torch.float64)
    shares = crossing_share(one, 0 * one, one, 0.1, 2 * one, torch.tensor([0.0, 0.5, 1.0]).double())
    assert ((shares > 0) & (shares <= 1)).all()


def test_pieces_of_regions():
    """A box has its finite sides, a ball one piece; slopes are gradients."""
    x = torch.tensor([[0.5, 1.0], [0.0, 3.0]], dtype=torch.float64)
    box = faces_of(Box((0.0, -math.inf), (2.0, 4.0)))
    assert box.heights(x).tolist() == [[0.5, 1.5, 3.0], [0.0, 2.0, 1.0]]
    assert box.slopes(x)[0].tolist() == [[1, 0], [-1, 0], [0, -1]]
    for region in (Ball((0.0, 0.0), 5.0), HalfSpace((3.0, 1.0), 7.0)):
        faces = faces_of(region)
        y = x.clone().requires_grad_(True)
        heights = torch.stack([region(row) for row in y])
        torch.testing.assert_close(faces.heights(x)[:, 0], heights.detach())
        (slopes,) = torch.autograd.grad(heights.sum(), y)
        torch.testing.assert_close(faces.slopes(x)[:, 0], slopes)
    with pytest.raises(ValueError, match="must have a boundary"):
        faces_of(Box((-math.inf,), (math.inf,)))
