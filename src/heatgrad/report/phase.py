"""A phase map: the verdict on an arm as a function of two dials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from heatgrad.report.panels import Picture
from heatgrad.report.style import figure, shortened, to_svg
from heatgrad.report.theme import VERDICT_COLORS
from heatgrad.study import Verdict
from heatgrad.study.metric import Metric
from heatgrad.study.question import ALPHA
from heatgrad.study.statistics import Boundary
from heatgrad.study.wording import show_difference

__all__ = ["PhaseCell", "crosses", "phase_map", "plot_phase"]

_FINE = 25  # points between two settings, along which a boundary is drawn

# Words that say that there is a difference: without a small q they are leads.
_CLAIMS = ("HELPS", "HELPS-NOT-BECAUSE", "HURTS", "TRIVIAL")
_SHORT = {
    "HELPS-NOT-BECAUSE": "SHARED",  # a control shares the gain
    "INCONCLUSIVE": "OPEN",
    "EQUIVALENT": "EQUAL",
    "NO VERDICT": "TOO FEW",
}


@dataclass(frozen=True)
class PhaseCell:
    """The outcome at one setting of the dials.

    Attributes:
        word: The verdict.
        difference: Mean paired difference, a gain positive; None where there is none [metric].
        n: Number of matched runs.
        q: q value of no difference over the cells of the map; None where it was not asked.
    """

    word: str
    difference: float | None
    n: int
    q: float | None = None

    @classmethod
    def of(cls, verdict: Verdict, *, q: float | None = None) -> "PhaseCell":
        """Return the cell of a verdict; `q` takes the place of the verdict's own."""
        mean = None if verdict.comparison is None else verdict.comparison.mean
        n = verdict.question.num_blocks
        return cls(verdict.word, mean, n, verdict.q if q is None else q)

    @property
    def is_lead(self) -> bool:
        """Whether the word claims a difference that the map as a whole does not bear out."""
        return self.word in _CLAIMS and self.q is not None and self.q > ALPHA


Cells = Mapping[tuple[float, float], PhaseCell]


def plot_phase(
    ax: Axes,
    cells: Cells,
    *,
    x_name: str,
    y_name: str,
    metric: Metric,
    x_values: Sequence[float] = (),
    y_values: Sequence[float] = (),
) -> Axes:
    """Draw one arm's verdicts over two dials: word, difference and n in every cell.

    Settings of the dials are set at equal distances, in order. A word that claims a difference
    without a q value of at most 0.05 is pale, dashed, and followed by a question mark.

    Args:
        ax: Where to draw.
        cells: By the values of the x dial and of the y dial.
        x_name: The dial along the horizontal axis, with its unit if it has one.
        y_name: The dial along the vertical axis.
        metric: What the differences are of.
        x_values: All settings of the x dial; by default those of `cells`.
        y_values: All settings of the y dial; by default those of `cells`.

    Returns:
        `ax`.

    Raises:
        ValueError: If there is no cell, or one has an unknown word.
    """
    if not cells:
        raise ValueError("cells must hold at least one setting of the dials, got none")
    xs = sorted(x_values or {x for x, _ in cells})
    ys = sorted(y_values or {y for _, y in cells})
    for (x, y), cell in cells.items():
        if cell.word not in VERDICT_COLORS:
            known = ", ".join(VERDICT_COLORS)
            raise ValueError(
                f"the cell at ({x:g}, {y:g}) must have one of the words {known}, got {cell.word!r}"
            )
        _draw(ax, xs.index(x), ys.index(y), cell, metric)
    ax.set_xlim(-0.5, len(xs) - 0.5)
    ax.set_ylim(-0.5, len(ys) - 0.5)
    ax.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    ax.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    ax.set_xlabel(x_name, parse_math=False)
    ax.set_ylabel(y_name, parse_math=False)
    return ax


