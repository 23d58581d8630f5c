"""[Sun]'s theorems: the maps, the scheme, the bound, the energy; all in float64."""

import math

import numpy as np
import pytest
import torch

from heatgrad.laplacian import Laplacian
from heatgrad.optim import (
    DiffusionNesterov,
    max_stable_diffusion,
    pde_to_sgd,
    refine,
    sgd_to_pde,
)

PATHS = [{"fused": True}, {"fused": False}, {"foreach": True}]
PAIRS = [(lr, momentum) for lr in (1e-3, 0.1, 2.0) for momentum in (0.0, 0.5, 0.9, 0.999)]


@pytest.mark.parametrize(("lr", "momentum"), PAIRS)
def test_the_maps_are_inverses(lr, momentum):
    """(8) after (9) and (9) after (8) give back what went in, to rounding."""
    for beta in (0.0, 0.3, max_stable_diffusion(momentum, 2)):
        pde = sgd_to_pde(lr, momentum, beta)
        # a is a difference of numbers near 1 over dt: absolute rounding of gamma.
        assert pde_to_sgd(*pde) == pytest.approx((lr, momentum, beta), rel=1e-12, abs=1e-14)
        assert sgd_to_pde(*pde_to_sgd(*pde)) == pytest.approx(tuple(pde), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("lr", "momentum"), PAIRS)
def test_the_identities_of_the_map(lr, momentum):
    """The product a dt = 2 (1 - gamma)/(1 + gamma), and b_max = 1/(2 N dt) maps to beta_max."""
    dt, a, _ = sgd_to_pde(lr, momentum)
    assert a * dt == pytest.approx(2 * (1 - momentum) / (1 + momentum), rel=1e-13)
    for num_dims in (1, 2, 3):
        beta = pde_to_sgd(dt, a, 1 / (2 * num_dims * dt)).beta
        assert beta == pytest.approx(max_stable_diffusion(momentum, num_dims), rel=1e-13)


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 4.0, 10.0])
@pytest.mark.parametrize(("lr", "momentum"), PAIRS)
def test_refining_divides_the_time_step_of_the_same_pde(lr, momentum, factor):
    """Damping and diffusivity stay; c times the bound becomes exactly the bound."""
    before = sgd_to_pde(lr, momentum, factor * max_stable_diffusion(momentum, 2))
    new_lr, new_momentum = refine(lr, momentum, factor)
    expected = pde_to_sgd(before.time_step / factor, before.damping, before.diffusivity)
    assert (new_lr, new_momentum) == pytest.approx(expected[:2], rel=1e-12, abs=1e-14)
    assert expected.beta == pytest.approx(max_stable_diffusion(new_momentum, 2), rel=1e-12)
    if momentum < 1:
        before_rate, rate = lr / (1 - momentum), new_lr / (1 - new_momentum)
        assert rate == pytest.approx(before_rate / factor, rel=1e-9)


def test_refining_by_one_is_nothing():
    """To the last bit, so a diffusion that sinks to the bound meets the plain values."""
    for lr, momentum in PAIRS:
        assert refine(lr, momentum, 1.0) == (lr, momentum)


