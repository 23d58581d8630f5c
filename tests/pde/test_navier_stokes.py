"""Vorticity on the torus: a Galerkin system in SciPy, exact flows, orders, gradients."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.autograd import gradcheck

from heatgrad.pde import Grid, NavierStokes
from heatgrad.pde.navier_stokes.steps import Vorticity, advance
from heatgrad.pde.navier_stokes.torus import diagonal_forcing, torus_of

PI = math.pi


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


def waves(n):
    x, y = Grid(n, "torus").points().unbind(-1)
    return x, y


def shears(amplitude=2.0, other=3.0, viscosity=0.02):
    """Two crossed shear flows A sin 2 pi x + B cos 4 pi y, and the force that keeps them steady.

    Their convection is 1.5 A B cos(2 pi x) sin(4 pi y), by hand.
    """

    def w(x, y):
        return amplitude * torch.sin(2 * PI * x) + other * torch.cos(4 * PI * y)

    def force(x, y):
        viscous = 4 * PI**2 * amplitude * torch.sin(2 * PI * x)
        viscous = viscous + 16 * PI**2 * other * torch.cos(4 * PI * y)
        crossed = 1.5 * amplitude * other * torch.cos(2 * PI * x) * torch.sin(4 * PI * y)
        return crossed + viscosity * viscous

    return w, force


def galerkin(w0, viscosity, force, time):
    """The truncated Fourier system, all pairs of modes summed, by SciPy's DOP853."""
    n = w0.shape[-1]
    k = np.fft.fftfreq(n, 1 / n)
    kx, ky = (part.ravel() for part in np.meshgrid(k, k, indexing="ij"))
    kept = (np.abs(kx) < n / 3) & (np.abs(ky) < n / 3)
    start = np.fft.fft2(w0.numpy()).ravel() / n**2
    driving = np.fft.fft2(force.numpy()).ravel() / n**2
    square = 4 * PI**2 * (kx**2 + ky**2)
    inverse = np.divide(1, square, where=square > 0, out=np.zeros_like(square))
    px, py = kx[kept], ky[kept]
    index = {(a, b): i for i, (a, b) in enumerate(zip(px, py, strict=True))}
    # -(u . grad w)_k = sum over p + q = k of 4 pi^2 (q_x p_y - q_y p_x) w_p w_q / (4 pi^2 p^2).
    triads = np.zeros((len(px),) * 3)
    for i, (a, b) in enumerate(zip(px, py, strict=True)):
        for j, (c, d) in enumerate(zip(px, py, strict=True)):
            at = index.get((a + c, b + d))
            if at is not None:
                triads[at, i, j] = 4 * PI**2 * (c * b - d * a) * inverse[kept][i]

    def rate(_, z):
        w = z[: n * n] + 1j * z[n * n :]
        change = driving - viscosity * square * w
        change[kept] += np.einsum("kpq,p,q->k", triads, w[kept], w[kept])
        return np.concatenate([change.real, change.imag])

    begin = np.concatenate([start.real, start.imag])
    end = solve_ivp(rate, (0, time), begin, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    spectrum = (end[: n * n] + 1j * end[n * n :]).reshape(n, n) * n**2
    return torch.from_numpy(np.fft.ifft2(spectrum).real)


def test_against_a_galerkin_system():
    """Every triad of modes written out: the transforms and the 2/3 rule leave no alias."""
    w0 = 10 * NavierStokes(12).law.sample(1, stream())[0]
    force = diagonal_forcing(*waves(12))
    truth = galerkin(w0, 0.01, force, 0.5)
    assert float((truth - w0).norm() / w0.norm()) > 0.3
    found = NavierStokes(12, 0.01, dt=0.5 / 200).solve(w0, (0.5,))[0]
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-8 * float(truth.abs().max()))


