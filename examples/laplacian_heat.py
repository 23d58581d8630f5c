r"""Diffuse a cosine explicitly and compare it with its closed-form decay.

With a Neumann boundary cos(pi m (j + 1/2) / n) is an eigenvector of the Laplacian, so each explicit
step multiplies it by 1 - 4 lam sin^2(pi m / 2n), Eqs. (L.3) and (L.10). For a long wave this is
close to the heat equation's exp(-lam (pi m / n)^2). Run it with
`python examples/laplacian_heat.py`.
"""

import math

import torch

from heatgrad.laplacian import Laplacian, max_explicit_diffusion

POINTS, MODE, STEPS = 64, 3, 500


def main() -> None:
    lap = Laplacian(dims=0, boundary="neumann")
    grid = torch.arange(POINTS, dtype=torch.float64) + 0.5
    start = torch.cos(math.pi * MODE * grid / POINTS)
    lam = max_explicit_diffusion(1, keep_sign=True)

    heat = start
    for _ in range(STEPS):
        heat = heat + lam * lap(heat)

    gain = 1 - 4 * lam * math.sin(math.pi * MODE / (2 * POINTS)) ** 2
    closed_form = gain**STEPS * start
    continuum = math.exp(-lam * (math.pi * MODE / POINTS) ** 2 * STEPS)
    error = (heat - closed_form).abs().max().item()
    print(f"amplitude after {STEPS} steps: {heat.abs().max() / start.abs().max():.6f}")
    print(f"closed form: {gain**STEPS:.6f}, heat equation: {continuum:.6f}")
    print(f"largest difference from the closed form: {error:.1e}")

    # Rounding of 500 steps in float64 stays near 500 * 1e-16.
    assert error < 1e-12
    # The stencil is second order: the exponents differ by terms of order (pi m / n)^4.
    assert abs(gain**STEPS - continuum) < STEPS * (math.pi * MODE / POINTS) ** 4
    # One step beyond the bound 1/2 the highest mode grows.
    unstable = 1.01 * max_explicit_diffusion(1)
    highest = torch.cos(math.pi * (POINTS - 1) * grid / POINTS)
    assert (highest + unstable * lap(highest)).norm() > highest.norm()


if __name__ == "__main__":
    main()