def semi_implicit_euler(u, gradient, laplacian, dt, a, b, steps):
    """[Sun] Eq. (4), transcribed: returns the look-ahead points w and the points u."""
    whole = 2 + a * dt
    last, points = u.clone(), []
    for _ in range(steps):
        delta = u - last
        w = u + (2 - a * dt) / whole * delta + 2 * dt / whole * b * laplacian(delta)
        last, u = u, w - 2 * dt**2 / whole * gradient(w)
        points.append((w, u))
    return points


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("dims", [0, (1, 2), None])
def test_theorem_1(boundary, dims, path):
    """The optimizer's two lines are the scheme (4), over 300 steps on a random quadratic."""
    generator = torch.Generator().manual_seed(1)
    shape = (4, 3, 5)
    root = torch.randn(60, 60, generator=generator, dtype=torch.float64)
    hessian = root @ root.T / 60
    start = torch.randn(shape, generator=generator, dtype=torch.float64)

    def gradient(w):
        return (hessian @ w.reshape(-1)).reshape(shape)

    lr, momentum, share = 0.1, 0.9, 0.8
    laplacian = Laplacian(dims, boundary)
    num_dims = laplacian.num_active_dims(shape)
    beta = share * max_stable_diffusion(momentum, num_dims)
    pde = sgd_to_pde(lr, momentum, beta)
    points = semi_implicit_euler(start, gradient, laplacian, *pde, steps=300)

    weight = torch.nn.Parameter(start.clone())
    optimizer = DiffusionNesterov(
        [weight], lr=lr, momentum=momentum, diffusion=share, dims=dims, boundary=boundary, **path
    )
    for w, u in points:
        torch.testing.assert_close(weight.detach(), w, rtol=0, atol=1e-12)  # theta^n = w^n
        weight.grad = gradient(weight.detach())
        optimizer.step()
        velocity = optimizer.state[weight]["momentum_buffer"]
        # The PDE's own point, behind the look-ahead.
        behind = weight.detach() + lr * (momentum * velocity + beta * laplacian(velocity))
        torch.testing.assert_close(behind, u, rtol=0, atol=1e-12)


def on_axis(matrix, delta):
    """Multiply the first axis of an array by a matrix."""
    return np.tensordot(matrix, delta, axes=(1, 0))


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("end", ["neumann", "periodic"])
@pytest.mark.parametrize("shape", [(7,), (6, 3, 2, 2)])
def test_above_the_bound_it_is_the_scheme_at_a_part_of_the_time_step(shape, end, factor, path):
    """[Sun] Eq. (4) by NumPy, on a line or over output channels: dt/c, with the a and b of c b_max.

    The PDE is given first, and nothing here is the package's: lr and momentum by (8) at dt, a
    Laplacian written out, and a nonlinear gradient, arctan(w) + w/2 - 1.
    """
    dt, a, n = 0.3, 0.4, shape[0]
    b = factor / (2 * dt)  # c b_max of one axis
    lr, momentum = 2 * dt**2 / (2 + a * dt), (2 - a * dt) / (2 + a * dt)
    lap = np.roll(np.eye(n), 1, axis=0) + np.roll(np.eye(n), -1, axis=0) - 2 * np.eye(n)
    if end == "neumann":  # what would come in from the other end comes back
        lap[[0, -1], [-1, 0]] -= 1
        lap[[0, -1], [0, -1]] += 1

    u = last = np.random.default_rng(0).standard_normal(shape)
    weight = torch.nn.Parameter(torch.from_numpy(u.copy()))
    how = {"lr": lr, "momentum": momentum, "diffusion": float(factor), "dims": 0, "boundary": end}
    optimizer = DiffusionNesterov([weight], **how, **path)
    step = dt / factor
    whole = 2 + a * step
    for _ in range(100):
        delta = u - last
        w = u + (2 - a * step) / whole * delta + 2 * step / whole * b * on_axis(lap, delta)
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=0, atol=1e-12)
        last, u = u, w - 2 * step**2 / whole * (np.arctan(w) + w / 2 - 1)
        weight.grad = weight.detach().atan() + weight.detach() / 2 - 1
        optimizer.step()


def amplification(pde, frequencies):
    """The two roots of [Sun] Eq. (18) at each frequency; rows of angles, one per axis."""
    dt, a, b = pde
    g = b * dt * (np.cos(frequencies) - 1).sum(axis=-1)
    return np.array([np.roots([2 + a * dt, -(4 + 4 * x), 2 - a * dt + 4 * x]) for x in g])


