import dataclasses
import math

import numpy as np
import pytest

from heatgrad.report.why import change_of_gradient, lead_over, why_on
from heatgrad.study import METRICS, sign_flip_interval

MARGIN = 0.005
WIGGLE = np.linspace(-1, 1, 8)


@pytest.fixture
def question(make_results):
    """Return the function `lead -> question` of an arm that leads its control by so much."""
    known = next(v.question for v in make_results().verdicts() if v.question.controls)

    def make(lead, *, spread=0.001, num_blocks=8, metric="test_accuracy"):
        control = np.full(8, 0.8)[:num_blocks]
        values = control + METRICS[metric].sign * (lead + spread * WIGGLE[:num_blocks])
        return dataclasses.replace(
            known,
            metric=METRICS[metric],
            margin=MARGIN,
            values=tuple(values),
            baseline_values=tuple(control),
            controls={"c": tuple(control)},
        )

    return make


@pytest.mark.parametrize(
    ("lead", "spread", "reading"),
    [
        (0.02, 0.001, "beyond the margin; K is not the whole reason"),
        (0.001, 0.001, "within the margin; K does as well"),
        (-0.004, 0.004, "at most the margin; K does as well"),
        (-0.02, 0.001, "the control is better, by more than the margin"),
        (0.005, 0.004, "not settled by these runs"),
    ],
)
@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss"])
def test_readings(question, lead, spread, reading, metric):
    """The interval is that of the signed differences, a gain positive."""
    mean, interval, found = lead_over(question(lead, spread=spread, metric=metric), "c", "K")
    assert found == reading
    assert mean.key == pytest.approx(lead)
    low, high = sign_flip_interval(lead + spread * WIGGLE)
    assert interval.key == pytest.approx(low, abs=1e-7)
    scale, digits = (100, 2) if metric == "test_accuracy" else (1, 4)
    shown = f"{scale * low:+.{digits}f} to {scale * high:+.{digits}f}".replace("-", "−")
    assert interval.text == shown


def test_few_or_diverged_runs_have_no_reading(question):
    mean, interval, reading = lead_over(question(0.02, num_blocks=5), "c", "K")
    assert (mean.text, mean.key) == ("", None)
    assert "(range)" in interval.text
    assert reading == "fewer than 8 runs, no reading"
    fallen = dataclasses.replace(question(0.02), controls={"c": (0.0,) + (0.8,) * 7})
    assert lead_over(fallen, "c", "K")[2] == "runs diverged and rank worst, no reading"


def test_ratio_and_cosine_are_means_over_epochs_and_medians_over_runs(make_results):
    records = make_results(seeds=3).select("spiral", "diffusion 0.1")
    curves = [[0.8, None, 0.9], [0.5, 0.7, 0.6], [None, None, None]]
    changed = [
        dataclasses.replace(
            r, curves=r.curves | {"diffusion_ratio": curve, "diffusion_cosine": [0.5, 0.5, 0.5]}
        )
        for r, curve in zip(records, curves, strict=True)
    ]
    assert change_of_gradient(changed) == pytest.approx(((0.85 + 0.6) / 2, 0.5))
    assert change_of_gradient(changed[2:]) is None
    old = [dataclasses.replace(r, curves={"diffusion_ratio": [1.0]}) for r in records]
    assert change_of_gradient(old) is None


def test_a_task_in_words(make_results):
    """By hand, the ratio is 0.9 and the cosine 1; a control leads its arm by 1 and 2 points."""
    results = make_results()
    verdicts = [v for v in results.verdicts() if v.question.task == "spiral"]
    found = why_on(results, "spiral", verdicts)
    assert found.sentences == (
        "diffusion 0.1 shortens the gradient to 0.900 of its length and turns it by 0.0°. "
        "The lead of diffusion 0.1 over norm-matched 0.1 is −1.00 points (−1.00 to −1.00): the "
        "control is better, by more than the margin. "
        "The lead of diffusion 0.1 over placebo 0.1 is −2.00 points (−2.00 to −2.00): the control "
        "is better, by more than the margin.",
    )
    rows = {row.arm: row for row in found.rows}
    names = list(rows)
    place = names.index("diffusion 0.1")
    assert names[place + 1 : place + 3] == ["norm-matched 0.1", "placebo 0.1"]
    assert (rows["placebo 0.1"].is_control, rows["diffusion 0.1"].is_control) == (True, False)
    assert rows["placebo 0.1"].lead.key == pytest.approx(-0.02)
    assert rows["diffusion 0.1"].ratio.text == "0.900"


def test_an_angle_is_that_of_the_cosine(make_results):
    results = make_results(seeds=1)
    half = {"diffusion_cosine": [math.cos(math.radians(60))] * 3}
    records = [dataclasses.replace(r, curves=r.curves | half) for r in results.records]
    found = why_on(dataclasses.replace(results, records=tuple(records)), "spiral", [])
    assert {row.angle.text for row in found.rows} == {"60.0°"}
    assert found.sentences[0].endswith("turns it by 60.0°.")


def test_another_regime_shows_differences_only(make_results):
    results = make_results()
    verdicts = [v for v in results.verdicts() if v.question.task == "spiral"]
    found = why_on(results, "spiral", verdicts, regime="each tuned")
    assert {row.ratio.text for row in found.rows} == {""}
    assert [row.arm for row in found.rows] == ["diffusion 0.1", "norm-matched 0.1", "placebo 0.1"]


def test_plain_arms_without_controls_say_nothing(make_results):
    results = make_results(arms={"SGD": {"kind": "SGD"}, "Adam": {"kind": "Adam"}}, seeds=1)
    plain = {"diffusion_ratio": [1.0] * 3, "diffusion_cosine": [1.0] * 3}
    records = [dataclasses.replace(r, curves=r.curves | plain) for r in results.records]
    assert why_on(dataclasses.replace(results, records=tuple(records)), "spiral", []) is None
