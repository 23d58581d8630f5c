"""Phase maps: which verdict stands at which pair of dials."""

from heatgrad.study.maps import phase_maps


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


def test_one_dial_or_three_make_no_map(spec, make_results):
    """And a dial of one value is none."""
    for dials in ({"turns": [1.0, 2.0]}, {"turns": [1.0, 2.0], "sigma": [0.4]}):
        values = sweep_of(spec, **dials)
        task = next(iter(make_results(values, {}).study.tasks))
        results = make_results(
            values, {(task, arm): [0.5] * 8 for arm in ("SGD", "diffusion", "placebo")}
        )
        assert results.verdicts()
        assert phase_maps(results.study, results.verdicts()) == []
