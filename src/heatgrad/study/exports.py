"""Exports of a study's curves to what other programs read."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from heatgrad.core.errors import SpecError, StoreError
from heatgrad.core.spec import canonical_json, shown
from heatgrad.study.question import AS_PUBLISHED
from heatgrad.study.results import COLUMNS, Results, regime_of
from heatgrad.study.store import Record
from heatgrad.study.trial import CURVES

__all__ = ["EXPORTS", "Export", "export_mlflow", "export_parquet", "export_tensorboard"]


@dataclass(frozen=True)
class Export:
    """A format that a study can be written in.

    Attributes:
        write: The function `(results, place) -> count` that writes it.
        place: Name of the file or folder it makes in the study's folder where none is given.
        counted: What `count` counts.
    """

    write: Callable[[Results, str | Path], int]
    place: str
    counted: str


def export_parquet(results: Results, path: str | Path) -> int:
    """Write one row per trial and epoch as Parquet; return the number of rows.

    The columns are those of `Results.export_csv`, typed, with nulls where a value was not finite;
    the study's spec is in the file's metadata, under `heatgrad.study`, as JSON.

    Args:
        results: What is written.
        path: The file to write; it must not exist.

    Raises:
        SpecError: If pyarrow is not installed.
        FileExistsError: If the file is there already.
    """
    _require("parquet", "pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    whole = {"block": pa.int32(), "seed": pa.int64(), "epoch": pa.int32()}
    kinds = dict.fromkeys(COLUMNS, pa.string()) | dict.fromkeys(CURVES, pa.float64()) | whole
    fields = list(kinds.items())
    about = {"heatgrad.study": canonical_json(results.study.model_dump(mode="json"))}
    rows = list(results.by_epoch())
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields, metadata=about))
    with open(path, "xb") as file:
        parquet.write_table(table, file)
    return len(rows)


def export_tensorboard(results: Results, path: str | Path) -> int:
    """Write one TensorBoard run per trial, its curves by epoch; return the number of runs.

    The runs lie in folders `task/arm/block-N` (`task/arm/each tuned/block-N` for that regime); a
    value that was not finite is left out. Times are those of the training.

    Args:
        results: What is written.
        path: The folder to write; it must not exist.

    Raises:
        SpecError: If tensorboard is not installed.
        FileExistsError: If the folder is there already.
    """
    _require("tensorboard", "tensorboard")
    from torch.utils.tensorboard.writer import SummaryWriter

    folder = Path(path)
    folder.mkdir()
    for record in results.records:
        place = folder / _file_name(record.task) / _file_name(record.arm)
        if regime_of(record) != AS_PUBLISHED:
            place /= regime_of(record)
        place /= f"block-{record.block}"
        with SummaryWriter(str(place)) as writer:
            for name, value, epoch, time in _points(record):
                writer.add_scalar(name, value, epoch, walltime=time)
            about = {"status": record.status, "spec": canonical_json(record.spec)}
            for name, text in about.items():
                writer.add_text(name, text, 0)
    return len(results.records)


def export_mlflow(results: Results, place: str | Path) -> int:
    """Write one MLflow run per trial, in an experiment of the study's name; return the number.

    Arm, task, block and status are tags, the resolved spec is the parameters, the curves are
    metrics by epoch; a value that was not finite is left out. A run that diverged is `FAILED`.

    Args:
        results: What is written.
        place: A new SQLite file, for `mlflow ui --backend-store-uri sqlite:///FILE`, or the
            address of a tracking server or database, such as `http://localhost:5000`.

    Raises:
        SpecError: If mlflow or alembic is not installed.
        FileExistsError: If the file is there already.
        StoreError: If the experiment is there already, or the server refuses.
    """
    _require("mlflow", "mlflow", "alembic")
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    address = str(place)
    if "://" not in address:
        Path(place).touch(exist_ok=False)
        address = f"sqlite:///{Path(place).resolve()}"
    try:
        client = MlflowClient(tracking_uri=address)
        name = results.study.name
        if client.get_experiment_by_name(name) is not None:
            raise StoreError(f"'{address}' has an experiment '{name}' already; give another --out")
        experiment = client.create_experiment(name)
        for record in results.records:
            points = list(_points(record))
            end = int(1000 * datetime.fromisoformat(record.stored_at).timestamp())
            run = client.create_run(
                experiment,
                start_time=end - int(1000 * record.seconds),
                run_name=f"{record.task} / {record.arm} / block {record.block}",
                tags={"regime": regime_of(record)}
                | {key: str(getattr(record, key)) for key in ("task", "arm", "block", "status")},
            ).info.run_id
            metrics = [Metric(name, v, int(1000 * time), k) for name, v, k, time in points]
            for first in range(0, max(1, len(metrics)), 900):  # a call takes a thousand
                client.log_batch(run, metrics=metrics[first : first + 900])
            client.log_batch(run, params=[Param(k, v) for k, v in _flat(record.spec)])
            state = "FINISHED" if record.status == "finished" else "FAILED"
            client.set_terminated(run, status=state, end_time=end)
    except MlflowException as error:
        raise StoreError(f"MLflow at '{shown(Path(address))}': {error}") from error
    return len(results.records)


EXPORTS: dict[str, Export] = {
    "csv": Export(Results.export_csv, "trials.csv", "lines"),
    "parquet": Export(export_parquet, "trials.parquet", "rows"),
    "tensorboard": Export(export_tensorboard, "tensorboard", "runs"),
    "mlflow": Export(export_mlflow, "mlflow.db", "runs"),
}


def _require(extra: str, *modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise SpecError(
            f"format '{extra}' needs {' and '.join(missing)}; install with: "
            f'pip install "heatgrad[{extra}]"'
        )


def _points(record: Record) -> Iterator[tuple[str, float, int, float]]:
    """Yield name, value, epoch from 1, and time [s since 1970] of every value that was finite."""
    time = datetime.fromisoformat(record.stored_at).timestamp() - record.seconds
    for epoch, seconds in enumerate(record.curves["seconds"]):
        time += seconds or 0.0
        for name in CURVES:
            value = record.curves[name][epoch] if name in record.curves else None
            if value is not None:
                yield name, value, epoch + 1, time


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested values, named `optimizer.options.lr`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _file_name(name: str) -> str:
    """Return a name as one that a folder can have; different names give different ones."""
    text = quote(name, safe=" ,()=+")
    return text if text.strip(".") else text.replace(".", "%2E")
