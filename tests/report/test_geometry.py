"""The landscape on the page: tables, pictures and surfaces of what was measured."""

import json
from dataclasses import replace

import pytest

from heatgrad.report import write_report
from heatgrad.report.geometry import geometry_blocks


@pytest.fixture
def blocks(measured_results):
    return {block.title: block for block in geometry_blocks(measured_results)}


def test_a_block_for_each_measurement(blocks):
    assert list(blocks) == ["sharpness", "spectrum", "path", "surface"]


def test_rows_are_means_and_paired_differences(blocks, measured_results):
    rows = {row.arm: row for row in blocks["sharpness"].rows}
    values = measured_results.geometry.values("sharpness", "spiral", "Adam")
    assert rows["Adam"].value.key == pytest.approx(sum(values.values()) / 8)
    assert rows["Adam"].difference.key == pytest.approx(-0.02, abs=2e-4)
    assert rows["Adam"].word == "HURTS"
    assert rows["Adam"].role == "exploratory"
    assert rows["SGD"].word == "baseline"
    assert "0.0010 do not matter" in blocks["sharpness"].text


def test_the_text_says_how_defaults_and_statistics_included(blocks):
    """A Hessian is taken at the statistics that the network has."""
    assert "scale element, noise normal, draws 20" in blocks["sharpness"].text
    assert "batch statistics estimated anew" in blocks["sharpness"].text
    assert "at the network's own batch statistics" in blocks["spectrum"].text
    assert "anew" not in blocks["spectrum"].text


def test_a_diffusing_arm_needs_a_control_here_too(measured_results):
    """Turned round, diffusion would be flatter than SGD: without a control that is no HELPS."""
    found = dict(measured_results.measured)
    for key, one in found.items():
        if one.name == "sharpness":
            found[key] = replace(one, value={**one.value, "value": 0.1 - one.value["value"]})
    verdicts = replace(measured_results, measured=found).geometry.verdicts("sharpness")
    said = {v.question.arm: v for v in verdicts}
    assert said["Adam"].word == "HELPS"
    assert said["diffusion 0.1"].word == "INCONCLUSIVE"
    assert "no control" in said["diffusion 0.1"].sentence


def test_surfaces_keep_their_holes(blocks):
    surface = blocks["surface"]
    assert surface.rows == []
    assert surface.forest is None
    assert len(surface.reliefs) == 3
    assert json.loads(surface.reliefs[0].data)["heights"].count(None) == 4
    assert "not finite, at so many places: SGD 4, Adam 4" in surface.pictures[0].caption


def test_what_is_not_measured_yet_is_left_out(measured_results):
    few = {k: m for k, m in measured_results.measured.items() if m.name == "path"}
    found = geometry_blocks(replace(measured_results, measured=few))
    assert [block.title for block in found] == ["path"]
    assert geometry_blocks(replace(measured_results, measured={})) == []


def test_the_page_has_the_script_only_with_surfaces(measured_results, tmp_path, landscape_path):
    assert "canvas.relief" in landscape_path.read_text().partition("<script>")[2]
    none = {k: m for k, m in measured_results.measured.items() if m.name != "surface"}
    write_report(replace(measured_results, measured=none), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "The loss landscape" in text
    assert "canvas.relief" not in text.partition("<script>")[2]
