import math

import numpy as np
import pytest

from heatgrad.report import plot_curves
from heatgrad.report.style import ArmStyle

STYLES = {"a": ArmStyle("#000000", "-"), "b": ArmStyle("#0072B2", "--")}
RUNS = np.random.default_rng(0).uniform(0.1, 0.9, (8, 5))


def band_limits(collection, epoch):
    """Return the lowest and highest edge of a filled band at an epoch."""
    vertices = collection.get_paths()[0].vertices
    edges = vertices[vertices[:, 0] == epoch][:, 1]
    return edges.min(), edges.max()


def test_line_is_the_median_and_band_the_quartiles(ax):
    """What is drawn is read back and compared with NumPy's percentiles."""
    curves = {"a": RUNS.tolist(), "b": (RUNS / 2).tolist()}
    assert plot_curves(ax, curves, STYLES, label="loss", percent=True) is ax
    for factor, line, band in zip((1, 0.5), ax.lines, ax.collections, strict=True):
        low, middle, high = 100 * factor * np.percentile(RUNS, [25, 50, 75], axis=0)
        assert line.get_xdata().tolist() == [1, 2, 3, 4, 5]
        np.testing.assert_allclose(line.get_ydata(), middle)
        for epoch in range(5):
            limits = band_limits(band, epoch + 1)
            np.testing.assert_allclose(limits, (low[epoch], high[epoch]))
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"]
    assert [line.get_color() for line in ax.lines] == ["#000000", "#0072B2"]
    assert ax.get_ylabel() == "loss"
    assert ax.get_xlabel() == "epoch"


def test_missing_values_and_shorter_runs_are_left_out(ax):
    """A diverged run stops early, and has no value where it was not finite."""
    runs = [[1.0, 2.0, 3.0], [3.0, None], [5.0, None, 7.0]]
    plot_curves(ax, {"a": runs}, STYLES, label="loss")
    assert ax.lines[0].get_ydata().tolist() == [3.0, 2.0, 5.0]


def test_an_epoch_that_nobody_has_is_bridged(ax):
    plot_curves(ax, {"a": [[1.0, None, 3.0]]}, STYLES, label="loss")
    assert ax.lines[0].get_xdata().tolist() == [1, 3]


@pytest.mark.parametrize("runs", [[], [[]], [[None, None], [None]]])
@pytest.mark.parametrize("log", [False, True])
def test_nothing_to_draw_is_no_error(ax, runs, log):
    plot_curves(ax, {"a": runs}, STYLES, label="loss", log=log)
    assert all(len(line.get_xdata()) == 0 for line in ax.lines)


def test_the_ceiling_is_drawn_and_named(ax):
    plot_curves(ax, {"a": RUNS.tolist()}, STYLES, label="x", percent=True, ceiling=0.915)
    assert ax.lines[-1].get_ydata() == [91.5, 91.5]
    assert [text.get_text() for text in ax.texts] == ["ceiling 91.5"]
    assert ax.get_ylim()[1] > 91.5


@pytest.mark.parametrize("span", [1.2, 3.0, 20.0, 1000.0, 1e7])
def test_ticks_of_a_log_axis_are_plain_numbers(ax, span):
    """Over a small range a decade has no power of ten; some ticks must be seen all the same."""
    plot_curves(ax, {"a": [[0.6, 0.6 * span]]}, STYLES, label="loss", log=True)
    ax.figure.draw_without_rendering()
    low, high = ax.get_ylim()
    shown = [
        text.get_text()
        for text, place in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)
        if low <= place <= high
    ]
    assert ax.get_yscale() == "log"
    assert 2 <= len(shown) <= 12
    assert len(set(shown)) == len(shown)
    assert all(math.isfinite(float(text)) for text in shown)
