"""Floor 5: figures from records, and one self-contained HTML page."""

from heatgrad.report.curves import plot_curves
from heatgrad.report.datasets import plot_dataset
from heatgrad.report.escape import escape_findings
from heatgrad.report.finals import plot_finals
from heatgrad.report.findings import Findings, write_findings
from heatgrad.report.flow import flow_findings
from heatgrad.report.forest import Effect, plot_forest
from heatgrad.report.noise import plot_against_noise
from heatgrad.report.page import write_report
from heatgrad.report.panels import Part, Picture
from heatgrad.report.phase import PhaseCell, phase_map, plot_phase
from heatgrad.report.style import arm_styles, figure
from heatgrad.report.tuning import plot_tuning, tuning_picture
from heatgrad.report.variance import plot_shares, variance_bars

__all__ = [
    "Effect",
    "Findings",
    "Part",
    "PhaseCell",
    "Picture",
    "arm_styles",
    "escape_findings",
    "figure",
    "flow_findings",
    "phase_map",
    "plot_against_noise",
    "plot_curves",
    "plot_dataset",
    "plot_finals",
    "plot_forest",
    "plot_phase",
    "plot_shares",
    "plot_tuning",
    "tuning_picture",
    "variance_bars",
    "write_findings",
    "write_report",
]
