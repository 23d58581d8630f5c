"""Phase maps: which verdict stands at which pair of dials."""

import numpy as np
import pytest

from heatgrad.study import StudySpec
from heatgrad.study.maps import boundary_of, phase_maps


def sweep_of(spec, **dials):
    spiral = {k: v for k, v in spec()["tasks"]["spiral"].items() if k not in dials}
    return spec(seeds=8, tasks={"s": spiral | {"sweep": dials}}, confirmatory=[])


def test_each_cell_holds_the_verdict_of_its_task(spec, make_results):
    """Made by hand: diffusion gains in the cells of many turns and no noise only."""
    values = sweep_of(spec, turns=[1.0, 2.0], label_noise=[0.0, 0.2, 0.4])
    finals = {}
    for turns in (1.0, 2.0):
        for noise in (0.0, 0.2, 0.4):
            task = f"s, turns {turns:g}, noise {noise:g}"
            gain = 0.1 if turns == 2.0 and noise == 0.0 else 0.0
            base = [0.6 + 0.01 * (b % 3) for b in range(8)]
            finals[task, "SGD"] = base
            finals[task, "diffusion"] = [v + gain for v in base]
            finals[task, "placebo"] = base
    results = make_results(values, finals)
    maps = {found.arm: found for found in phase_maps(results.study, results.verdicts())}
    assert set(maps) == {"diffusion", "placebo"}
    assert maps["diffusion"].dials == ("turns", "label_noise")
    words = {place: verdict.word for place, verdict in maps["diffusion"].cells.items()}
    assert words == {
        (turns, noise): "HELPS" if (turns, noise) == (2.0, 0.0) else "EQUIVALENT"
        for turns in (1.0, 2.0)
        for noise in (0.0, 0.2, 0.4)
    }
    for (turns, noise), verdict in maps["diffusion"].cells.items():
        assert verdict.question.task == f"s, turns {turns:g}, noise {noise:g}"


def test_one_dial_makes_no_map(spec, make_results):
    """And a dial of one value is none."""
    for dials in ({"turns": [1.0, 2.0]}, {"turns": [1.0, 2.0], "sigma": [0.4]}):
        values = sweep_of(spec, **dials)
        task = next(iter(make_results(values, {}).study.tasks))
        results = make_results(
            values, {(task, arm): [0.5] * 8 for arm in ("SGD", "diffusion", "placebo")}
        )
        assert results.verdicts()
        assert phase_maps(results.study, results.verdicts()) == []


def test_other_dials_have_a_map_for_each_setting(spec, make_results):
    """The first two are the axes; a verdict stands in the map of its third."""
    values = sweep_of(spec, turns=[1.0, 2.0], sigma=[0.2, 0.3], label_noise=[0.0, 0.2])
    tasks = list(StudySpec.from_dict(values).tasks)
    base = [0.5 + 0.01 * (b % 3) for b in range(8)]
    arms = ("SGD", "diffusion", "placebo")
    results = make_results(values, {(task, arm): base for task in tasks for arm in arms})
    maps = [m for m in phase_maps(results.study, results.verdicts()) if m.arm == "diffusion"]
    assert [found.at for found in maps] == [{"label_noise": 0.0}, {"label_noise": 0.2}]
    for found in maps:
        assert found.dials == ("turns", "sigma")
        assert len(found.cells) == 4
        for (turns, sigma), verdict in found.cells.items():
            dials = results.study.tasks[verdict.question.task].dials
            assert dials == {"turns": turns, "sigma": sigma, **found.at}


def test_the_boundary_is_that_of_gains_beyond_the_margin(spec, make_results):
    """By hand: gains from the third of five turns on; odds are even between the two."""
    turns, noises = [0.5, 1.0, 1.5, 3.0, 4.0], [0.0, 0.2]
    values = sweep_of(spec, turns=turns, label_noise=noises)
    finals = {}
    for task, entry in StudySpec.from_dict(values).tasks.items():
        gain = 0.05 if entry.dials["turns"] > 1.2 else 0.005  # the margin is 0.01
        base = [0.6 + 0.01 * (b % 3) for b in range(8)]
        finals[task, "SGD"] = finals[task, "placebo"] = base
        finals[task, "diffusion"] = [v + gain for v in base]
    results = make_results(values, finals)
    maps = {found.arm: found for found in phase_maps(results.study, results.verdicts())}
    fit = boundary_of(maps["diffusion"])
    at_noise_0 = fit.probability(np.array([[1.0, 0.0], [1.5, 0.0], [2.0, 0.0]]))
    assert at_noise_0[0] < 0.1 < 0.9 < at_noise_0[2]
    assert at_noise_0[1] == pytest.approx(0.5, abs=0.15)
    assert fit.prediction.is_better
    assert (boundary_of(maps["placebo"]).probability(np.array([[4.0, 1.0]])) < 0.1).all()
    few = sweep_of(spec, turns=[1.0, 2.0], label_noise=noises)
    tasks = StudySpec.from_dict(few).tasks
    arms = ("SGD", "diffusion", "placebo")
    results = make_results(few, {(task, arm): [0.5] * 8 for task in tasks for arm in arms})
    assert boundary_of(phase_maps(results.study, results.verdicts())[0]) is None