@pytest.mark.parametrize("num_dims", [1, 2, 3])
@pytest.mark.parametrize(("lr", "momentum"), [(0.1, 0.9), (0.01, 0.5), (1.0, 0.0)])
def test_theorem_2(num_dims, lr, momentum):
    """No frequency grows up to the bound, the highest does just above, and gains are k(s), 1."""
    grid = np.linspace(0, np.pi, 9)
    frequencies = np.stack(np.meshgrid(*[grid] * num_dims), axis=-1).reshape(-1, num_dims)
    bound = max_stable_diffusion(momentum, num_dims)
    for share in (0.25, 0.5, 1.0):
        roots = amplification(sgd_to_pde(lr, momentum, share * bound), frequencies)
        assert np.abs(roots).max() <= 1 + 1e-12
        s = (2 - 2 * np.cos(frequencies)).sum(axis=-1)
        other = momentum - share * bound * s
        ours = np.sort(np.stack([np.ones_like(s), other], axis=-1), axis=-1)
        # Double roots (k = 1) are accurate to the square root of rounding only.
        np.testing.assert_allclose(np.sort(roots.real, axis=-1), ours, atol=1e-7)
    above = amplification(sgd_to_pde(lr, momentum, 1.001 * bound), frequencies)
    assert np.abs(above).max() > 1 + 1e-4
    assert np.abs(above).argmax() // 2 == len(s) - 1


def eigenvector(shape, dims, boundary, which):
    """One eigenvector of the Laplacian and minus its eigenvalue, from NumPy's dense solver."""
    size = math.prod(shape)
    laplacian = Laplacian(dims, boundary)
    eye = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    columns = torch.stack([laplacian(unit).reshape(-1) for unit in eye])
    values, vectors = np.linalg.eigh(-columns.numpy())
    return torch.from_numpy(vectors[:, which].copy()).reshape(shape), values[which]


@pytest.mark.parametrize(("shape", "dims"), [((7,), 0), ((4, 3), None), ((3, 4, 2), (0, 2))])
@pytest.mark.parametrize("share", [0.5, 1.0, 1.2])
@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_velocity_grows_or_decays_as_predicted(shape, dims, share, boundary, path):
    """With zero gradients the buffer of mode s is multiplied by gamma - beta s each step."""
    momentum = 0.9
    for which in (0, -1):
        mode, s = eigenvector(shape, dims, boundary, which)
        weight = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        optimizer = DiffusionNesterov(
            [weight],
            lr=0.1,
            momentum=momentum,
            diffusion=share,
            dims=dims,
            boundary=boundary,
            stability="off",
            **path,
        )
        weight.grad = mode.clone()
        optimizer.step()
        weight.grad = torch.zeros_like(mode)
        for _ in range(20):
            optimizer.step()
        num_dims = Laplacian(dims, boundary).num_active_dims(shape)
        gain = momentum - share * max_stable_diffusion(momentum, num_dims) * s
        found = optimizer.state[weight]["momentum_buffer"]
        torch.testing.assert_close(found, gain**20 * mode, rtol=1e-9, atol=1e-9)
        if share <= 1:
            assert abs(gain) <= 1


@pytest.mark.parametrize("share", [2.0, 4.0])
def test_above_the_bound_refine_stays_stable_and_off_does_not(share):
    """White noise as the only gradient: bounded under "refine", exploding under "off"."""
    ends = {}
    for stability in ("refine", "off"):
        generator = torch.Generator().manual_seed(0)
        weight = torch.nn.Parameter(torch.zeros(64, dtype=torch.float64))
        optimizer = DiffusionNesterov([weight], lr=0.1, diffusion=share, stability=stability)
        for _ in range(400):
            weight.grad = torch.randn(64, generator=generator, dtype=torch.float64)
            optimizer.step()
        ends[stability] = optimizer.state[weight]["momentum_buffer"].abs().max().item()
    # Refined, the buffer is a sum of noise with memory 1/(1 - gamma_c), at most 78 steps.
    assert ends["refine"] < 100
    assert not ends["off"] < 1e6  # NaN counts as exploded


