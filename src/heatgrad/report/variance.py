"""How much of an outcome's variance is due to what."""

import math
from collections.abc import Mapping

from matplotlib.axes import Axes

from heatgrad.report.panels import Picture
from heatgrad.report.style import BLUE, FAINT, figure, to_svg

__all__ = ["plot_shares", "variance_bars"]

Shares = Mapping[str, tuple[float, float, float]]


def plot_shares(ax: Axes, shares: Shares) -> Axes:
    """Draw shares of a variance as bars, with their intervals and their numbers.

    Args:
        ax: Where to draw.
        shares: By component, the share and the ends of its interval, fractions from 0 to 1 [1].

    Returns:
        `ax`.

    Raises:
        ValueError: If there is no component, or a number is not from 0 to 1, or ends are swapped.
    """
    if not shares:
        raise ValueError("shares must hold at least one component, got none")
    for row, (component, (share, low, high)) in enumerate(shares.items()):
        numbers = (share, low, high)
        if not all(math.isfinite(v) and 0 <= v <= 1 for v in numbers) or low > high:
            raise ValueError(
                f"the share of '{component}' and its interval must be fractions from 0 to 1, the "
                f"lower end first, got {share:g} ({low:g} to {high:g})"
            )
        ax.barh(row, 100 * share, height=0.56, color=BLUE, alpha=0.55, linewidth=0)
        ax.plot([100 * low, 100 * high], [row, row], color=FAINT, linewidth=1.6)
        for end in (low, high):
            ax.plot([100 * end] * 2, [row - 0.12, row + 0.12], color=FAINT, linewidth=1.6)
        ax.annotate(
            f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})",
            (100 * max(share, high), row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    ax.set_yticks(range(len(shares)), list(shares))
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    ax.set_ylim(len(shares) - 0.5, -0.5)
    # Room for the numbers to the right of the longest bar.
    longest = max(max(share, high) for share, _, high in shares.values())
    ax.set_xlim(0, 100 * max(0.05, longest) * 1.55)
    ax.set_xticks([tick for tick in ax.get_xticks() if tick <= 100])
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("share of the variance [%]")
    return ax


def variance_bars(
    shares: Shares,
    *,
    name: str = "variance",
    title: str = "Shares of the variance",
    note: str = "",
) -> Picture:
    """Return shares of a variance as a figure of the page.

    Args:
        shares: By component, such as "data set", "optimizer", "interaction", "seed", "rest", the
            share and the ends of its interval, fractions from 0 to 1 [1].
        name: Unique in the page.
        title: What a screen reader says.
        note: A sentence for the caption: of what, over which runs, which intervals.

    Raises:
        ValueError: If there is no component, or a number is not from 0 to 1, or ends are swapped.

    Example:
        >>> picture = variance_bars({"data set": (0.8, 0.7, 0.9), "rest": (0.2, 0.1, 0.3)})
        >>> "Bar: share" in picture.caption
        True
    """
    with figure(4.9, 0.75 + 0.34 * len(shares)) as fig:
        plot_shares(fig.subplots(), shares)
        svg = to_svg(fig, name=name, title=title)
    caption = "Bar: share of the variance of final values; line: its 95 % interval."
    return Picture((svg,), f"{caption} {note}".strip())
