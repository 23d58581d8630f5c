"""The second discretisation, and the residuals that judge flows by it."""

import math

import numpy as np
import pytest
import torch

from heatgrad.pde import Grid, NavierStokes
from heatgrad.pde.navier_stokes.check import flow_rate, flow_until, time_derivative

PI = math.pi


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


def test_the_rate_in_closed_form():
    """For w = sin 2 pi x + cos 4 pi y convection, viscosity and force are known by hand."""
    x, y = Grid(12, "torus").points().unbind(-1)
    one, two = torch.sin(2 * PI * x), torch.cos(4 * PI * y)
    truth = -1.5 * torch.cos(2 * PI * x) * torch.sin(4 * PI * y)
    truth = truth - 0.3 * (4 * PI**2 * one + 16 * PI**2 * two) + x
    found = flow_rate((one + two)[None], 0.3, x)
    torch.testing.assert_close(found[0], truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [6, 8, 10])
def test_products_have_no_alias(n):
    """On four times the points the same modes have the same rate, however high they are."""
    w = torch.randn(n, n, generator=stream(), dtype=torch.float64)
    spectrum = torch.fft.fftshift(torch.fft.fft2(w))
    spectrum[0], spectrum[:, 0] = 0, 0  # Nyquist
    fine = torch.zeros(4 * n, 4 * n, dtype=torch.complex128)
    low, high = 2 * n - n // 2, 2 * n + n // 2
    fine[low:high, low:high] = spectrum * 16
    coarse = torch.fft.ifft2(torch.fft.ifftshift(spectrum)).real
    dense = torch.fft.ifft2(torch.fft.ifftshift(fine)).real
    truth = (
        torch.fft.fftshift(torch.fft.fft2(flow_rate(dense, 0.0, 0 * dense)))[low:high, low:high]
        / 16
    )
    found = torch.fft.fftshift(torch.fft.fft2(flow_rate(coarse, 0.0, 0 * coarse)))
    torch.testing.assert_close(found[1:, 1:], truth[1:, 1:], rtol=0, atol=1e-11)


def test_exponential_differencing_has_order_four():
    """Against 512 steps of itself, and exactly on the linear part: a decaying Taylor-Green flow."""
    problem = NavierStokes(16)
    w0 = 4 * problem.law.sample(1, stream())
    force = torch.ones(16, 16, dtype=torch.float64)
    truth = flow_until(w0, 0.01, force, 1.0, 512)
    errors = [float((flow_until(w0, 0.01, force, 1.0, k) - truth).norm()) for k in (16, 32, 64)]
    assert slope((16, 32, 64), errors) == pytest.approx(4, abs=0.4)
    x, y = Grid(16, "torus").points().unbind(-1)
    vortex = torch.sin(2 * PI * x) * torch.sin(2 * PI * y)
    found = flow_until(vortex, 0.02, 0 * force, 1.0, 3)
    torch.testing.assert_close(found, math.exp(-8 * PI**2 * 0.02) * vortex, rtol=0, atol=1e-13)


def test_the_derivative_in_time():
    """Exact for degree 6 at uneven times; of sixth order on a sine."""
    t = torch.tensor([0.0, 0.1, 0.15, 0.4, 0.5, 0.9, 1.0, 1.3], dtype=torch.float64)
    found = time_derivative((t**6 - t)[None, :, None, None], t.tolist())
    torch.testing.assert_close(found.flatten(), 6 * t**5 - 1, rtol=0, atol=1e-11)
    errors = []
    for steps in (16, 32, 64):
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        found = time_derivative(torch.sin(5 * t)[None, :, None, None], t.tolist()).flatten()
        errors.append(float((found - 5 * torch.cos(5 * t)).abs().max()))
    assert slope((16, 32, 64), errors) == pytest.approx(6, abs=0.4)


def test_two_solvers_agree():
    """The residual of w0 and w1 is the gap of two discretisations, 1e-7 at 64 points.

    It falls faster than any power of h: the flow at T = 1 is smooth.
    """
    worst = []
    for n in (16, 32, 64):
        problem = NavierStokes(n)
        fields = problem.sample(4, stream())
        worst.append(float(problem.residual(fields).max()))
    assert worst[0] < 0.05
    assert worst[1] < 1e-3
    assert worst[2] < 1e-6


def test_residual_of_what_is_wrong():
    """Relative, and blind to neither sine nor cosine waves (not the real part of a spectrum)."""
    problem = NavierStokes(32)
    fields = problem.sample(3, stream())
    w0, w1 = fields["w0"], fields["w1"]
    assert (problem.residual({"w0": w0, "w1": w0}) > 0.3).all()  # doing nothing
    scaled = problem.residual({"w0": w0, "w1": 1.1 * w1})
    assert ((scaled - 0.1).abs() < 1e-3).all()
    x, _ = problem.grid.points().unbind(-1)
    size = w1.flatten(1).norm(dim=1)
    for wave in (torch.sin(2 * PI * x), torch.cos(2 * PI * x)):
        off = problem.residual({"w0": w0, "w1": w1 + 0.01 * wave})
        torch.testing.assert_close(off, 0.01 * wave.norm() / size, rtol=1e-3, atol=0)


def test_snapshots_at_their_true_times():
    """Ten snapshots t = .1, ..., 1: dt = .1 leaves half a percent, T / (n - 1) = 1/9 leaves ten.

    A factor 9/10 in w_t is an error of a tenth of the rate, whatever the order.
    """
    problem = NavierStokes(64)
    times = [0.1 * k for k in range(1, 11)]
    w = problem.solve(problem.law.sample(4, stream()), times)
    assert (problem.snapshot_residual(w, times) < 0.01).all()
    wrong = np.linspace(0, 1, 10)
    off = problem.snapshot_residual(w, wrong.tolist())
    assert ((off - 0.1).abs() < 2e-3).all()
    twice = problem.snapshot_residual(2 * w, times)  # the equation is not linear
    assert (twice > 0.05).all()


def test_snapshots_closer_together():
    """Of a flow without fine scales it falls like the sixth power of the distance in time."""
    problem = NavierStokes(48, 1e-2, dt=0.01)
    x, y = problem.grid.points().unbind(-1)
    w0 = torch.sin(2 * PI * (x + 2 * y)) + torch.cos(2 * PI * (x - y))
    errors = []
    for steps in (8, 16, 32):  # one-sided at the ends: order six from below
        times = [0.2 + 0.5 * k / steps for k in range(steps + 1)]
        errors.append(float(problem.snapshot_residual(problem.solve(w0, times)[None], times)))
    assert slope((8, 16, 32), errors) == pytest.approx(6, abs=0.7)


def test_input_is_checked():
    problem = NavierStokes(8)
    w = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match="times must be at least 2 and increase"):
        problem.snapshot_residual(w, (0.1, 0.1, 0.2))
    with pytest.raises(ValueError, match=r"shape \(num, 2, n, n\) for 2 times"):
        problem.snapshot_residual(w, (0.1, 0.2))
    with pytest.raises(ValueError, match=r"snapshots must have shape \(num, times, n, n\)"):
        problem.snapshot_residual(w[0], (0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match="fields must be w0, w1, got w0"):
        problem.residual({"w0": w[:, 0]})
