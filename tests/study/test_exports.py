"""Exports, read back by the programs that they are for."""

import importlib.util
import json

import pandas
import pytest

from heatgrad.core.errors import SpecError, StoreError
from heatgrad.study import StudySpec
from heatgrad.study.exports import EXPORTS
from heatgrad.study.trial import CURVES

FINALS = {("../a/b", "SGD"): [0.5, 0.625], ("../a/b", "diffusion"): [0.75, None]}


@pytest.fixture
def results(spec, make_results):
    """Return four records of a task with an awkward name; one run diverged."""
    return make_results(spec(tasks={"../a/b": spec()["tasks"]["spiral"]}), FINALS)


@pytest.mark.parametrize("kind", [kind for kind in EXPORTS if kind != "csv"])
def test_without_the_extra_one_line_says_what_to_install(kind, results, tmp_path, monkeypatch):
    """Nothing is written."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = rf'^format \'{kind}\' needs .*; install with: pip install "heatgrad\[{kind}\]"$'
    with pytest.raises(SpecError, match=message):
        EXPORTS[kind].write(results, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", EXPORTS)
def test_nothing_is_overwritten(kind, results, tmp_path):
    """A file that is there stays as it is."""
    pytest.importorskip({"parquet": "pyarrow"}.get(kind, kind))
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileExistsError):
        EXPORTS[kind].write(results, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_parquet_holds_what_the_csv_holds(results, tmp_path):
    """Read by pandas: equal values, typed; the spec comes back from the metadata."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    assert EXPORTS["parquet"].write(results, path) == results.export_csv(tmp_path / "t.csv") == 4
    table = pandas.read_parquet(path)
    expected = pandas.read_csv(tmp_path / "t.csv")
    pandas.testing.assert_frame_equal(table, expected, check_dtype=False)
    assert table.test_accuracy.isna().sum() == 1
    about = json.loads(parquet.read_metadata(path).metadata[b"heatgrad.study"])
    assert StudySpec.from_dict(about) == results.study


def test_tensorboard_shows_the_curves(results, tmp_path):
    """Read by TensorBoard's own reader; what was not finite is left out; names stay inside."""
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    folder = tmp_path / "events"
    assert EXPORTS["tensorboard"].write(results, folder) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["events"]
    for record in results.records:
        place = folder / "..%2Fa%2Fb" / record.arm / f"block-{record.block}"
        events = event_accumulator.EventAccumulator(str(place)).Reload()
        lost = {"test_accuracy"} if record.status == "diverged" else set()
        assert set(events.Tags()["scalars"]) == set(CURVES) - lost
        for name in set(CURVES) - lost:
            (point,) = events.Scalars(name)
            assert (point.step, point.value) == (1, pytest.approx(record.curves[name][0]))
        halfway = pandas.Timestamp(record.stored_at).timestamp() - 0.5  # of one second
        assert events.Scalars("lr")[0].wall_time == pytest.approx(halfway, abs=1e-3)


def test_mlflow_shows_runs_of_one_experiment(results, tmp_path):
    """Read by MLflow's client: tags, parameters, metrics by epoch, and the state of each run."""
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    path = tmp_path / "runs.db"
    assert EXPORTS["mlflow"].write(results, path) == 4
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}")
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id])
    found = {(run.data.tags["arm"], int(run.data.tags["block"])): run for run in runs}
    for record in results.records:
        run = found.pop((record.arm, record.block))
        assert run.info.status == ("FINISHED" if record.status == "finished" else "FAILED")
        kept = {name: values[0] for name, values in record.curves.items() if values[0] is not None}
        assert run.data.metrics == pytest.approx(kept)
        assert run.data.params["optimizer.options.lr"] == str(0.1)
        assert [point.step for point in client.get_metric_history(run.info.run_id, "lr")] == [1]
    assert found == {}
    with pytest.raises(StoreError, match="has an experiment 'small' already"):
        EXPORTS["mlflow"].write(results, f"sqlite:///{path}")
