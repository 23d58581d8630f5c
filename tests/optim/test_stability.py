"""What `stability()` tells is what the dense operators say."""

import numpy as np
import pytest
import torch

from heatgrad.optim import DiffusionNesterov, DiffusionSGD, diffusion_groups


@pytest.mark.parametrize("diffusion", [0.1, 0.25, 0.5])
def test_the_gains_of_the_chain_are_its_eigenvalues(chain_matrix, diffusion, boundary):
    """The smallest and largest eigenvalue of I + lam Lap over the whole chain, from NumPy."""
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in ((3, 4), (5,))]
    optimizer = DiffusionSGD(params, diffusion=min(diffusion, 0.25), boundary=boundary)
    optimizer.param_groups[0]["diffusion"] = diffusion
    (row,) = optimizer.stability()
    values = np.linalg.eigvalsh(chain_matrix([diffusion] * 17, boundary))
    assert row.gains[0] == pytest.approx(values[0], abs=1e-12)
    assert values[-1] <= row.gains[1] == 1.0
    assert row.bound == 0.5
    assert row.is_stable


def test_the_gains_of_the_velocity(draw):
    """Gamma - beta s at the highest s of the group's tensors; one row per number of axes."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 1))
    optimizer = DiffusionNesterov(diffusion_groups(model, "conv_spatial"), lr=0.1, momentum=0.9)
    still, moving, rest = sorted(optimizer.stability(), key=lambda row: (row.group, row.num_dims))
    assert (still.num_dims, still.coefficient, still.num_tensors) == (0, 0.0, 1)
    assert (moving.num_dims, moving.num_tensors) == (2, 1)
    assert moving.coefficient == moving.bound == pytest.approx(1.9 / 8)
    # A 3 by 3 kernel with Neumann ends has s = 3 + 3.
    assert moving.gains == (pytest.approx(0.9 - 6 * 1.9 / 8), 0.9)
    assert (rest.group, rest.coefficient, rest.num_tensors) == (1, 0.0, 2)
    assert optimizer.stability().is_stable


def test_a_growing_frequency_is_marked():
    optimizer = DiffusionNesterov(
        [torch.nn.Parameter(torch.ones(64))], diffusion=1.5, stability="off"
    )
    report = optimizer.stability()
    assert not report.is_stable
    assert str(report).splitlines()[1].endswith("GROWS")
    assert "beta" in str(report).splitlines()[0]


def test_modes_around_the_mean():
    weight = torch.nn.Parameter(torch.ones(4))
    for mode, diffusion, gains in (
        ("layer", 0.25, (0.75, 1.0)),
        ("layer_literal", 0.5, (1.0, 1.5)),
        ("centralize", 1.0, (0.0, 1.0)),
    ):
        (row,) = DiffusionSGD([weight], mode=mode, diffusion=diffusion).stability()
        assert row.gains == gains
        assert row.is_stable == (mode != "layer_literal")
