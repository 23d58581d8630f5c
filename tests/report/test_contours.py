"""Surfaces: levels, holes, trajectories, and heights for the view that can be turned."""

import json

import numpy as np
import pytest

from heatgrad.report.contours import contour_picture, plot_surface, relief_of
from heatgrad.report.style import figure

AT = np.linspace(-1, 1, 21)
BOWL = AT[:, None] ** 2 + 4 * AT[None, :] ** 2


def test_contours_are_level_lines():
    """Of a bowl with known axes each line is an ellipse: its loss is the same at every vertex."""
    with figure(3, 3) as fig:
        ax = plot_surface(fig.subplots(), AT, AT, BOWL, levels=[0.25, 1.0, 2.0])
        lines = ax.collections[1]
        assert list(lines.levels) == [0.25, 1.0, 2.0]
        path = lines.get_paths()[1]
        x, y = path.vertices[:, 0], path.vertices[:, 1]
        np.testing.assert_allclose(y**2 + 4 * x**2, 1.0, atol=0.02)


def test_contours_of_rosenbrock_bend():
    """The lowest line follows the valley y = x^2."""
    x, y = np.linspace(-1.5, 1.5, 121), np.linspace(-0.5, 2, 101)
    z = (1 - x[None, :]) ** 2 + 100 * (y[:, None] - x[None, :] ** 2) ** 2
    with figure(3, 3) as fig:
        ax = plot_surface(fig.subplots(), x, y, z, levels=[2.0, 50.0])
        vertices = ax.collections[1].get_paths()[0].vertices
    inside = np.abs(vertices[:, 0]) < 1
    assert np.abs(vertices[inside, 1] - vertices[inside, 0] ** 2).max() < 0.25


def test_holes_are_hatched_and_counted_nowhere_as_low():
    holed = BOWL.copy()
    holed[:3, :3] = np.nan
    found = contour_picture({"net": (AT, AT, holed)}, name="c", caption="Seen.")
    whole = contour_picture({"net": (AT, AT, BOWL)}, name="c", caption="Seen.")
    assert "pattern" in found.svgs[0]
    assert "pattern" not in whole.svgs[0]
    heights = json.loads(relief_of("net", holed).data)["heights"]
    assert heights.count(None) == 9
    with pytest.raises(ValueError, match="a place where the loss is finite"):
        relief_of("net", np.full((3, 3), np.nan))


def test_heights_are_ordered_as_losses():
    relief = json.loads(relief_of("net", BOWL).data)
    heights = np.array(relief["heights"]).reshape(-1, relief["columns"])
    assert heights.min() == 0
    assert heights.max() == 1
    order = np.argsort(BOWL.ravel(), kind="stable")
    assert np.all(np.diff(heights.ravel()[order]) >= 0)


def test_a_flat_surface_is_said_to_be_flat():
    flat = np.full((5, 5), 0.3)
    at = AT[:5]
    assert "flat" in contour_picture({"n": (at, at, flat)}, name="c", caption="").caption
    assert set(json.loads(relief_of("n", flat).data)["heights"]) == {0.0}


def test_panels_share_their_levels():
    found = contour_picture(
        {"low": (AT, AT, BOWL), "high": (AT, AT, 10 * BOWL)},
        name="c",
        caption="",
        trajectories={"low": [[0.5, 0.5], [0, 0]]},
    )
    assert len(found.svgs) == 2
    assert "from 0 to 50" in found.caption
