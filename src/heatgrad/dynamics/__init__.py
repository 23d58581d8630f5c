"""Floor 4: questions about training dynamics from specification files, kept step by step.

How long until a process leaves a well, by every method (`run_escape`); where gradient flows go
(`run_flow`).
"""

from heatgrad.dynamics.escape_run import EscapeFindings, Landmarks, run_escape
from heatgrad.dynamics.escape_spec import EscapeSpec
from heatgrad.dynamics.flow_run import DescentFinding, FlowFinding, FlowFindings, run_flow
from heatgrad.dynamics.flow_spec import FlowSpec
from heatgrad.dynamics.potentials import POTENTIALS
from heatgrad.dynamics.presets import ESCAPES, FLOWS
from heatgrad.dynamics.problems import PROBLEMS, Problem

__all__ = [
    "ESCAPES",
    "FLOWS",
    "POTENTIALS",
    "PROBLEMS",
    "DescentFinding",
    "EscapeFindings",
    "EscapeSpec",
    "FlowFinding",
    "FlowFindings",
    "FlowSpec",
    "Landmarks",
    "Problem",
    "run_escape",
    "run_flow",
]
