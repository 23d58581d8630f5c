"""Maps, parts and areas on the page."""

from heatgrad.report import write_report
from heatgrad.report.when import is_cell, when

SWEEP = {
    "spiral": {
        "kind": "Spiral",
        "num_samples": 200,
        "num_test": 100,
        "sweep": {"turns": [1.0, 2.0], "label_noise": [0.0, 0.2]},
    }
}


def test_a_map_takes_the_place_of_its_cells(make_results, tmp_path):
    """One panel for each arm; no curves, data or costs of the cells; their numbers are folded."""
    results = make_results(tasks=SWEEP, confirmatory=[])
    assert all(is_cell(results, task) for task in results.study.tasks)
    found = when(results, results.verdicts())
    ((title, picture),) = found.maps
    assert title == "spiral"
    assert len(picture.svgs) == len(results.study.arms) - 1
    write_report(results, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.index("over turns and label noise") < page.index("The numbers of every cell")
    for name in ("curves", "finals", "data", "costs", "effects"):
        assert f'id="{name}"' not in page
        assert f'href="#{name}"' not in page
    assert page.count("<details") == page.count("</details>")


def test_parts_and_areas_are_those_of_the_study(make_results):
    """The dials by name; one area for each arm and number of turns, the baseline's without a p."""
    results = make_results(tasks=SWEEP, confirmatory=[])
    found = when(results, results.verdicts())
    ((_, parts),) = found.parts
    assert all(f">{name}<" in parts.svgs[0] for name in ("turns", "label noise", "optimizer"))
    assert [table.title for table in found.areas] == ["spiral, turns 1", "spiral, turns 2"]
    for table in found.areas:
        assert [row.arm for row in table.rows] == list(results.study.arms)
        assert [row.difference.text == "" for row in table.rows].count(True) == 1


def test_a_study_without_dials_has_none_of_it(make_results):
    results = make_results(tasks={"one": {"kind": "Digits"}})
    found = when(results, results.verdicts())
    assert (found.maps, found.areas) == ([], [])
    assert not is_cell(results, "one")
