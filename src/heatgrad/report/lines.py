"""A panel of lines over one axis: losses along paths, densities of eigenvalues."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from heatgrad.report.style import figure, set_log_scale, to_svg

__all__ = ["FLOOR", "lines_panel"]

FLOOR = 1e-12  # of what is drawn on a logarithmic axis


def lines_panel(
    draw: Callable[[Axes], None], *, name: str, title: str, x: str, y: str, log: bool = False
) -> str:
    """Return the drawn `<svg>`.

    Args:
        draw: Draws the lines.
        name: Of the figure, unique in the page.
        title: What it shows, for those who do not see it.
        x: Label of the axis across.
        y: Label of the axis up.
        log: Whether that is logarithmic, with six decades below the highest line.
    """
    with figure(5.4, 3.2) as fig:
        ax = fig.subplots()
        draw(ax)
        if log:
            top = max(float(np.max(line.get_ydata())) for line in ax.lines)
            ax.set_ylim(1e-6 * top, 2 * top)
            set_log_scale(ax)
        ax.set_xlabel(x, parse_math=False)
        ax.set_ylabel(y)
        return to_svg(fig, name=name, title=title)