@pytest.mark.parametrize("shape", [None, (), (1,)])
@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("times", [2.0, 3.0, 4.0])
def test_refine_equals_the_refined_values(shape, path, times, parameters, give_gradients):
    """Diffusion c is diffusion 1 at the refined lr and momentum, bit for bit if c is a number."""
    lr, momentum = refine(0.1, 0.9, times)
    ends = []
    factor = times if shape is None else torch.full(shape, times, dtype=torch.float64)
    for options in ({"lr": 0.1, "diffusion": factor}, {"lr": lr, "momentum": momentum}):
        params = parameters()
        optimizer = DiffusionNesterov(params, **options, **path)
        for step in range(3):
            give_gradients(params, step)
            optimizer.step()
        ends.append(params)
    for ours, theirs in zip(*ends, strict=True):
        if shape is None:
            assert torch.equal(ours, theirs)
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-15)
    assert optimizer.param_groups[0]["lr"] == lr


def test_the_energy_of_the_damped_wave_never_rises():
    """E = |u_t|^2 / 2 + U falls at rate a |u_t|^2 + b |grad u_t|^2; order 1 in the time step.

    U is a quadratic spring in every mode, so each is a damped oscillator with its own damping.
    """
    n, a, b, end = 16, 0.3, 0.4, 6.0
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(n, generator=generator, dtype=torch.float64)
    laplacian = Laplacian(0, "periodic")

    def path(steps):
        lr, momentum, beta = pde_to_sgd(end / steps, a, b)
        share = beta / max_stable_diffusion(momentum, 1)
        weight = torch.nn.Parameter(start.clone())
        optimizer = DiffusionNesterov(
            [weight], lr=lr, momentum=momentum, diffusion=share, boundary="periodic"
        )
        energies, losses = [], [0.0]
        for _ in range(steps):
            weight.grad = weight.detach().clone()
            optimizer.step()
            v = optimizer.state[weight]["momentum_buffer"]
            u = weight.detach() + lr * (momentum * v + beta * laplacian(v))
            speed = -lr * v * steps / end
            energies.append((speed.square().sum() / 2 + u.square().sum() / 2).item())
            power = a * speed.square().sum() - b * (speed * laplacian(speed)).sum()
            losses.append(losses[-1] + power.item() * end / steps)
        return np.array(energies), np.array(losses)

    gaps = []
    for steps in (200, 400, 800):
        energies, losses = path(steps)
        assert np.all(np.diff(energies) < 1e-3)
        gaps.append(abs(energies[-1] + losses[-1] - start.square().sum().item() / 2))
    orders = np.log2(np.array(gaps[:-1]) / np.array(gaps[1:]))
    assert orders == pytest.approx([1, 1], abs=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sgd_to_pde(0.0, 0.9), "lr must be finite and above 0, got 0"),
        (lambda: sgd_to_pde(0.1, 1.5), "momentum must be finite and above -1 and at most 1"),
        (lambda: sgd_to_pde(0.1, 0.9, -1.0), "beta must be finite and at least 0, got -1"),
        (lambda: pde_to_sgd(-1.0, 0.1), "time_step must be finite and above 0, got -1"),
        (lambda: pde_to_sgd(1.0, math.nan), "damping must be finite and at least 0, got nan"),
        (lambda: max_stable_diffusion(0.9, -1), "num_dims must be a whole number of axes"),
        (lambda: max_stable_diffusion(1.1, 1), "momentum must be finite and at least 0"),
        (lambda: refine(0.1, 0.9, 0.5), "factor must be finite and at least 1, got 0.5"),
        (lambda: refine(0.1, 0.9, math.nan), "factor must be finite and at least 1, got nan"),
    ],
)
def test_coefficients_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_coefficients_that_are_no_numbers():
    for call in (lambda: sgd_to_pde("a", 0.9), lambda: max_stable_diffusion(True, 1)):
        with pytest.raises(TypeError, match=r"(lr|momentum) must be a real number, got ('a'|True)"):
            call()
