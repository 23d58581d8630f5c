"""A figure of the page: panels, a caption, a legend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heatgrad.report.style import ArmStyle

__all__ = ["LegendEntry", "Part", "Picture", "legend", "line_key"]


@dataclass(frozen=True)
class LegendEntry:
    """A line of a legend.

    Attributes:
        name: Name of the arm.
        color: Its colour.
        line: Its line, as CSS calls it: `"solid"`, `"dashed"` or `"dotted"`.
    """

    name: str
    color: str
    line: str


@dataclass(frozen=True)
class Picture:
    """A figure of the page: panels that the page sets side by side where there is room.

    Attributes:
        svgs: The drawn `<svg>` of each panel.
        caption: What is seen, with n.
        legend: Names and looks of the arms; empty where the panels name them.
    """

    svgs: tuple[str, ...]
    caption: str
    legend: tuple[LegendEntry, ...] = ()


@dataclass(frozen=True)
class Part:
    """A part of the page with figures, such as phase maps or tuning curves.

    Attributes:
        title: Its heading; in a page no two parts have the same.
        text: What is seen, and what to mind.
        pictures: Its figures, each under a heading of its own, or under none where that is empty.
    """

    title: str
    text: str
    pictures: tuple[tuple[str, Picture], ...]


def legend(styles: Mapping[str, ArmStyle], arms: Sequence[str]) -> tuple[LegendEntry, ...]:
    """Return the legend of some arms, in their order."""
    css = {"-": "solid", "--": "dashed", ":": "dotted"}
    return tuple(LegendEntry(arm, styles[arm].color, css[styles[arm].linestyle]) for arm in arms)


def line_key(styles: Mapping[str, ArmStyle], arms: Sequence[str]) -> str:
    """Return what the lines that are not solid mean, of those that are there."""
    used = {styles[arm].linestyle for arm in arms}
    words = {"--": " Controls are dashed.", ":": " Exploratory arms are dotted."}
    return "".join(sentence for line, sentence in words.items() if line in used)
