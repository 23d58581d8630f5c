"""Draw the figures of the guides: `python docs/assets/figures.py`; no training, a few seconds."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from heatgrad.optim import max_stable_diffusion, refine
from heatgrad.study import METRICS, judge
from heatgrad.study.verdict import Question

HERE = Path(__file__).parent
NOTHING = {"Date": None, "Creator": None}
plt.switch_backend("svg")
plt.rcParams.update({"svg.hashsalt": "heatgrad", "svg.fonttype": "none"})
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")  # told apart by all


def gains() -> None:
    """Draw the gain 1 - 4 λ sin²(ω/2) of the chain, Eq. (R.2)."""
    fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    frequency = np.linspace(0, np.pi, 200)
    for diffusion, colour in zip((0.05, 0.1, 0.25, 0.35, 0.5), COLOURS, strict=True):
        gain = 1 - 4 * diffusion * np.sin(frequency / 2) ** 2
        style = "-" if diffusion <= 0.25 else "--"
        ax.plot(frequency / np.pi, gain, style, color=colour, label=f"diffusion {diffusion:g}")
    ax.axhline(0, color="0.4", lw=0.8)
    ax.set_xlabel("frequency along the chain, as a share of the highest [1]")
    ax.set_ylabel("gain [1]")
    ax.legend(frameon=False, fontsize=8)
    fig.savefig(HERE / "gains.svg", metadata=NOTHING)


def verdicts() -> None:
    """Draw the interval and the verdict of made-up differences that lead to each word."""
    wiggle = np.linspace(-1, 1, 8)
    even = wiggle * 0.003
    cases = [  # note, centre, scatter, control's centre or None, ceiling above the baseline
        ("", 0.012, even, None, 0.1),
        (" (a control does as well)", 0.012, even, 0.011, 0.1),
        ("", -0.012, even, None, 0.1),
        (" (baseline at the ceiling)", 0.001, even, None, 0.002),
        ("", 0.002, wiggle * 0.002, None, 0.1),
        ("", 0.0, even, None, 0.1),
        ("", 0.004, wiggle * 0.012, None, 0.1),
    ]
    fig, ax = plt.subplots(figsize=(7.6, 3.4), layout="constrained")
    names = []
    for row, (name, centre, scatter, control, room) in enumerate(cases):
        base = np.full(8, 0.8)
        values = base + centre + scatter
        controls = {} if control is None else {"a control": tuple(base + control + scatter)}
        verdict = judge(
            Question(
                task="",
                arm="arm",
                baseline="SGD",
                role="confirmatory",
                metric=METRICS["test_accuracy"],
                margin=0.005,
                values=tuple(values),
                baseline_values=tuple(base),
                controls=controls,
                needs_control=False,
                ceiling=tuple(base + room),
                diverged=0,
            )
        )
        interval = verdict.comparison
        if interval is None:
            raise RuntimeError("eight blocks always have an interval")
        ends = [100 * interval.low, 100 * interval.high]
        ax.plot(ends, [row, row], color=COLOURS[0], lw=3, solid_capstyle="butt")
        ax.plot(100 * interval.mean, row, "D", color=COLOURS[0], ms=6)
        if control is not None:
            ax.plot(100 * control, row, "s", color=COLOURS[3], ms=5)
        names.append(verdict.word + name)
    ax.axvspan(-0.5, 0.5, color="0.9", zorder=0)
    ax.axvline(0, color="0.4", lw=0.8)
    ax.set_yticks(range(len(names)), names, fontsize=7)
    ax.invert_yaxis()
    ax.set_xlabel("difference from the baseline [points]")
    fig.savefig(HERE / "verdicts.svg", metadata=NOTHING)


def directions() -> None:
    """Draw the axes of a layer's tensors ([Sun] figure 2), and what each mode keeps, Eq. (V.10)."""
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(9.6, 3.6), width_ratios=(1.15, 1), layout="constrained"
    )
    _layer(left)
    _momenta(right, gamma=0.9)
    fig.savefig(HERE / "directions.svg", metadata=NOTHING)


def _layer(ax: Axes) -> None:
    """Draw a convolution as filters (output channels) of slices (input channels) of a kernel."""
    for filter_ in range(4):
        for slice_ in (2, 1, 0):
            x, y = 5.2 * filter_ + 0.55 * slice_, 0.55 * slice_
            ax.add_patch(
                Rectangle(
                    (x, y), 3, 3, facecolor="white", edgecolor="0.35", lw=0.9, zorder=4 - slice_
                )
            )
            for k in (1, 2):
                ax.plot([x + k, x + k], [y, y + 3], color="0.75", lw=0.6, zorder=4 - slice_)
                ax.plot([x, x + 3], [y + k, y + k], color="0.75", lw=0.6, zorder=4 - slice_)
    _arrow(
        ax, (0, -0.7), (18.6, -0.7), "conv_out: from output channel to output channel", COLOURS[2]
    )
    _arrow(ax, (15.6, 3.2), (16.9, 4.5), "conv_in: input channels", COLOURS[0], side=(-0.4, 0.5))
    _arrow(ax, (0.2, 1.5), (2.8, 1.5), "", COLOURS[4])
    _arrow(ax, (1.5, 0.2), (1.5, 2.8), "conv_spatial: the kernel", COLOURS[4], side=(-1.5, 2.4))
    for name, y, colour in (("norm_weight", -3.6, COLOURS[3]), ("norm_bias", -6.6, COLOURS[1])):
        for channel in range(4):
            x = 5.2 * channel + 1
            ax.add_patch(Rectangle((x, y), 1, 1, facecolor="white", edgecolor="0.35", lw=0.9))
        _arrow(ax, (1, y - 0.4), (17.6, y - 0.4), f"{name}: one number a channel", colour)
    ax.set_xlim(-0.6, 20.4)
    ax.set_ylim(-8.6, 6)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.set_title("what neighbours along an axis are", fontsize=9, loc="left")


def _arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    words: str,
    colour: str,
    side: tuple[float, float] = (0.0, -0.95),
) -> None:
    look = {
        "arrowstyle": "<->",
        "color": colour,
        "lw": 1.6,
        "shrinkA": 0,
        "shrinkB": 0,
        "zorder": 9,
    }
    ax.annotate("", end, start, arrowprops=look, zorder=9)
    ax.text((start[0]) + side[0], end[1] + side[1], words, color=colour, fontsize=7.5)


def _momenta(ax: Axes, gamma: float) -> None:
    """Draw k(s) = γ - β s of one axis, and its mean over all modes, Eq. (V.15).

    That is at s = 2 with periodic ends; with Neumann ends, of n cells, at 2 - 2/n.
    """
    s = np.linspace(0, 4, 9)
    for amount, colour in zip((0.25, 0.5, 1.0, 2.0, 4.0), COLOURS, strict=True):
        kept = gamma if amount <= 1 else refine(0.1, gamma, amount)[1]
        k = kept - min(amount, 1.0) * max_stable_diffusion(kept, 1) * s
        ax.plot(s, k, "-" if amount <= 1 else "--", color=colour, label=f"D = {amount:g}")
        ax.plot(2, k[4], "o", color=colour, ms=4)
    ax.axhspan(-1, 1, color="0.95", zorder=0)
    ax.set_xlabel("frequency s along the axis [1]")
    ax.set_ylabel("momentum of the mode, k(s) [1]")
    ax.set_title(f"γ = {gamma:g}; dashed: refined; dot: mean over modes", fontsize=9, loc="left")
    ax.legend(frameon=False, fontsize=8, loc="lower left")


if __name__ == "__main__":
    gains()
    directions()
    verdicts()
