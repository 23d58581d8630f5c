"""Floor 2: where gradient flow goes: to a critical point, or to infinity."""

from heatgrad.flow.activations import ACTIVATIONS, Activation
from heatgrad.flow.descent import Descent, descend
from heatgrad.flow.flatten import flat_loss
from heatgrad.flow.integrate import gradient_flow
from heatgrad.flow.networks import NetworkFit, polynomial_fit
from heatgrad.flow.problem import ClosedForm
from heatgrad.flow.starts import random_start, valley_start
from heatgrad.flow.sweep import DivergenceByStart, divergence_by_start
from heatgrad.flow.trajectory import Trajectory
from heatgrad.flow.verdict import PowerLaw, Slope, Verdict, classify, predicted_exponents

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "ClosedForm",
    "Descent",
    "DivergenceByStart",
    "NetworkFit",
    "PowerLaw",
    "Slope",
    "Trajectory",
    "Verdict",
    "classify",
    "descend",
    "divergence_by_start",
    "flat_loss",
    "gradient_flow",
    "polynomial_fit",
    "predicted_exponents",
    "random_start",
    "valley_start",
]
