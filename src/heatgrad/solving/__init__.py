"""Floor 4: PDE solutions from sensors: problems, priors, one call, a benchmark.

`run_solve` finds the fields of one problem that agree with sensors; `train_prior` trains a prior
where the law is not in closed form; `run_benchmark` holds every method against the exact posterior.
"""

from heatgrad.solving.answer import Answer
from heatgrad.solving.base import GaussianBased
from heatgrad.solving.benchmark import (
    BenchmarkRow,
    PosteriorBenchmark,
    mean_and_error,
    run_benchmark,
    write_records,
)
from heatgrad.solving.benchmark_spec import Arm, BenchmarkSpec, arms_of, benchmark_priors
from heatgrad.solving.grid_latent import GridLatent
from heatgrad.solving.methods import METHODS, Measured, Options, answering
from heatgrad.solving.prior_spec import PRIORS, NetworkSpec, PriorSpec, prior_spec
from heatgrad.solving.priors import Prior, law_prior, needs_training, prior_of, trained_as_prior
from heatgrad.solving.problems import PROBLEMS, Problem, named_problem
from heatgrad.solving.reported import REPORTED, REPORTED_BY, Reported
from heatgrad.solving.scoring import FieldScore, score_field, wrong_pixels
from heatgrad.solving.sensors import Sensors, draw_sensors, read_sensors
from heatgrad.solving.solve_run import SolveFindings, run_solve
from heatgrad.solving.solve_spec import METHOD_NAMES, SolveSpec
from heatgrad.solving.trained import TrainedPrior, load_prior, prior_folder, train_prior

__all__ = [
    "METHODS",
    "METHOD_NAMES",
    "PRIORS",
    "PROBLEMS",
    "REPORTED",
    "REPORTED_BY",
    "Answer",
    "Arm",
    "BenchmarkRow",
    "BenchmarkSpec",
    "FieldScore",
    "GaussianBased",
    "GridLatent",
    "Measured",
    "NetworkSpec",
    "Options",
    "PosteriorBenchmark",
    "Prior",
    "PriorSpec",
    "Problem",
    "Reported",
    "Sensors",
    "SolveFindings",
    "SolveSpec",
    "TrainedPrior",
    "answering",
    "arms_of",
    "benchmark_priors",
    "draw_sensors",
    "law_prior",
    "load_prior",
    "mean_and_error",
    "named_problem",
    "needs_training",
    "prior_folder",
    "prior_of",
    "prior_spec",
    "read_sensors",
    "run_benchmark",
    "run_solve",
    "score_field",
    "train_prior",
    "trained_as_prior",
    "write_records",
    "wrong_pixels",
]
