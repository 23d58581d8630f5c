"""Concentration, and the limit of vanishing extra noise, of the problems in this folder.

`python studies/sgd-as-diffusion/three_questions.py` prints them.
"""

import math

import torch

from heatgrad.dynamics import PROBLEMS
from heatgrad.fokker_planck import (
    FokkerPlanck,
    HalfSpace,
    LinearSGD,
    SGDDiffusion,
    as_noise_vanishes,
    find_minimum,
    mass_per_basin,
    simulate_sgd,
)

START = torch.tensor([0.97, 0.97], dtype=torch.float64)


def wells(extra_noise: float = 0.0, spread: tuple[float, float] = (1.0, 1.0)) -> SGDDiffusion:
    """Return SGD on the two wells, at learning rate 0.1 and batch size 1."""
    problem = PROBLEMS["noisy-wells"](tilt=0.05, spread=spread)
    return SGDDiffusion(problem.loss, problem.data, lr=0.1, batch_size=1, extra_noise=extra_noise)


def concentration() -> None:
    """Print the spread in the well: linear theory of both kinds, the grid, and true SGD."""
    process = wells()
    bottom = find_minimum(process.mean_loss, START).point
    curvature = torch.func.hessian(process.mean_loss)(bottom)
    slopes = process.sample_gradients(bottom.unsqueeze(0))[0]
    linear = LinearSGD(curvature, torch.cov(slopes.T, correction=0), lr=process.lr)
    for kind in ("sde", "sgd"):
        spread = math.sqrt(float(torch.trace(linear.stationary_cov(kind))))
        print(f"spread by linear theory, {kind}: {spread:.4f}")
    print(f"drift phase from distance 1: until t = {linear.crossover_time(1.0):.3f}")
    ensemble = simulate_sgd(
        process.loss, process.data, bottom, lr=0.1, batch_size=1, steps=100, replicas=20_000
    )
    far = ensemble.paths[-1] - bottom
    near = far[far.norm(dim=1) < 1.0]
    print(
        f"spread of true SGD at t = 10: {float((near**2).sum(1).mean().sqrt()):.4f} "
        f"({100 * len(near) / len(far):.1f} % of the runs still in the well)"
    )


def settling() -> None:
    """Print where ensembles of true SGD settle, against the end of time on the grid."""
    process = wells()
    steps = [300, 3_000, 30_000]
    ensemble = simulate_sgd(
        process.loss,
        process.data,
        START,
        lr=0.1,
        batch_size=1,
        steps=steps[-1],
        record=steps,
        replicas=1000,
    )
    found = mass_per_basin(process.mean_loss, list(ensemble.paths), times=ensemble.times)
    for time, share, low, high in zip(found.times, *found.lowest_mass(), strict=True):
        print(
            f"mass of the global minimum's basin at t = {time:g}: {100 * share:.1f} % "
            f"({100 * low:.1f} to {100 * high:.1f})"
        )
    print(f"settled in: {found.verdict()}")


def vanishing_noise() -> None:
    """Print the exit time under noise of rank one, as extra noise goes to zero."""
    half = HalfSpace((-1.0, -1.0), -0.10025)  # through the saddle, as in rank-one.toml

    def exit_time(process: SGDDiffusion) -> float:
        chain = FokkerPlanck(process, (-2.6, -4.2), (2.6, 4.2), (160, 160), region=half)
        return chain.mean_exit_time().at(START.numpy())

    values = (0.5, 0.2, 0.1, 0.05, 0.02)
    found = as_noise_vanishes(
        lambda extra: wells(extra, spread=(0.0, 2.0)), values, exit_time, tolerance=0.05
    )
    print(
        f"exit time as extra noise vanishes: {found.limit:.1f} ± {found.error:.2g}, {found.status}"
    )
    print(f"exit time without extra noise: {exit_time(wells(spread=(0.0, 2.0))):.1f}")


def network_noise() -> None:
    """Print the noise of the network 1-2-1 in its local minimum."""
    import network

    bottom = find_minimum(
        network.mean, torch.tensor([-1.0, 1.56, 1.52, 2.29, -0.49, 1.04, -0.3]).double()
    ).point
    curvature = torch.func.hessian(network.mean)(bottom)
    values = torch.linalg.eigvalsh(curvature)
    process = SGDDiffusion(network.loss, network.make().data, lr=0.1, batch_size=1)
    noise = process.diffusion(bottom.unsqueeze(0))[0]
    spectrum = torch.linalg.eigvalsh(noise).flip(0)
    print(f"network: Hessian from {values[0]:.4f} to {values[-1]:.3f}")
    print(
        f"network: mean temperature {float(torch.trace(noise)) / 7:.5f}, "
        f"largest direction {100 * float(spectrum[0] / spectrum.sum()):.0f} % of the noise"
    )


def main() -> None:
    """Print all."""
    concentration()
    settling()
    vanishing_noise()
    network_noise()


if __name__ == "__main__":
    main()
