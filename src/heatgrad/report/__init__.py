"""Floor 5: figures from records, and one self-contained HTML page."""

from heatgrad.report.curves import plot_curves
from heatgrad.report.datasets import plot_dataset
from heatgrad.report.finals import plot_finals
from heatgrad.report.noise import plot_against_noise
from heatgrad.report.page import write_report
from heatgrad.report.style import arm_styles, figure

__all__ = [
    "arm_styles",
    "figure",
    "plot_against_noise",
    "plot_curves",
    "plot_dataset",
    "plot_finals",
    "write_report",
]
