"""Floor 2: how noise spreads, traps, escapes and settles: Fokker-Planck equations, ensembles.

One convention throughout: dX = b dt + sqrt(2 D) dW, Itô. A process is one object, evaluated by
every method: exact formulas, a grid, ensembles of the equation, and true minibatch SGD.
"""

from heatgrad.fokker_planck.ensembles.exits import exit_times
from heatgrad.fokker_planck.ensembles.sgd import sgd_exit_times, simulate_sgd
from heatgrad.fokker_planck.ensembles.simulate import Ensemble, simulate
from heatgrad.fokker_planck.ensembles.survival import FirstExits
from heatgrad.fokker_planck.escape.compare import METHODS, compare_escape
from heatgrad.fokker_planck.escape.kramers import (
    EscapeCost,
    EyringKramers,
    escape_cost,
    eyring_kramers,
)
from heatgrad.fokker_planck.escape.passage import (
    Passage,
    mean_first_passage_1d,
    mean_first_passage_ito,
)
from heatgrad.fokker_planck.escape.rows import (
    EscapeComparison,
    EscapeRow,
    against_reference,
    reference_of,
)
from heatgrad.fokker_planck.escape.saddle import CriticalPoint, find_minimum, find_saddle
from heatgrad.fokker_planck.grid.diagnostics import Diagnostics
from heatgrad.fokker_planck.grid.equation import FokkerPlanck
from heatgrad.fokker_planck.grid.evolve import Evolution
from heatgrad.fokker_planck.grid.exits import Committor, ExitTimes, QuasiStationary
from heatgrad.fokker_planck.grid.laws import Gaussian
from heatgrad.fokker_planck.grid.modes import Modes
from heatgrad.fokker_planck.grid.richardson import Extrapolated, richardson
from heatgrad.fokker_planck.grid.stationary import Stationary
from heatgrad.fokker_planck.linear.drift_phase import crossover_time, drift_bound
from heatgrad.fokker_planck.linear.entropy import EntropyBound
from heatgrad.fokker_planck.linear.heavy_ball import LinearHeavyBall
from heatgrad.fokker_planck.linear.least_squares import LeastSquaresCov, least_squares_cov
from heatgrad.fokker_planck.linear.sgd import LinearSGD
from heatgrad.fokker_planck.noise.alignment import Alignment, subspace_overlap
from heatgrad.fokker_planck.noise.gradients import GradientNoise, gradient_noise
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.process import Process, at_points
from heatgrad.fokker_planck.processes.region import Ball, Box, HalfSpace, Region
from heatgrad.fokker_planck.processes.sgd import SGDDiffusion, batch_share
from heatgrad.fokker_planck.settling.basins import Basins, basins
from heatgrad.fokker_planck.settling.duality import (
    Pairing,
    WeakForm,
    backward_generator,
    dual_pairing,
    weak_form,
)
from heatgrad.fokker_planck.settling.settle import (
    Entropy,
    Settling,
    mass_per_basin,
    occupation_entropy,
    projection_entropy,
)
from heatgrad.fokker_planck.settling.vanishing import NoiseLimit, as_noise_vanishes

__all__ = [
    "METHODS",
    "Alignment",
    "Ball",
    "Basins",
    "Box",
    "Committor",
    "CriticalPoint",
    "Diagnostics",
    "Ensemble",
    "Entropy",
    "EntropyBound",
    "EscapeComparison",
    "EscapeCost",
    "EscapeRow",
    "Evolution",
    "ExitTimes",
    "Extrapolated",
    "EyringKramers",
    "FirstExits",
    "FokkerPlanck",
    "Gaussian",
    "GradientNoise",
    "HalfSpace",
    "Ito",
    "Kinetic",
    "Langevin",
    "LeastSquaresCov",
    "LinearHeavyBall",
    "LinearSGD",
    "Modes",
    "NoiseLimit",
    "Pairing",
    "Passage",
    "Process",
    "QuasiStationary",
    "Region",
    "SGDDiffusion",
    "Settling",
    "Stationary",
    "WeakForm",
    "against_reference",
    "as_noise_vanishes",
    "at_points",
    "backward_generator",
    "basins",
    "batch_share",
    "compare_escape",
    "crossover_time",
    "drift_bound",
    "dual_pairing",
    "escape_cost",
    "exit_times",
    "eyring_kramers",
    "find_minimum",
    "find_saddle",
    "gradient_noise",
    "least_squares_cov",
    "mass_per_basin",
    "mean_first_passage_1d",
    "mean_first_passage_ito",
    "occupation_entropy",
    "projection_entropy",
    "reference_of",
    "richardson",
    "sgd_exit_times",
    "simulate",
    "simulate_sgd",
    "subspace_overlap",
    "weak_form",
]
