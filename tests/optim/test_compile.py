"""Under torch.compile: the same results, and no new graph when a schedule turns its dials."""

import subprocess
import sys

import pytest
import torch
from torch._dynamo.utils import counters

from heatgrad.optim import DiffusionNesterov, DiffusionSGD
from heatgrad.optim import fused as kernels

BUILDS = {
    "DiffusionNesterov": lambda params, lr, diffusion, fused: DiffusionNesterov(
        params, lr=lr, diffusion=diffusion, weight_decay=0.01, fused=fused
    ),
    "DiffusionSGD": lambda params, lr, diffusion, fused: DiffusionSGD(
        params, lr=lr, momentum=0.9, diffusion=0.2 * diffusion, max_norm=1.0, fused=fused
    ),
}


@pytest.mark.parametrize("name", BUILDS)
def test_a_schedule_compiles_nothing_anew(name):
    """In a process of its own: the run-time checks of annotations here cannot be traced."""
    done = subprocess.run(
        [sys.executable, __file__, name], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def run(name, fused, *, compiled):
    """Return the parameters after 8 steps, and the number of graphs after each."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (5,))
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    optimizer = BUILDS[name](params, torch.tensor(0.1), torch.tensor(1.0), fused)
    step = torch.compile(optimizer.step, backend="aot_eager") if compiled else optimizer.step
    graphs = []
    for _ in range(8):
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator)
        step()
        for group in optimizer.param_groups:
            for dial in ("lr", "diffusion"):
                group[dial].mul_(0.9)
        graphs.append(counters["stats"]["unique_graphs"])
    return params, graphs


def check(name, fused):
    """Assert that compiled steps equal eager ones, and that steps after the fourth compile nothing.

    The kernel, which is the default, is one operator of the graph; without it the compiler makes
    kernels of the plain path.
    """
    ours, graphs = run(name, fused, compiled=True)
    theirs, _ = run(name, fused, compiled=False)
    assert graphs[3] == graphs[-1], f"graphs after each step: {graphs}"
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def check_refusals():
    """Assert that a compiled step looks at its dials: what a tensor holds is known in it only."""
    param = torch.nn.Parameter(torch.ones(4))
    param.grad = torch.ones(4)
    for build, limit in (
        (lambda d: DiffusionSGD([param], diffusion=d), "at most 0.5"),
        (lambda d: DiffusionNesterov([param], diffusion=d, stability="error"), "at most 1"),
    ):
        for value, words in ((1.1, limit), (-0.1, "at least 0"), (float("nan"), "finite")):
            dial = torch.tensor(0.3)
            step = torch.compile(build(dial).step, backend="aot_eager")
            step()
            dial.fill_(value)
            with pytest.raises(ValueError, match=f"diffusion must be.* {words}.*, got "):
                step()


if __name__ == "__main__":
    check_refusals()
    torch._dynamo.reset()
    calls = []
    for step in ("step_chain", "step_velocity"):
        kernel = getattr(kernels, step)
        setattr(kernels, step, lambda *a, kernel=kernel, **k: (calls.append(1), kernel(*a, **k)))
    check(sys.argv[1], None)
    assert len(calls) == 16, f"the kernel was called {len(calls)} times in 8 + 8 steps"
    torch._dynamo.reset()
    check(sys.argv[1], False)
    assert len(calls) == 16, "the kernel was called with fused=False"
