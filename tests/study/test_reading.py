"""Tables of runs, read: one value for each arm and seed, or a line that says why not."""

import math
import warnings

import pandas
import pytest

from heatgrad.core.errors import DataError, HeatgradWarning
from heatgrad.study import read_runs


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_reading_a_table(tmp_path):
    """Columns in any order and more of them, block for seed, a BOM, spaces, inf and nan."""
    path = write(
        tmp_path / "runs.csv",
        "\ufeffblock, note, acc, arm",
        "0, x, 0.5, a",
        "1, , nan, a",
        "0,,inf,b",
    )
    runs = read_runs(path, "acc")
    assert runs["a"]["0"] == 0.5
    assert math.isnan(runs["a"]["1"])
    assert runs["b"] == {"0": math.inf}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has no column 'arm'"),
        (["arm,seed,acc"], "holds no runs"),
        ([""], "has no column 'arm'"),
        (["arm,sed,acc", "a,0,1"], "has no column 'seed' (or 'block'); did you mean 'sed'?"),
        (["arm,seed,accuracy", "a,0,1"], "has no column 'acc'; did you mean 'accuracy'?"),
        (["arm,seed,acc", "a,0,1", "a,0,2"], "line 3: seed 0 of arm 'a' stands there twice"),
        (
            ["arm,seed,epoch,acc", "a,0,1,1", "a,0,1,2"],
            "line 3: seed 0 of arm 'a' stands there twi",
        ),
        (["arm,seed,epoch,acc", "a,0,1.5,1"], "line 2: epoch must be a whole number, got '1.5'"),
        (["arm,seed,epoch,acc", "a,0,,1"], "line 2: epoch must be a whole number, got ''"),
        (["arm,seed,epoch,acc", "a,0,1,"], "arm 'a', seed 0 has no value of 'acc'; nan is for"),
        (["arm,seed,acc", "a,0,good"], "line 2: acc must be a number, got 'good'"),
        (["arm,seed,acc", "a,0"], "line 2: acc must be a number, got ''"),
        (["arm,seed,acc", ",0,1"], "line 2: arm and seed must be given, got '' and '0'"),
    ],
)
def test_tables_that_cannot_be_read(lines, message, tmp_path):
    """The file, the line and the column."""
    path = write(tmp_path / "runs.csv", *lines)
    with pytest.raises(DataError) as error:
        read_runs(path, "acc")
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_not_there_or_not_text(tmp_path):
    """One line with the path."""
    with pytest.raises(DataError, match=r"cannot read '.*none.csv': No such file"):
        read_runs(tmp_path / "none.csv", "acc")
    (tmp_path / "bytes.csv").write_bytes(b"arm,seed,acc\n\xff\xfe,0,1\n")
    with pytest.raises(DataError, match="as CSV"):
        read_runs(tmp_path / "bytes.csv", "acc")


CURVES = [
    "arm,seed,epoch,acc",
    *("a,0,1,0.5", "b,0,2,0.75", "a,0,2,0.625"),
    *("a,0,3,", "b,0,1,0.25"),  # not measured in every epoch, and in any order
]


def test_of_each_run_the_last_value_or_one_epoch_is_taken(tmp_path):
    """Checked against pandas' grouping of the same table."""
    path = write(tmp_path / "runs.csv", *CURVES)
    frame = pandas.read_csv(path).dropna().sort_values("epoch")
    last = frame.groupby(["arm", "seed"]).acc.last()
    assert read_runs(path, "acc") == {a: {str(s): v} for (a, s), v in last.items()}
    first = frame[frame.epoch == 1]
    assert read_runs(path, "acc", epoch=1) == {
        r.arm: {str(r.seed): r.acc} for r in first.itertuples()
    }
    with pytest.raises(DataError, match="arm 'a', seed 0 has no value of 'acc' at epoch 3; it has"):
        read_runs(path, "acc", epoch=3)


def test_runs_of_different_lengths_are_told(tmp_path):
    """Once, with both ends; not where one epoch was asked for, nor of arms that do not matter."""
    path = write(tmp_path / "runs.csv", *CURVES, "c,7,9,0.5")
    with pytest.warns(
        HeatgradWarning, match=r"from 2 \(arm 'a', seed 0\) to 9 \(arm 'c', seed 7\)"
    ):
        assert read_runs(path, "acc")["c"] == {"7": 0.5}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_runs(path, "acc", arms=["a", "b"])
        path = write(tmp_path / "same.csv", *CURVES, "c,7,1,inf")
        assert read_runs(path, "acc")["c"] == {"7": math.inf}


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_status_says_that_a_run_broke(status, tmp_path):
    """From then on; an epoch before it counts as it is. Other words mean nothing."""
    lines = ["arm,status,seed,epoch,acc", "a,,0,1,0.5", f"a,{status},0,2,0.625", "b,ok,0,2,0.5"]
    path = write(tmp_path / "runs.csv", *lines)
    assert math.isnan(read_runs(path, "acc")["a"]["0"])
    assert read_runs(path, "acc", epoch=1, arms=["a"])["a"] == {"0": 0.5}
    assert read_runs(path, "acc")["b"] == {"0": 0.5}


def test_the_export_of_a_study_can_be_read(spec, make_results, tmp_path):
    """Its own records give the same finals; a diverged run is not finite."""
    results = make_results(
        spec(), {("spiral", "SGD"): [0.5, 0.75], ("spiral", "diffusion"): [0.25, None]}
    )
    results.export_csv(tmp_path / "t.csv")
    runs = read_runs(tmp_path / "t.csv", "test_accuracy")
    assert list(runs["SGD"].values()) == [0.5, 0.75]
    kept, lost = runs["diffusion"].values()
    assert kept == 0.25
    assert math.isnan(lost)


def test_a_row_that_is_longer_than_the_header(tmp_path):
    """As where numbers are written with a decimal comma: refused, not cut."""
    path = tmp_path / "runs.csv"
    path.write_text("arm,seed,x\na,0,1,05\n")
    with pytest.raises(DataError, match=r"line 2 must have as many cells as the header, 3, got 4"):
        read_runs(path, metric="x")
    path.write_text("arm,seed,x\n" + "".join(f"a,{seed},1,\n" for seed in range(3)))
    assert read_runs(path, metric="x") == {"a": {"0": 1.0, "1": 1.0, "2": 1.0}}


def test_a_table_of_several_tasks_says_so(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("regime,task,arm,seed,epoch,x\np,t,a,0,1,0.5\np,u,a,0,1,0.5\n")
    with pytest.raises(DataError, match="keep one line per run and epoch, of one task and regime"):
        read_runs(path, metric="x")
