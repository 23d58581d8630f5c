import numpy as np
import pytest

from heatgrad.report.style import ArmStyle
from heatgrad.report.tuning import plot_tuning, tuning_curve, tuning_picture
from heatgrad.study import METRICS

ACCURACY, LOSS = METRICS["test_accuracy"], METRICS["test_loss"]
STYLES = {"a": ArmStyle("#000000", "-"), "b": ArmStyle("#0072B2", ":")}
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("metric", [ACCURACY, LOSS], ids=["accuracy", "loss"])
def test_selection_among_the_first_settings(metric):
    """Brute force: for each k the best mean of the first k, by sorting."""
    values = RNG.uniform(0.2, 0.9, (3, 16))
    curve = tuning_curve(values, metric)
    for k in range(1, 17):
        ranked = sorted(range(k), key=lambda s: (-metric.sign * values[:, s].mean(), s))
        best = values[:, ranked[0]]
        assert curve.mean[k - 1] == pytest.approx(best.mean())
        assert (curve.low[k - 1], curve.high[k - 1]) == (best.min(), best.max())
    assert curve.chosen == ranked[0] + 1


def test_values_that_are_the_best_so_far_give_the_same_curve():
    values = np.maximum.accumulate(RNG.uniform(0.2, 0.9, (1, 12)), axis=1)
    curve = tuning_curve(values, ACCURACY)
    np.testing.assert_array_equal(curve.mean, values[0])
    assert curve.chosen == int(np.argmax(values[0])) + 1, "the first that is as good"


def test_a_setting_that_diverged_is_not_chosen():
    values = np.array([[np.nan, 0.5, 0.9, 0.4], [0.9, 0.5, 0.0, 0.4]])
    curve = tuning_curve(values, ACCURACY)
    np.testing.assert_array_equal(curve.mean, [np.nan, 0.5, 0.5, 0.5])
    assert curve.chosen == 2
    assert tuning_curve([[1e6, 2.0]], LOSS).chosen == 2
    assert tuning_curve([[np.nan]], LOSS).chosen is None


@pytest.mark.parametrize("values", [[0.5], [[[0.5]]], [[]], np.zeros((0, 3))])
def test_other_shapes_are_refused(values):
    with pytest.raises(ValueError, match=r"must have shape \(blocks, K\), at least 1 by 1, got"):
        tuning_curve(values, ACCURACY)


def test_the_drawing_is_the_curve(ax):
    curves = {"a": RNG.uniform(0.2, 0.9, (3, 32)), "b": RNG.uniform(0.2, 0.9, (3, 8))}
    assert plot_tuning(ax, curves, STYLES, metric=ACCURACY) is ax
    for place, arm in enumerate(curves):
        line, ring = ax.lines[2 * place : 2 * place + 2]
        truth = tuning_curve(curves[arm], ACCURACY)
        np.testing.assert_allclose(line.get_ydata(), 100 * truth.mean)
        assert line.get_drawstyle() == "steps-post"
        assert line.get_color() == STYLES[arm].color
        assert ring.get_xdata() == [truth.chosen]
        np.testing.assert_allclose(ring.get_ydata(), 100 * truth.mean[-1])
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "validation accuracy [%]"
    ax.figure.draw_without_rendering()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "2", "4", "8", "16", "32"]


@pytest.mark.parametrize("count", [1, 4])
def test_few_settings_are_counted(ax, count):
    plot_tuning(ax, {"a": RNG.uniform(0.5, 2.0, (3, count))}, STYLES, metric=LOSS)
    ax.figure.draw_without_rendering()
    assert ax.get_xticks().tolist() == list(range(1, count + 1))
    assert ax.get_ylabel() == "validation loss [loss]"


def test_the_picture_says_what_is_seen():
    curves = {"a": np.full((3, 8), 0.5), "b": np.full((3, 1), np.nan)}
    picture = tuning_picture(curves, ACCURACY, STYLES, title="Tuning on x")
    assert len(picture.svgs) == 1
    assert 'aria-label="Tuning on x"' in picture.svgs[0]
    assert "mean over 3 tuning blocks" in picture.caption
    assert "Exploratory arms are dotted" in picture.caption
    assert [entry.name for entry in picture.legend] == ["a", "b"]
    with pytest.raises(ValueError, match="at least one arm, got none"):
        tuning_picture({}, ACCURACY, STYLES)
