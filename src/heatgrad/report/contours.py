"""A loss surface: contours, and heights for the view that can be turned."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from heatgrad.report.panels import Picture
from heatgrad.report.style import FAINT, figure, to_svg

__all__ = ["Relief", "contour_picture", "plot_surface", "relief_of"]

_NUM_LEVELS = 14


@dataclass(frozen=True)
class Relief:
    """A surface that can be turned, drawn by the page's own script.

    Attributes:
        title: What it is of.
        data: JSON: heights between 0 and 1, row by row, null for a hole, and how many columns.
        caption: What the heights are.
    """

    title: str
    data: str
    caption: str


def plot_surface(
    ax: Axes,
    across: ArrayLike,
    up: ArrayLike,
    losses: ArrayLike,
    *,
    trajectory: ArrayLike | None = None,
    levels: Sequence[float] = (),
) -> Axes:
    """Draw the contours of a surface, its solution, and a trajectory on it.

    Levels are set evenly in the logarithm of the height above the lowest place, so that the basin
    shows as well as the walls. Where the loss is not finite the surface has a hole, hatched.

    Args:
        ax: Where to draw.
        across: Coordinates along the first direction, shape (columns,).
        up: Coordinates along the second, shape (rows,).
        losses: The loss at each place, shape (rows, columns); NaN for a hole.
        trajectory: Coordinates of networks on the way, shape (networks, 2).
        levels: Levels of the contours [loss], ascending; chosen, unless given.

    Returns:
        `ax`.
    """
    x, y, z = (np.asarray(part, dtype=np.float64) for part in (across, up, losses))
    is_hole = np.isnan(z)
    chosen = np.asarray(levels, dtype=np.float64)
    if not len(levels) and not is_hole.all():
        chosen = _levels(z)
    if len(chosen) > 1:
        colors = colormaps["viridis"](np.linspace(0, 1, len(chosen) - 1))
        ax.contourf(x, y, np.ma.masked_invalid(z), levels=chosen, colors=colors)
        ax.contour(x, y, np.ma.masked_invalid(z), levels=chosen, colors="#ffffff", linewidths=0.4)
    if is_hole.any():
        ax.contourf(x, y, is_hole.astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"])
    if trajectory is not None:
        places = np.asarray(trajectory, dtype=np.float64)
        ax.plot(places[:, 0], places[:, 1], ".-", color=FAINT, linewidth=1.0, markersize=4)
    ax.plot(0, 0, "+", color="#d7263d", markersize=9, mew=1.8)
    ax.set_aspect("equal")
    ax.grid(visible=False)
    ax.set_xlabel("first direction")
    ax.set_ylabel("second direction")
    return ax


def contour_picture(
    surfaces: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]],
    *,
    name: str,
    caption: str,
    trajectories: Mapping[str, ArrayLike] = MappingProxyType({}),
) -> Picture:
    """Return contours of some surfaces, a panel each, all with the same levels.

    Args:
        surfaces: Coordinates across, up, and losses, by title.
        name: Unique in the page.
        caption: What is seen.
        trajectories: Coordinates of networks on the way, by title.
    """
    every = np.concatenate([np.asarray(z, dtype=np.float64).ravel() for *_, z in surfaces.values()])
    levels = _levels(every) if np.isfinite(every).any() else np.zeros(0)
    svgs = []
    for number, (title, (x, y, z)) in enumerate(surfaces.items()):
        with figure(3.1, 3.0) as fig:
            ax = plot_surface(
                fig.subplots(), x, y, z, trajectory=trajectories.get(title), levels=list(levels)
            )
            ax.set_title(title, parse_math=False)
            svgs.append(to_svg(fig, name=f"{name}-{number}", title=f"Loss around {title}"))
    ends = " The surface is flat." if len(levels) else " No loss is finite."
    if len(levels) > 1:
        ends = f" Contours from {levels[0]:.3g} to {levels[-1]:.3g}, the same in all panels."
    return Picture(tuple(svgs), caption + ends)


def relief_of(title: str, losses: ArrayLike, *, caption: str = "") -> Relief:
    """Return a surface that can be turned; heights are logarithmic above the lowest place.

    Args:
        title: What it is of.
        losses: The loss at each place, shape (rows, columns); NaN for a hole.
        caption: Said before what the heights are.
    """
    z = np.asarray(losses, dtype=np.float64)
    heights = [None if np.isnan(h) else round(float(h), 4) for h in _heights(z).ravel()]
    data = json.dumps({"columns": z.shape[1], "heights": heights}, separators=(",", ":"))
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    words = f"Height: loss from {low:.4g} to {high:.4g}, logarithmic above the lowest place."
    return Relief(title, data, f"{caption} {words}".strip())


def _heights(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return heights between 0 and 1, logarithmic above the lowest place."""
    if not np.isfinite(z).any():
        raise ValueError("a surface must have a place where the loss is finite, got none")
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    if high <= low:
        return np.where(np.isnan(z), np.nan, 0.0)
    bend = _bend(low, high)
    return np.asarray(np.log1p((z - low) / bend) / np.log1p((high - low) / bend))


def _levels(z: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    if high <= low:
        return np.array([low])
    bend = _bend(low, high)
    steps = np.linspace(0, np.log1p((high - low) / bend), _NUM_LEVELS)
    return np.asarray(low + bend * np.expm1(steps))


def _bend(low: float, high: float) -> float:
    """Return the height up to which a surface is drawn almost linearly."""
    return max(0.02 * (high - low), 1e-12)
