"""Floor 2: partial differential equations with random parameters: laws, solvers, residuals.

A problem draws pairs of fields (`sample`), solves (`solve`) and judges pairs in a discretisation
that did not solve them (`residual`). Fields have shape (num, n, n), axis -2 being x.
"""

from heatgrad.pde.darcy.problem import Darcy
from heatgrad.pde.grid import Grid, Kind
from heatgrad.pde.helmholtz import Helmholtz
from heatgrad.pde.law import GaussianRandomField
from heatgrad.pde.navier_stokes.problem import NavierStokes
from heatgrad.pde.poisson import Poisson
from heatgrad.pde.problem import Problem

__all__ = [
    "Darcy",
    "GaussianRandomField",
    "Grid",
    "Helmholtz",
    "Kind",
    "NavierStokes",
    "Poisson",
    "Problem",
]