@pytest.mark.parametrize(("scheme", "order"), [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_order_in_time(scheme, order):
    """Against the same equation with 1024 steps of `rk4`: the fitted slope of each scheme."""
    w0 = 4 * NavierStokes(16).law.sample(1, stream())
    truth = NavierStokes(16, 0.01, dt=1 / 1024).solve(w0)
    steps = (32, 64, 128)
    found = [NavierStokes(16, 0.01, dt=1 / k, scheme=scheme).solve(w0) for k in steps]
    errors = [float((w - truth).norm() / truth.norm()) for w in found]
    assert slope(steps, errors) == pytest.approx(order, abs=0.1 * order)


@pytest.mark.parametrize("dealias", ["full", "product"])
def test_the_published_step(dealias):
    """One step as it is published, with complex transforms in NumPy and the real part taken.

    Nyquist modes of first derivatives are purely imaginary there, so they drop out as here.
    """
    n, dt, nu = 16, 1e-3, 1e-3
    problem = NavierStokes(n, nu, dt=dt, scheme="euler", dealias=dealias)
    w0 = problem.law.sample(1, stream())[0]
    k = np.fft.fftfreq(n, 1 / n)
    kx, ky = np.meshgrid(k, k, indexing="ij")
    square = 4 * PI**2 * (kx**2 + ky**2)
    inverse = 1 / np.where(square == 0, 1, square)
    kept = (np.abs(kx) <= 2 / 3 * (n // 2)) & (np.abs(ky) <= 2 / 3 * (n // 2))
    w_h = np.fft.fft2(w0.numpy())
    factors = w_h * kept if dealias == "full" else w_h
    psi_h = factors * inverse
    parts = (2j * PI * ky * psi_h, -2j * PI * kx * psi_h, 2j * PI * kx, 2j * PI * ky)
    u, v = (np.fft.ifft2(part).real for part in parts[:2])
    wx, wy = (np.fft.ifft2(part * factors).real for part in parts[2:])
    convection = np.fft.fft2(u * wx + v * wy) * kept
    force = np.fft.fft2(diagonal_forcing(*waves(n)).numpy())
    new = (-dt * convection + dt * force + (1 - dt * nu * square / 2) * w_h) / (
        1 + dt * nu * square / 2
    )
    found = problem.solve(w0, (dt,))[0].numpy()
    np.testing.assert_allclose(found, np.fft.ifft2(new).real, rtol=0, atol=1e-14)


def test_taylor_green_decays_exactly():
    """The flow sin 2 pi x sin 2 pi y does not move itself: exp(-8 pi^2 nu t); CN is of order 2."""
    x, y = waves(16)
    w0 = torch.sin(2 * PI * x) * torch.sin(2 * PI * y)
    truth = math.exp(-8 * PI**2 * 0.02) * w0
    exact = NavierStokes(16, 0.02, force=None, dt=0.25).solve(w0)[0]
    torch.testing.assert_close(exact, truth, rtol=0, atol=1e-14)
    errors = [
        float(
            (NavierStokes(16, 0.02, force=None, dt=dt, scheme="euler").solve(w0)[0] - truth).norm()
        )
        for dt in (1 / 8, 1 / 16, 1 / 32)
    ]
    assert slope((8, 16, 32), errors) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("scheme", ["euler", "heun", "rk4"])
def test_a_steady_flow_stays(scheme):
    """Crossed shears with the force that balances their convection, in closed form."""
    w, force = shears()
    w0 = w(*waves(16))
    flow = NavierStokes(16, 0.02, force=force, dt=0.02, scheme=scheme).solve(w0)[0]
    torch.testing.assert_close(flow, w0, rtol=0, atol=1e-6 if scheme == "rk4" else 1e-11)


def test_energy_and_enstrophy_without_viscosity():
    """The truncated Euler equations keep both, to the order of the time steps."""
    problem = NavierStokes(32, 0.0, force=None, dt=0.01)
    w0 = problem.law.sample(2, stream())
    torus = torus_of(32, torch.float64, torch.device("cpu"))
    w0 = torch.fft.irfft2(torch.fft.rfft2(4 * w0) * torus.kept, s=(32, 32))

    def invariants(w):
        u = torch.stack(torus.velocity(torch.fft.rfft2(w)))
        speed = torch.fft.irfft2(u, s=(32, 32)).square().sum(0)
        return torch.stack([w.square().mean((-2, -1)), speed.mean((-2, -1))])

    w1 = problem.solve(w0)[:, 0]
    assert float((w1 - w0).norm() / w0.norm()) > 0.5
    torch.testing.assert_close(invariants(w1), invariants(w0), rtol=1e-7, atol=0)


def test_symmetries():
    """Shifting by grid points and turning by a quarter commute with the flow; the mean stays."""
    problem = NavierStokes(16, force=None)
    w0 = 3 * problem.law.sample(2, stream())
    w1 = problem.solve(w0)
    moved = problem.solve(w0.roll((3, 5), (-2, -1)))
    torch.testing.assert_close(moved, w1.roll((3, 5), (-2, -1)), rtol=0, atol=1e-13)
    turned = problem.solve(w0.rot90(1, (-2, -1)).roll(1, -2))
    torch.testing.assert_close(turned, w1.rot90(1, (-2, -1)).roll(1, -2), rtol=0, atol=1e-13)
    torch.testing.assert_close(problem.solve(w0 + 5), w1 + 5, rtol=0, atol=1e-12)


def test_snapshots_batches_and_types():
    """Snapshots at any times, time 0 too; a batch is its members; float32 follows float64."""
    problem = NavierStokes(16, dt=0.02)
    w0 = problem.law.sample(5, stream())
    times = (0.0, 0.137, 0.5, 1.0)
    found = problem.solve(w0, times)
    assert found.shape == (5, 4, 16, 16)
    torch.testing.assert_close(found[:, 0], w0, rtol=0, atol=1e-15)
    torch.testing.assert_close(found[:, 3:], problem.solve(w0), rtol=0, atol=1e-8)
    later = problem.solve(found[:, 2], (0.5,))  # the flow has no clock
    torch.testing.assert_close(later[:, 0], found[:, 3], rtol=0, atol=1e-14)
    torch.testing.assert_close(problem.solve(w0[1], times), found[1], rtol=0, atol=1e-15)
    many = problem.solve(w0.repeat(40, 1, 1), times)  # more than one chunk
    torch.testing.assert_close(many[-5:], found, rtol=0, atol=1e-15)
    single = problem.solve(w0.float(), times)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, rtol=0, atol=2e-6)
    assert problem.solve(w0[:0], times).shape == (0, 4, 16, 16)
    assert problem.solve(w0.reshape(5, 1, 16, 16)).shape == (5, 1, 1, 16, 16)


@pytest.mark.parametrize("scheme", ["euler", "heun", "rk4"])
def test_gradients(scheme):
    """Against finite differences on 6 x 6 points, through two snapshots."""
    problem = NavierStokes(6, 0.01, dt=0.1, scheme=scheme)
    w0 = (3 * problem.law.sample(1, stream())).requires_grad_(True)
    assert gradcheck(lambda w: problem.solve(w, (0.2, 0.5)), w0)


def test_gradients_need_little_memory():
    """Blocks of sqrt(steps) are run again: the same gradient, a fraction of the tensors."""
    torus = torus_of(8, torch.float64, torch.device("cpu"))
    force = torch.fft.rfft2(diagonal_forcing(*waves(8)))
    step = Vorticity(torus, 1e-3, force, "full").stepper("rk4", 0.01)
    w0 = NavierStokes(8).law.sample(1, stream())

    def run(advance_by, kept):
        start = torch.fft.rfft2(w0).requires_grad_(True)
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda t: (kept.append(t.numel()), t)[1], lambda t: t
        )
        with hooks:
            end = advance_by(start)
        (gradient,) = torch.autograd.grad(end.abs().square().sum(), start)
        return gradient

    def plain(w):
        for _ in range(100):
            w = step(w)
        return w

    few, all_of_them = [], []
    found = run(lambda w: advance(step, w, 100), few)
    truth = run(plain, all_of_them)
    torch.testing.assert_close(found, truth, rtol=1e-12, atol=0)
    assert sum(few) < sum(all_of_them) / 20


def test_the_measured_errors_of_the_published_scheme():
    """64 x 64, T = 1: dt = 1e-2 leaves about 5e-4; w(1) differs from w0 by about 45 %.

    The default, 20 steps of `rk4`, leaves less than 1e-6.
    """
    problem = NavierStokes(64)
    w0 = problem.law.sample(4, stream())
    truth = NavierStokes(64, dt=5e-3).solve(w0)

    def gap(a, b):
        return float((a - b).norm() / b.norm())

    published = NavierStokes(64, dt=1e-2, scheme="euler", dealias="product").solve(w0)
    assert 2e-4 < gap(published, truth) < 8e-4
    assert gap(problem.solve(w0), truth) < 1e-6
    assert 0.3 < gap(w0, truth[:, 0]) < 0.7
    assert NavierStokes.published().n == 128
    product = NavierStokes(64, dealias="product").solve(w0)
    assert gap(product, truth) < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 15}, "n must be even, got 15"),
        ({"n": 2}, "n must be at least 4"),
        ({"viscosity": -1.0}, "viscosity must be finite and at least 0"),
        ({"dt": 0.0}, "dt must be finite and positive, got 0"),
        ({"time": math.inf}, "time must be finite and positive, got inf"),
        ({"scheme": "rk5"}, "scheme must be one of euler, heun, rk4, got 'rk5'"),
        ({"dealias": "none"}, "dealias must be one of full, product"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        NavierStokes(**options)


def test_input_is_checked():
    problem = NavierStokes(8)
    w0 = torch.zeros(2, 8, 8)
    with pytest.raises(ValueError, match=r"w0 must have shape \(..., 8, 8\), got \(2, 8, 9\)"):
        problem.solve(torch.zeros(2, 8, 9))
    with pytest.raises(ValueError, match="w0 must be finite"):
        problem.solve(w0 * math.nan)
    for times in ((), (-0.1,), (0.1, math.nan)):
        with pytest.raises(ValueError, match="times must be finite and at least 0"):
            problem.solve(w0, times)
    with pytest.raises(ValueError, match="times must increase"):
        problem.solve(w0, (0.5, 0.5))
    fast = 1000 * NavierStokes(8).law.sample(1, stream())
    with pytest.raises(ValueError, match=r"dt must be at most .* lower dt"):
        problem.solve(fast)
