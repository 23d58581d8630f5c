"""Symmetries of the laws: the solver and a symmetry may change places."""

import pytest
import torch

from heatgrad.pde import Darcy, NavierStokes, Poisson
from heatgrad.solving.symmetries import copies_of, num_copies_of


@pytest.mark.parametrize(
    ("name", "problem"),
    [("poisson", Poisson(9)), ("darcy", Darcy(9)), ("navier-stokes", NavierStokes(16))],
)
@pytest.mark.parametrize("copy", range(8))
def test_a_copy_of_a_solution_is_a_solution(name, problem, copy):
    """Solving the copied parameter gives the copied solution, to rounding."""
    fields = problem.sample(2, torch.Generator().manual_seed(0))
    first, second = problem.names
    turned = copies_of(name, fields, copy, 8)
    solved = problem.solve(turned[first]).reshape(turned[second].shape)
    scale = fields[second].abs().max()
    assert float((solved - turned[second]).abs().max() / scale) < 1e-9


def test_all_copies_differ_and_there_are_as_many_as_symmetries_are_known():
    """Eight of the square, as many as asked for of the torus, one of an unknown law."""
    fields = NavierStokes(16).sample(1, torch.Generator().manual_seed(0))
    copies = [copies_of("navier-stokes", fields, k, 16)["w0"] for k in range(16)]
    assert min(float((x - y).abs().max()) for x in copies for y in copies if x is not y) > 1e-3
    assert num_copies_of("mine:Equation", 8) == 1
