"""How figures look: one colour-blind-safe colour per method, everywhere."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from heatgrad.report.theme import themed_svg
from heatgrad.study.spec import ArmSpec, StudySpec

__all__ = [
    "NUM_COLORS",
    "ArmStyle",
    "arm_styles",
    "figure",
    "mark_ceiling",
    "set_log_scale",
    "shortened",
    "to_svg",
]

# Okabe and Ito (2008), with grey; two of their kind; then colours of Tol's muted scheme.
BLACK, BLUE, ORANGE, SKY = "#000000", "#0072B2", "#E69F00", "#56B4E9"
GREEN, VERMILLION, PURPLE, GREY = "#009E73", "#D55E00", "#CC79A7", "#8A8A8A"
OLIVE, BROWN = "#9A8B00", "#7A4B2A"
TEAL, ROSE, INDIGO, WINE = "#44AA99", "#CC6677", "#332288", "#882255"
# For arms that have no colour of their own, or whose colour is taken.
_OTHERS = (OLIVE, BROWN, INDIGO, ROSE, TEAL, WINE, PURPLE, SKY, GREEN, BLUE, VERMILLION, ORANGE)
NUM_COLORS = len({BLACK, GREY, *_OTHERS})
_VELOCITY = {  # by what diffuses first
    "conv_out": GREEN,
    "conv_in": SKY,
    "conv_spatial": PURPLE,
    "norm_weight": VERMILLION,
    "norm_bias": ORANGE,
}
_VELOCITY_CONTROLS = {
    "MomentumMatchedNesterov": INDIGO,
    "NormMatchedPlaceboNesterov": GREY,
    "PlaceboDiffusionNesterov": ROSE,
    "RefinedNesterov": TEAL,
}
_LAYER = {"layer": OLIVE, "layer_literal": BROWN, "centralize": TEAL, "centralize_channel": ROSE}

FAINT, BAND, PAPER = "#444444", "#e8ebee", "#ffffff"
_DOTTED = (0, (1, 1))

_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class ArmStyle:
    """The look of one arm.

    Attributes:
        color: A colour as matplotlib and CSS take it.
        linestyle: Solid for methods, dashed for controls, dotted for exploratory arms.
    """

    color: str
    linestyle: str


def arm_styles(study: StudySpec) -> dict[str, ArmStyle]:
    """Return the style of every arm; a method has its colour in every study.

    Where two arms of a study are of one method, the second gets a colour that is free.
    """
    colors: dict[str, str] = {}
    for name, arm in study.arms.items():
        color = _color(arm)
        if color == BLUE and color in colors.values():  # the baseline again, where it has momentum
            color = BLACK
        if color is not None and color not in colors.values():
            colors[name] = color
    free = [color for color in _OTHERS if color not in colors.values()]
    others = cycle(free or _OTHERS)
    styles = {}
    for name in study.arms:
        linestyle = {"control": "--", "exploratory": ":"}.get(study.role_of(name), "-")
        styles[name] = ArmStyle(colors.get(name) or next(others), linestyle)
    return styles


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """Give a figure of a size in inches, drawn in the house style, outside pyplot's state."""
    with mpl.rc_context(_RC):
        yield Figure(figsize=(width, height))


def mark_ceiling(ax: Axes, value: float, *, axis: str) -> None:
    """Draw the best possible value as a labelled line across `ax`, at a place on its `axis`."""
    if axis == "x":
        ax.axvline(value, color=FAINT, linewidth=1.0, linestyle=_DOTTED)
        place, coordinates, offset = (value, 1.0), ("data", "axes fraction"), (-2, 1)
    else:
        ax.axhline(value, color=FAINT, linewidth=1.0, linestyle=_DOTTED)
        place, coordinates, offset = (1.0, value), ("axes fraction", "data"), (-2, 2)
    ax.annotate(
        f"ceiling {value:.1f}",
        place,
        xycoords=coordinates,
        xytext=offset,
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=7.5,
        color=FAINT,
    )


def to_svg(fig: Figure, *, name: str, title: str) -> str:
    """Return a figure as an `<svg>` element for a page, whose colours follow the page's.

    Args:
        fig: The figure.
        name: Unique in the page; it keeps the ids of two figures apart.
        title: What a screen reader says.
    """
    buffer = io.StringIO()
    with mpl.rc_context(_RC | {"svg.hashsalt": name}):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # Sizes come from the page; the ids matplotlib gives to groups repeat from figure to figure.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = themed_svg(svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{_escaped(title)}"', 1)


def set_log_scale(ax: Axes) -> None:
    """Make a vertical axis that is drawn already logarithmic, with ticks in plain numbers."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    if high < 6 * low:  # too short for decades
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def shortened(name: str, length: int = 24) -> str:
    """Return a name of at most `length` characters, to be written beside an axis.

    Example:
        >>> shortened("diffusion of everything, everywhere", 16)
        'diffusion of ev…'
    """
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _color(arm: ArmSpec) -> str | None:
    diffusion = arm.options.get("diffusion", 0)
    mode = arm.options.get("mode", "global")
    match arm.kind:
        case "SGD":
            return BLUE if arm.options.get("momentum") else BLACK
        case "Adam":
            return ORANGE
        case "NormMatchedSGD":
            return PURPLE
        case "PlaceboDiffusionSGD":
            return GREY
        case "DiffusionSGD" if mode == "global":
            return SKY if diffusion <= 0.02 else GREEN if diffusion <= 0.07 else VERMILLION
        case "DiffusionSGD":
            return _LAYER.get(mode)
        case "DiffusionNesterov" if diffusion == 1:
            return _VELOCITY.get(next(iter(arm.options.get("groups", ())), ""))
    return _VELOCITY_CONTROLS.get(arm.kind)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
