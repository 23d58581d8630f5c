import dataclasses

import numpy as np
import pytest
from scipy import stats

from heatgrad.report.forest import Effect, effects_of, forest_picture, plot_forest
from heatgrad.study import METRICS, judge_all

ACCURACY, LOSS = METRICS["test_accuracy"], METRICS["test_loss"]


def effect(arm="a", mean=0.004, *, half=0.002, control=False):
    ends = (mean - half, mean + half)
    return Effect(arm, "#0072B2", mean, ends, {"t": ends, "BCa": ends}, None, control, 8)


def test_rows_hold_the_numbers_of_the_verdicts(make_results):
    """The t interval is SciPy's; each control stands below its arm."""
    results = make_results()
    rng = np.random.default_rng(0)
    verdicts = judge_all(
        [
            dataclasses.replace(
                v.question, values=tuple(v.question.values + rng.normal(0, 0.01, 8))
            )
            for v in results.verdicts()
            if v.question.task == "spiral"
        ]
    )
    study = results.study
    controls = {arm: study.controls_of(arm) for arm in study.arms}
    # Order of the verdicts does not matter for what is beside what.
    effects = effects_of(verdicts[::-1], dict.fromkeys(study.arms, "#000000"), controls)
    names = [row.arm for row in effects]
    place = names.index("diffusion 0.1")
    assert names[place + 1 : place + 3] == ["norm-matched 0.1", "placebo 0.1"]
    assert [row.is_control for row in effects[place : place + 3]] == [False, True, True]
    for row in effects:
        verdict = next(v for v in verdicts if v.question.arm == row.arm)
        q = verdict.question
        d = np.array(q.values) - np.array(q.baseline_values)
        truth = stats.t.interval(0.95, 7, loc=d.mean(), scale=stats.sem(d))
        np.testing.assert_allclose(row.secondary["t"], truth, atol=1e-12)
        assert row.mean == pytest.approx(d.mean())
        assert row.interval == (verdict.comparison.low, verdict.comparison.high)


def test_a_control_without_its_arm_is_not_lost(make_results):
    verdicts = [v for v in make_results().verdicts() if v.question.arm == "placebo 0.1"][:1]
    (row,) = effects_of(verdicts, {"placebo 0.1": "#000000"}, {"diffusion 0.1": ["placebo 0.1"]})
    assert row.is_control


def test_interval_margin_and_labels(ax):
    assert plot_forest(ax, [effect()], margin=0.005, metric=ACCURACY) is ax
    band = ax.patches[0]
    assert (band.get_x(), band.get_x() + band.get_width()) == (-0.5, 0.5)
    primary, marker, t, bca = ax.lines[1:5]
    for line in (primary, t, bca):
        np.testing.assert_allclose(line.get_xdata(), [0.2, 0.6])
    np.testing.assert_allclose(marker.get_xdata(), [0.4])
    assert primary.get_linewidth() > 3 * t.get_linewidth()
    assert [text.get_text() for text in ax.texts] == ["t", "BCa"]
    assert "points" in ax.get_xlabel()
    heights = [line.get_ydata()[0] for line in (primary, t, bca)]
    assert heights == sorted(heights), "the primary interval is on top"


def test_many_arms_leave_no_room_for_the_secondary_ones(ax):
    plot_forest(ax, [effect(str(k)) for k in range(11)], margin=0.005, metric=ACCURACY)
    assert not ax.texts
    assert len(ax.lines) == 1 + 2 * 11


@pytest.mark.parametrize("far", [0.3, -0.3, 40.0])
def test_the_margin_is_seen_however_far_an_arm_is(ax, far):
    """A difference of 60 margins and more leaves the band a tenth of the width at least."""
    plot_forest(ax, [effect(mean=far), effect(mean=0.001)], margin=0.005, metric=LOSS)
    ax.figure.draw_without_rendering()
    low, high = (ax.transData.transform((x, 0))[0] for x in (-0.005, 0.005))
    assert high - low > 0.1 * ax.get_window_extent().width
    ends = ax.get_xlim()
    assert ends[0] < far < ends[1]
    shown = [tick for tick in ax.get_xticks() if ends[0] <= tick <= ends[1]]
    assert 0.005 in shown
    assert -0.005 in shown
    assert len(shown) >= 4


def test_near_differences_have_a_linear_axis(ax):
    plot_forest(ax, [effect(mean=0.02)], margin=0.005, metric=LOSS)
    assert ax.get_xscale() == "linear"
    assert ax.get_xlim()[0] < -0.005


def test_too_few_runs_are_a_range(make_results, ax):
    verdicts = make_results(seeds=3).verdicts()[:1]
    (row,) = effects_of(verdicts, {"SGD momentum": "#000000"}, {})
    assert row.interval is None
    plot_forest(ax, [row], margin=0.005, metric=ACCURACY)
    assert [text.get_text() for text in ax.texts] == ["range"]
    np.testing.assert_allclose(ax.lines[1].get_xdata(), 100 * np.array(verdicts[0].spread))


def test_a_rank_is_not_drawn_to_scale(make_results, ax):
    (verdict, *_) = make_results().verdicts()
    question = dataclasses.replace(
        verdict.question, metric=LOSS, values=(1e6, *verdict.question.values[1:])
    )
    (row,) = effects_of(
        [dataclasses.replace(verdict, question=question)], {"SGD momentum": "#000000"}, {}
    )
    plot_forest(ax, [row, effect("b")], margin=0.005, metric=LOSS)
    assert ax.texts[0].get_text() == "a run diverged: no scale"
    assert ax.get_xlim()[1] < 1


def test_the_picture():
    rows = [effect("$a"), effect("b", control=True)]
    picture = forest_picture(rows, margin=0.005, metric=LOSS, name="x", title="Effects on x")
    assert 'aria-label="Effects on x"' in picture.svgs[0]
    assert ">$a<" in picture.svgs[0]
