"""How much is data set, dial, optimizer, seed; and the areas over noise rates."""

import numpy as np
import pytest

from heatgrad.study.areas import noise_areas
from heatgrad.study.parts import parts_of
from heatgrad.study.statistics import split_by_dials

RATES, TURNS, ARMS = (0.0, 0.1, 0.4), (1.0, 2.0), ("SGD", "diffusion")


@pytest.fixture
def grid(spec, make_results):
    """Return a sweep made by hand, and its values by turns, rate, arm and block."""
    rng = np.random.default_rng(0)
    values = 0.7 + 0.01 * rng.normal(size=(2, 3, 2, 8))
    values += 0.1 * np.arange(2)[:, None, None, None] - 0.1 * np.array(RATES)[:, None, None]
    spiral = {k: v for k, v in spec()["tasks"]["spiral"].items() if k != "turns"}
    sweep = {"turns": list(TURNS), "label_noise": list(RATES)}
    study = spec(seeds=8, confirmatory=[], tasks={"s": spiral | {"sweep": sweep}})
    finals = {
        (f"s, turns {turn:g}, noise {rate:g}", arm): list(values[t, r, a])
        for t, turn in enumerate(TURNS)
        for r, rate in enumerate(RATES)
        for a, arm in enumerate(ARMS)
    } | {
        (f"s, turns {turn:g}, noise {rate:g}", "placebo"): [0.5] * 8
        for turn in TURNS
        for rate in RATES
    }
    return make_results(study, finals, ceiling={"test_accuracy": 0.9}), values


def test_a_sweep_is_divided_by_its_dials(grid):
    """The values of the plan, in its order; the control is no optimizer of the question."""
    results, values = grid
    (found,) = parts_of(results)
    assert (found.title, found.arms, found.num_blocks) == ("s", ARMS, 8)
    cells = [{"turns": t, "label_noise": r} for t in TURNS for r in RATES]
    expected = split_by_dials(values.reshape(6, 2, 8), cells)
    assert found.shares["turns"] == expected.dials["turns"]
    assert found.shares["optimizer"] == expected.optimizer
    assert sum(share.share for share in found.shares.values()) == pytest.approx(1.0)
    assert max(found.shares, key=lambda name: found.shares[name].share) == "turns"


def test_an_arm_that_repeats_another_is_no_further_optimizer(grid, spec, make_results):
    """With an A/A control among the arms the parts are the same."""
    results, _ = grid
    study = results.study.model_dump(mode="json")
    study["arms"] = {"SGD": study["arms"]["SGD"], "again": study["arms"]["SGD"], **study["arms"]}
    finals = {
        (r.task, r.arm): list(results.values(r.task, r.arm).values()) for r in results.records
    }
    finals |= {(task, "again"): v for (task, arm), v in finals.items() if arm == "SGD"}
    (found,) = parts_of(make_results(study, finals, ceiling={"test_accuracy": 0.9}))
    assert found.arms == ARMS
    assert found.shares == parts_of(results)[0].shares


def test_tasks_without_dials_are_data_sets(spec, make_results):
    """Two tasks whose values differ by far more than the arms or the seeds do."""
    spiral = spec()["tasks"]["spiral"]
    study = spec(seeds=8, confirmatory=[], tasks={"a": spiral, "b": spiral})
    rng = np.random.default_rng(1)
    finals = {
        (task, arm): list(level + 0.01 * rng.normal(size=8))
        for task, level in (("a", 0.6), ("b", 0.9))
        for arm in (*ARMS, "placebo")
    }
    (found,) = parts_of(make_results(study, finals))
    assert found.title == "all tasks"
    assert set(found.shares) == {"data set", "optimizer", "optimizer by data set", "seed", "rest"}
    assert found.shares["data set"].share > 0.95


def test_areas_are_taken_block_by_block(grid):
    """By hand: trapezoids over uneven rates, for each number of turns; the ceiling is flat."""
    results, values = grid
    found = {(area.sweep, area.arm): area for area in noise_areas(results)}
    assert set(found) == {(f"s, turns {t:g}", arm) for t in TURNS for arm in (*ARMS, "placebo")}
    for t, turn in enumerate(TURNS):
        y = values[t]
        areas = (0.1 * (y[0] + y[1]) / 2 + 0.3 * (y[1] + y[2]) / 2) / 0.4
        for a, arm in enumerate(ARMS):
            mine = found[f"s, turns {turn:g}", arm]
            np.testing.assert_allclose(mine.areas, areas[a], rtol=1e-12)
            assert mine.ceiling == pytest.approx(0.9)
        gain = found[f"s, turns {turn:g}", "diffusion"].comparison
        assert gain.mean == pytest.approx((areas[1] - areas[0]).mean())
        assert found[f"s, turns {turn:g}", "SGD"].comparison is None


def test_nothing_to_divide(spec, make_results):
    """One block of one task: no parts, no area."""
    study = spec(seeds=1, confirmatory=[])
    results = make_results(study, {("spiral", arm): [0.5] for arm in (*ARMS, "placebo")})
    assert parts_of(results) == noise_areas(results) == []
