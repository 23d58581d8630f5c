"""One page of the loss landscape around some networks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from heatgrad.landscape.portrait import Portrait
from heatgrad.report.contours import Relief, contour_picture, relief_of
from heatgrad.report.lines import FLOOR, lines_panel
from heatgrad.report.panels import LegendEntry, Picture
from heatgrad.report.rows import EMPTY, Cell
from heatgrad.report.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
)
from heatgrad.report.writing import write_page

__all__ = ["PortraitRow", "portrait_rows", "write_landscape"]

_COLORS = (BLACK, BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY)


@dataclass(frozen=True)
class PortraitRow:
    """One network in the table.

    Attributes:
        name: Its name.
        color: Its colour.
        cells: By column.
    """

    name: str
    color: str
    cells: Mapping[str, Cell]


def portrait_rows(portraits: Sequence[Portrait]) -> tuple[list[str], list[PortraitRow]]:
    """Return the columns of the table of some networks, and a line for each."""
    rows = []
    for portrait, color in zip(portraits, cycle(_COLORS), strict=False):
        rows.append(PortraitRow(portrait.name, color, _cells(portrait)))
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    return columns, [
        PortraitRow(row.name, row.color, {name: row.cells.get(name, EMPTY) for name in columns})
        for row in rows
    ]


def write_landscape(
    portraits: Sequence[Portrait], path: str | Path, *, title: str, note: str = ""
) -> None:
    """Write the page of what was measured around some networks.

    The file holds everything it shows and asks nothing of a network; an older page at the same
    place is replaced.

    Args:
        portraits: Of the networks, the first one that from which paths lead.
        path: The HTML file to write.
        title: Its heading.
        note: A sentence on the loss and the data.

    Raises:
        StoreError: If the place is taken by another file, or cannot be written.
    """
    columns, rows = portrait_rows(portraits)
    pictures = [
        (heading, picture)
        for heading, draw in (
            ("Paths between networks", _paths),
            ("Spectra of the Hessian", _spectra),
            ("Surfaces", _surfaces),
        )
        if (picture := draw(portraits)) is not None
    ]
    write_page(
        path,
        "landscape.html",
        scripts=("page.js", "relief.js"),
        title=title,
        note=note,
        columns=columns,
        rows=rows,
        pictures=pictures,
        reliefs=_reliefs(portraits),
    )


def _cells(portrait: Portrait) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for words, found in portrait.sharpness.items():
        cells.setdefault("loss", Cell(f"{found.loss:.4g}", found.loss))
        error = "" if np.isnan(found.error) else f" ± {found.error:.1g}"
        cells[f"sharpness, {words}"] = Cell(f"{found.value:.3g}{error}", found.value)
    if (spectrum := portrait.spectrum) is not None:
        for name, extreme in (("largest", spectrum.largest), ("smallest", spectrum.smallest)):
            words = f"{extreme.value:.4g} (residual {extreme.residual:.0e})"
            cells[f"{name} eigenvalue"] = Cell(words, extreme.value)
        trace = f"{spectrum.trace:.4g} ± {spectrum.trace_error:.2g}"
        cells["trace"] = Cell(trace, spectrum.trace)
        mass = spectrum.negative_mass
        cells["negative eigenvalues"] = Cell(f"{100 * mass:.2f} %", mass)
    for name, path in (("barrier", portrait.path), ("barrier, aligned", portrait.path_aligned)):
        if path is not None:
            low, high = path.interval()
            ends = "" if np.isnan(low) else f" ({low:.3g} to {high:.3g})"
            cells[name] = Cell(f"{path.barrier:.3g}{ends}", path.barrier)
    return cells


def _paths(portraits: Sequence[Portrait]) -> Picture | None:
    def draw(ax: Axes, portrait: Portrait, color: str) -> None:
        for path, line in ((portrait.path, "-"), (portrait.path_aligned, "--")):
            if path is not None:
                ax.plot(path.at, path.losses, line, color=color)

    start = portraits[0].name
    caption = (
        f"Loss along the straight line from {start} (0) to each network (1), batch statistics "
        f"estimated anew at every point."
    )
    if any(p.path_aligned for p in portraits):
        caption += " Dashed: hidden units put into one order before."
    shown = [p for p in portraits if p.path is not None]
    return _lines(
        portraits, shown, draw, "paths", f"place between {start} and the network", caption
    )


def _spectra(portraits: Sequence[Portrait]) -> Picture | None:
    shown = [p for p in portraits if p.spectrum is not None]
    spectra = [p.spectrum for p in shown if p.spectrum is not None]
    if not spectra:
        return None
    low = min(s.smallest.value - 4 * s.width for s in spectra)
    high = max(s.largest.value + 4 * s.width for s in spectra)
    at = np.linspace(low, high, 600)

    def draw(ax: Axes, portrait: Portrait, color: str) -> None:
        assert portrait.spectrum is not None
        ends = (np.maximum(end, FLOOR) for end in portrait.spectrum.band(at))
        ax.fill_between(at, *ends, color=color, alpha=0.15, linewidth=0)
        density = np.maximum(portrait.spectrum.density(at), FLOOR)
        ax.plot(at, density, color=color, linewidth=1.3)

    caption = "Density of the eigenvalues, smoothed, with the 95 % bootstrap band over the starts."
    return _lines(portraits, shown, draw, "spectra", "eigenvalue", caption, log=True)


def _lines(
    portraits: Sequence[Portrait],
    shown: Sequence[Portrait],
    draw: Callable[[Axes, Portrait, str], None],
    name: str,
    label: str,
    caption: str,
    *,
    log: bool = False,
) -> Picture | None:
    """Return a figure of lines, one color a network."""
    if not shown:
        return None
    colors = dict(zip((p.name for p in portraits), cycle(_COLORS), strict=False))

    def draw_all(ax: Axes) -> None:
        for portrait in shown:
            draw(ax, portrait, colors[portrait.name])

    y = "density" if log else "loss"
    svg = lines_panel(draw_all, name=name, title=caption, x=label, y=y, log=log)
    names = tuple(LegendEntry(p.name, colors[p.name], "solid") for p in shown)
    return Picture((svg,), caption, names)


def _surfaces(portraits: Sequence[Portrait]) -> Picture | None:
    shown = {p.name: p.surface for p in portraits if p.surface is not None}
    if not shown:
        return None
    first = next(iter(shown.values()))
    caption = f"Loss around each network (cross), directions: {first.kind}."
    holes = [f"{name} {s.num_holes}" for name, s in shown.items() if s.num_holes]
    if holes:
        caption += f" Hatched: not finite, at so many places: {', '.join(holes)}."
    for name, s in shown.items():
        if s.trajectory is not None:
            rest = [f"{100 * r:.0f}" for r in s.trajectory.residuals]
            caption += (
                f" The line on {name} is its trajectory; of each network's distance so much lies "
                f"off the plane [%]: {', '.join(rest)}."
            )
    return contour_picture(
        {name: (s.across, s.up, s.losses) for name, s in shown.items()},
        name="surfaces",
        caption=caption,
        trajectories={n: s.trajectory.places for n, s in shown.items() if s.trajectory is not None},
    )


def _reliefs(portraits: Sequence[Portrait]) -> list[Relief]:
    return [
        relief_of(p.name, p.surface.losses)
        for p in portraits
        if p.surface is not None and not np.isnan(p.surface.losses).all()
    ]
