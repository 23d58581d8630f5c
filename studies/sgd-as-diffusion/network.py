"""A network 1-2-1 on sixteen noisy points, as a problem for `heatgrad escape`.

`python studies/sgd-as-diffusion/network.py` finds its minima and the passes between them.
"""

import torch
from torch import Tensor

from heatgrad.dynamics.problems import Problem

DECAY = 0.003  # of all weights: without it minima have flat directions


def loss(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss of one point: half the squared error, and weight decay."""
    w, b, v, c = theta[:2], theta[2:4], theta[4:6], theta[6]
    out = v @ torch.tanh(w * x + b) + c
    return (out - y) ** 2 / 2 + DECAY / 2 * (theta**2).sum()


def make() -> Problem:
    """Return the loss of a point, and the points: three steps, of which two units fit two."""
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(-2, 2, 16, dtype=torch.float64)
    y = torch.tanh(4 * (x + 1)) - 0.8 * torch.tanh(4 * x) + 0.7 * torch.tanh(4 * (x - 1))
    return Problem(loss, (x, y + 0.3 * torch.randn(16, generator=generator, dtype=torch.float64)))


_PROBLEM = make()


def mean(theta: Tensor) -> Tensor:
    """Return the mean loss, as a potential."""
    return torch.func.vmap(loss, in_dims=(None, 0, 0))(theta, *_PROBLEM.data).mean()


def main() -> None:
    """Print minima, lowest first, and the lowest pass between pairs of them."""
    from heatgrad.fokker_planck.escape.saddle import find_minimum, find_saddle

    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(40):
        start = 1.5 * torch.randn(7, generator=generator, dtype=torch.float64)
        point = find_minimum(mean, start)
        # Signs and order of the units give each minimum eight times, as deep.
        if point.status == "converged" and all(abs(point.value - p.value) > 1e-6 for p in found):
            found.append(point)
    found.sort(key=lambda point: point.value)
    for number, point in enumerate(found):
        print(number, f"{point.value:.6f}", [round(v, 4) for v in point.point.tolist()])
    for i, a in enumerate(found):
        for j, b in enumerate(found[:i]):
            saddle = find_saddle(mean, a.point, b.point)
            if saddle.status == "converged":
                print(f"{i} -> {j}: barrier {saddle.value - a.value:.5f}")


if __name__ == "__main__":
    main()