def phase_map(
    cells: Mapping[str, Cells],
    x_name: str,
    y_name: str,
    *,
    metric: Metric,
    name: str = "phase",
    boundaries: Mapping[str, Boundary] = MappingProxyType({}),
) -> Picture:
    """Return the phase maps of some arms, a panel each, as a figure of the page.

    Args:
        cells: By arm, then by the values of the x dial and of the y dial.
        x_name: The dial along the horizontal axis, with its unit if it has one.
        y_name: The dial along the vertical axis.
        metric: What the differences are of.
        name: Unique in the page.
        boundaries: By arm, fitted to the settings as they are drawn: 0, 1, 2 from the left and
            from below. One is drawn where it predicts cells better than a constant does.

    Raises:
        ValueError: If there is no cell, or one has an unknown word.

    Example:
        >>> from heatgrad.study import METRICS
        >>> cells = {(1.0, 0.0): PhaseCell("HELPS", 0.02, 8, 0.01)}
        >>> picture = phase_map(
        ...     {"diffusion": cells}, "turns", "label noise", metric=METRICS["test_accuracy"]
        ... )
        >>> picture.caption.startswith("The verdict")
        True
    """
    settings = [place for by_place in cells.values() for place in by_place]
    if not settings:
        raise ValueError("cells must hold at least one setting of the dials, got none")
    xs, ys = sorted({x for x, _ in settings}), sorted({y for _, y in settings})
    drawn = {arm: b for arm, b in boundaries.items() if crosses(b, len(xs), len(ys))}
    svgs = []
    for number, (arm, by_place) in enumerate(cells.items()):
        if not by_place:
            continue
        # Wide enough for a word in each cell, narrow enough for a phone.
        with figure(min(5.5, 1.0 + 0.92 * len(xs)), 0.85 + 0.56 * len(ys)) as fig:
            ax = fig.subplots()
            plot_phase(
                ax, by_place, x_name=x_name, y_name=y_name, metric=metric, x_values=xs, y_values=ys
            )
            if arm in drawn:
                _draw_boundary(ax, drawn[arm], len(xs), len(ys))
            ax.set_title(shortened(arm, 40), parse_math=False)
            title = f"Verdicts on {arm} over {x_name} and {y_name}"
            svgs.append(to_svg(fig, name=f"{name}-{number}", title=title))
    counts = sorted({cell.n for by_place in cells.values() for cell in by_place.values()})
    n = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    unit = " in points" if metric.percent else ""
    caption = (
        f"The verdict at each setting of {x_name} and {y_name}; below it the mean paired "
        f"difference{unit}, a gain positive; n = {n}."
    )
    shown = [cell for by_place in cells.values() for cell in by_place.values()]
    words = {cell.word for cell in shown}
    keys = [f"{_SHORT[word]} is {word}" for word in VERDICT_COLORS if word in words & set(_SHORT)]
    if keys:
        caption += f" {'; '.join(keys)}."
    if any(cell.is_lead for cell in shown):
        caption += (
            " Pale and with a question mark: q is above 0.05 over the cells of the map, a lead and "
            "no finding."
        )
    if drawn:
        fits = ", ".join(
            f"{arm} {b.prediction.log_loss:.2f} against {b.prediction.constant_log_loss:.2f}"
            for arm, b in drawn.items()
        )
        caption += (
            " The line: even odds that a run gains more than the margin, by logistic regression "
            "(S.18), where that predicts cells left out better than a constant; mean log loss of "
            f"the two: {fits}."
        )
    return Picture(tuple(svgs), caption)


def crosses(boundary: Boundary, columns: int, rows: int) -> bool:
    """Whether a boundary predicts better than a constant and runs through the map.

    Args:
        boundary: Fitted to the settings 0, 1, 2 and on of both dials.
        columns: Number of settings of the x dial.
        rows: Number of settings of the y dial.
    """
    odds = _odds(boundary, columns, rows)[2]
    return boundary.prediction.is_better and bool(odds.min() < 0.5 < odds.max())


def _odds(boundary: Boundary, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places across, places up, and the probability to win at each, shape (up, across)."""
    x, y = (np.linspace(0, count - 1, _FINE * (count - 1) + 1) for count in (columns, rows))
    across, up = np.meshgrid(x, y)
    places = np.column_stack([across.ravel(), up.ravel()])
    return x, y, boundary.probability(places).reshape(across.shape)


def _draw_boundary(ax: Axes, boundary: Boundary, columns: int, rows: int) -> None:
    x, y, odds = _odds(boundary, columns, rows)
    for width, color in ((3.2, "white"), (1.4, "black")):
        ax.contour(x, y, odds, levels=[0.5], colors=color, linewidths=width)


def _draw(ax: Axes, column: int, row: int, cell: PhaseCell, metric: Metric) -> None:
    (field, ink), _ = VERDICT_COLORS[cell.word]
    ax.add_patch(
        Rectangle(
            (column - 0.47, row - 0.46),
            0.94,
            0.92,
            facecolor=(field, 0.35) if cell.is_lead else field,
            edgecolor=ink,
            linewidth=0.9 if cell.is_lead else 0.0,
            linestyle=(0, (3, 2)),
        )
    )
    word = _SHORT.get(cell.word, cell.word) + ("?" if cell.is_lead else "")
    difference = (
        ""
        if cell.difference is None
        else show_difference(cell.difference, metric, cell.n, unit=False)
    )
    if difference.startswith("a diverged"):
        difference = "diverged"
    lines = ((0.25, word, 7.2, "bold"), (-0.02, difference, 8.2, "normal"))
    for height, text, size, weight in (*lines, (-0.29, f"n = {cell.n}", 7.0, "normal")):
        ax.text(
            column,
            row + height,
            text,
            ha="center",
            va="center",
            fontsize=size,
            fontweight=weight,
            color=ink,
        )
