"""Draw the figures of the guides: `python docs/assets/figures.py`; no training, a few seconds."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

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


if __name__ == "__main__":
    gains()
    verdicts()
