import numpy as np
import pytest

from heatgrad.report import plot_against_noise, plot_finals
from heatgrad.report.style import ArmStyle, shortened
from heatgrad.study import sign_flip_interval

STYLES = {"a": ArmStyle("#000000", "-"), "b": ArmStyle("#0072B2", "--")}
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 12])
def test_dots_mean_and_interval(ax, n):
    """From 8 runs on the bar is the sign-flip interval, below it the range."""
    values = {"a": RNG.uniform(0.4, 0.6, n), "b": RNG.uniform(0.5, 0.9, n)}
    assert plot_finals(ax, values, STYLES, label="accuracy [%]", percent=True) is ax
    for row, runs in enumerate(values.values()):
        dots, bar, mean = ax.lines[3 * row : 3 * row + 3]
        np.testing.assert_allclose(dots.get_xdata(), 100 * runs)
        assert np.all(np.abs(dots.get_ydata() - row) < 0.5)
        ends = sign_flip_interval(runs) if n >= 8 else (runs.min(), runs.max())
        np.testing.assert_allclose(bar.get_xdata(), 100 * np.array(ends))
        np.testing.assert_allclose(mean.get_xdata(), [100 * runs.mean()])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_ylim() == (1.5, -0.5), "the first arm is on top"
    assert ax.get_xlabel() == "accuracy [%]"


def test_a_diverged_run_is_drawn_at_the_worst_value(ax):
    plot_finals(ax, {"a": [0.0] + [0.9] * 7}, STYLES, label="accuracy", percent=True)
    assert ax.lines[0].get_xdata().min() == 0
    assert ax.get_xlim()[0] < 0


def test_an_arm_without_runs_keeps_its_row(ax):
    plot_finals(ax, {"a": [], "b": [0.5]}, STYLES, label="accuracy")
    assert len(ax.lines) == 3
    assert ax.lines[0].get_ydata() == [1]


def test_the_ceiling_of_finals(ax):
    plot_finals(ax, {"a": [0.5]}, STYLES, label="accuracy", percent=True, ceiling=0.97)
    assert ax.lines[-1].get_xdata() == [97, 97]
    assert ax.get_xlim()[1] > 97
    assert [text.get_text() for text in ax.texts] == ["ceiling 97.0"]


def test_names_of_arms_are_text(ax):
    """Dollar signs begin formulas in matplotlib; in a name they are dollar signs."""
    name = r"$\nothing a $1 arm"
    plot_finals(ax, {name: [0.5]}, {name: STYLES["a"]}, label="accuracy")
    ax.figure.draw_without_rendering()
    assert ax.get_yticklabels()[0].get_text() == name
    assert shortened("x" * 100) == "x" * 23 + "…"


def test_medians_and_quartiles_against_noise(ax):
    rates = (0.0, 0.1, 0.4)
    values = {arm: {rate: RNG.uniform(0.2, 0.9, 8) for rate in rates} for arm in ("a", "b")}
    ceiling = {rate: 1 - rate for rate in rates}
    drawn = plot_against_noise(ax, values, STYLES, label="y", percent=True, ceiling=ceiling)
    assert drawn is ax
    for place, arm in enumerate(values):
        line, _, (bars,) = ax.containers[place]
        truth = np.array([100 * np.percentile(values[arm][r], [25, 50, 75]) for r in rates])
        np.testing.assert_allclose(line.get_ydata(), truth[:, 1])
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, truth[:, [0, 2]])
        assert np.abs(line.get_xdata() - rates).max() < 0.05, "nearest to its own rate"
    assert ax.lines[-1].get_label() == "ceiling"
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), [100, 90, 60])
    assert ax.get_xticks().tolist() == list(rates)


def test_rates_close_together_stay_apart(ax):
    """Arms are set side by side by less than half of the smallest gap between rates."""
    values = {arm: {0.0: [0.5], 0.001: [0.5], 0.4: [0.4]} for arm in ("a", "b")}
    plot_against_noise(ax, values, STYLES, label="y")
    x = [container[0].get_xdata() for container in ax.containers]
    assert x[0][0] < x[1][0] < x[0][1] < x[1][1]


def test_rates_and_arms_without_runs(ax):
    values = {"a": {}, "b": {0.0: [0.5], 0.1: []}}
    plot_against_noise(ax, values, STYLES, label="y", log=True)
    assert len(ax.containers) == 1
    assert len(ax.containers[0][0].get_xdata()) == 1


def test_a_diverged_loss_leaves_the_others_readable(ax):
    """A diverged run's loss is ranked at 1e6: on a log axis the rest is still seen."""
    values = {"a": {0.0: [0.5, 0.6, 1e6], 0.1: [0.7, 0.8, 0.9]}}
    plot_against_noise(ax, values, STYLES, label="loss", log=True)
    assert ax.get_yscale() == "log"
    np.testing.assert_allclose(ax.containers[0][0].get_ydata(), [0.6, 0.8])
