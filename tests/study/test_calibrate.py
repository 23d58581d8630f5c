"""Calibration: the bars, and that it would see what is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from heatgrad.core.errors import SpecError
from heatgrad.study import calibrate as module
from heatgrad.study.calibrate import SHAPES, calibrate


@pytest.fixture(scope="module")
def found():
    """Return a calibration of normal and of tied differences, 400 comparisons of ten pairs each."""
    return {c.shape: c for c in calibrate(studies=400, shapes=["normal", "tied"])}


def test_verdicts_are_as_right_as_promised(found):
    """Rates in their exact binomial bands, no false HELPS, coverage, planted effects found."""
    for result in found.values():
        assert result.faults() == []
        assert result.claims == 0.0
        assert 0.92 <= result.coverage <= 0.98
        assert result.bca_coverage < result.t_coverage
        assert result.promised == pytest.approx(0.8, abs=1e-6)
    low, high = stats.binom.interval(0.99, 400, 50 / 1024)
    assert found["normal"].band == (low / 400, high / 400)


def test_the_draws_have_the_spread_they_should():
    """Mean 0 and standard deviation 1 over 200,000 draws; the tails of t3 need the most room."""
    for shape in SHAPES.values():
        noise = shape.draw(np.random.default_rng(0), (20_000, 10))
        assert noise.mean() == pytest.approx(0, abs=0.02)
        assert noise.std() == pytest.approx(1, abs=0.05)


def test_it_repeats_and_shapes_do_not_depend_on_each_other(found):
    """Another set of shapes draws the same numbers; another entropy does not."""
    (again,) = calibrate(studies=400, shapes=["normal"])
    assert again == found["normal"]
    (other,) = calibrate(studies=400, shapes=["normal"], entropy=1)
    assert other != again


def test_it_sees_a_test_that_rejects_too_often(monkeypatch):
    """P values halved, intervals as they were: the rate of p <= .05 leaves its band."""
    real = module.judge

    def hasty(question):
        verdict = real(question)
        return replace(verdict, comparison=replace(verdict.comparison, p=verdict.comparison.p / 2))

    monkeypatch.setattr(module, "judge", hasty)
    (result,) = calibrate(studies=400, shapes=["normal"])
    assert "normal: rate of p <= 0.05" in result.faults()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"rate": 0.09}, "rate of p <= 0.05"),
        ({"rate": 0.0}, "rate of p <= 0.05"),
        ({"claims": 0.1}, "HELPS + HURTS"),
        ({"families": 0.2}, "families with a false difference"),
        ({"coverage": 0.9}, "coverage"),
        ({"found": 0.6}, "power"),
    ],
)
def test_each_fault_is_named(changes, fault, found):
    """One number out of its band at a time; a broken assumption promises nothing."""
    broken = replace(found["normal"], **changes)
    assert broken.faults() == [f"normal: {fault}"]
    assert replace(broken, shape="lopsided").faults() == []
    tied = replace(found["tied"], **changes)
    assert tied.faults() == ([] if changes == {"rate": 0.0} else [f"tied: {fault}"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"studies": 9}, "at least 10 studies of 8 seeds, got 9 of 10"),
        ({"seeds": 7}, "at least 10 studies of 8 seeds, got 2000 of 7"),
        ({"shapes": ["nomal"]}, "unknown shape 'nomal'; did you mean 'normal'?"),
    ],
)
def test_what_cannot_be_calibrated(options, message):
    """One line."""
    with pytest.raises(SpecError) as error:
        calibrate(**options)
    assert message in str(error.value)
