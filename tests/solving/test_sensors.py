"""Files of sensors and sensors drawn at random: what is read, and what is refused."""

import numpy as np
import pytest
import torch

from heatgrad.core.errors import DataError
from heatgrad.pde import Grid
from heatgrad.solving.sensors import MOST_SENSORS, draw_sensors, read_sensors

GOOD = "x,y,value,field,noise\n0.25,0.5,1.5,u,0.1\n\n# a remark\n1,0,-2e-3,a,\n"


@pytest.fixture
def file(tmp_path):
    """Return the function `text -> path`."""

    def write(text):
        path = tmp_path / "sensors.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_is_read_as_it_stands(file):
    """Values by hand; empty lines and remarks are left out, an empty noise is not known."""
    found = read_sensors(file(GOOD), ("a", "u"))
    assert found.field == ("u", "a")
    assert found.points.tolist() == [[0.25, 0.5], [1.0, 0.0]]
    assert found.value.tolist() == [1.5, -0.002]
    assert found.noise[0] == 0.1
    assert np.isnan(found.noise[1])


def test_columns_come_in_any_order_and_spreadsheets_mark_their_files(file):
    """A byte-order mark, capitals and spaces change nothing."""
    found = read_sensors(file("\ufeffField, Value ,y,x\nu, 3 ,0.5,0.25\n"), ("u",))
    assert found.points.tolist() == [[0.25, 0.5]]
    assert found.value.tolist() == [3.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first line must be x,y,value,field"),
        ("x,y,value,field\n", "no line of values"),
        ("x,y,value\n1,1,1\n", "has no field"),
        ("x;y;value;field\n1;1;1;u\n", "separated by commas"),
        ("x,y,value,field,nois\n1,1,1,u,1\n", "unknown column 'nois'; did you mean 'noise'"),
        ("x,x,y,value,field\n1,1,1,1,u\n", "column 'x' twice"),
        (
            "x,y,value,field\n0.5,0.5,1,u\n0.5,1.5,1,u\n",
            "line 3: the sensor at (0.5, 1.5) lies outside",
        ),
        ("x,y,value,field\n-0.1,0.5,1,u\n", "line 2: the sensor at (-0.1, 0.5) lies outside"),
        ("x,y,value,field\n0.5,0.5,one,u\n", "line 2: value must be a number, got 'one'"),
        ("x,y,value,field\n0.5,0.5,,u\n", "line 2: value must be a number, got ''"),
        ("x,y,value,field\n0.5,0.5,nan,u\n", "line 2: value must be finite"),
        ("x,y,value,field\n0.5,inf,1,u\n", "line 2: y must be finite"),
        ("x,y,value,field\n0.5,0.5,1,v\n", "line 2: unknown field 'v'"),
        ("x,y,value,field\n0.5,0.5,1\n", "line 2 must have 4 cells as the header, got 3"),
        ("x,y,value,field,noise\n0.5,0.5,1,u,-1\n", "line 2: noise is a standard deviation"),
    ],
)
def test_bad_files_are_refused_by_line(file, text, message):
    """Each error names the line and what is wrong with it, in one line."""
    with pytest.raises(DataError) as refused:
        read_sensors(file(text), ("a", "u"))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_are_none(tmp_path):
    """A path that is not there, a folder, and bytes that are no text."""
    with pytest.raises(DataError, match="no file of sensors"):
        read_sensors(tmp_path / "none.csv", ("u",))
    with pytest.raises(DataError, match="cannot read"):
        read_sensors(tmp_path, ("u",))
    binary = tmp_path / "b.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="UTF-8"):
        read_sensors(binary, ("u",))


def test_more_than_can_be_held_is_refused(file):
    """One line more than the matrix of the observations may have."""
    lines = "\n".join(["0.5,0.5,1,u"] * (MOST_SENSORS + 1))
    with pytest.raises(DataError, match=f"at most {MOST_SENSORS} observations"):
        read_sensors(file(f"x,y,value,field\n{lines}\n"), ("u",))


def test_drawn_sensors_are_points_of_the_grid_without_repetition():
    """All points, when as many are asked for as there are; each field has its own."""
    grid = Grid(5, "nodes")
    found = draw_sensors(grid, {"u": 25, "a": 3}, torch.Generator().manual_seed(0))
    assert len(found) == 28
    everywhere = {tuple(p) for p in grid.points().reshape(-1, 2).tolist()}
    assert {tuple(p) for p in found.points[found.of("u")].tolist()} == everywhere
    assert len(found.of("a")) == 3
    with pytest.raises(DataError, match="25 points on its grid, got 26"):
        draw_sensors(grid, {"u": 26}, torch.Generator())
