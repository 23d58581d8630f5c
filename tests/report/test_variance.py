import math

import numpy as np
import pytest

from heatgrad.report.variance import plot_shares, variance_bars

SHARES = {"data set": (0.8, 0.7, 0.9), "optimizer": (0.03, 0.0, 0.06), "$rest": (0.17, 0.2, 0.3)}


def test_bars_intervals_and_numbers(ax):
    assert plot_shares(ax, SHARES) is ax
    for row, (share, low, high) in enumerate(SHARES.values()):
        assert ax.patches[row].get_width() == pytest.approx(100 * share)
        line = ax.lines[3 * row]
        np.testing.assert_allclose(line.get_xdata(), [100 * low, 100 * high])
        assert set(line.get_ydata()) == {row}
    assert ax.texts[0].get_text() == "80.0 % (70.0 to 90.0)"
    assert [text.get_text() for text in ax.get_yticklabels()] == list(SHARES)
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first component is on top"
    assert max(ax.get_xticks()) <= 100


@pytest.mark.parametrize("longest", [0.001, 0.3, 1.0])
def test_numbers_stay_inside(ax, longest):
    ax.figure.set_size_inches(4.9, 1.5)
    plot_shares(ax, {"a": (longest, 0.0, longest)})
    ax.figure.draw_without_rendering()
    assert ax.texts[0].get_window_extent().x1 <= ax.get_window_extent().x1


@pytest.mark.parametrize(
    "numbers", [(1.2, 0.1, 0.2), (0.5, 0.6, 0.4), (math.nan, 0.0, 1.0), (0.5, -0.1, 0.6)]
)
def test_what_is_no_share_is_refused(ax, numbers):
    with pytest.raises(ValueError, match="the share of 'seed' and its interval must be fractions"):
        plot_shares(ax, {"seed": numbers})


def test_the_picture():
    picture = variance_bars(SHARES, note="Of 160 runs.", title="Shares")
    assert picture.caption.endswith("its 95 % interval. Of 160 runs.")
    assert 'aria-label="Shares"' in picture.svgs[0]
    with pytest.raises(ValueError, match="at least one component, got none"):
        variance_bars({})
