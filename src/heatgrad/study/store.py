"""The store of a study: one SQLite file of finished trials, and their final weights beside it."""

import contextlib
import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from safetensors.torch import save_file

from heatgrad.core.errors import HeatgradError, StoreError
from heatgrad.core.spec import shown
from heatgrad.study.spec import StudySpec
from heatgrad.study.trial import Trial, TrialResult

__all__ = ["SCHEMA_VERSION", "Record", "Store"]

SCHEMA_VERSION = 1
STORE_FILE = "store.sqlite"

_metadata = sa.MetaData()
_meta = sa.Table(
    "meta",
    _metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_trials = sa.Table(
    "trials",
    _metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("task", sa.String, nullable=False),
    sa.Column("arm", sa.String, nullable=False),
    sa.Column("block", sa.Integer, nullable=False),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("curves", sa.JSON, nullable=False),
    sa.Column("ceiling", sa.JSON),
    sa.Column("num_parameters", sa.Integer, nullable=False),
    sa.Column("num_train", sa.Integer, nullable=False),
    sa.Column("environment", sa.JSON, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("stored_at", sa.String, nullable=False),
    # Added later: a store without it is read as one in which it is not known.
    sa.Column("chance", sa.JSON),
)


@dataclass(frozen=True)
class Record:
    """A finished trial as it lies in the store.

    Attributes:
        key: Hash of the resolved trial.
        task: Name of the task.
        arm: Name of the arm.
        block: Number of the matched block.
        role: What the block was for.
        status: `"finished"` or `"diverged"`.
        spec: The resolved trial.
        curves: Per-epoch values by name; None where a value was not finite.
        ceiling: Best possible accuracies by metric name, or None.
        num_parameters: Size of the network.
        num_train: Size of the training part.
        environment: Versions, hardware and commit of the run.
        seconds: Wall time of the whole trial, evaluation included [s].
        stored_at: Time of storing, UTC, ISO 8601.
        chance: Accuracies of the best constant answer by metric name, or None if not recorded.
    """

    key: str
    task: str
    arm: str
    block: int
    role: str
    status: str
    spec: dict[str, Any]
    curves: dict[str, list[float | None]]
    ceiling: dict[str, float] | None
    num_parameters: int
    num_train: int
    environment: dict[str, Any]
    seconds: float
    stored_at: str
    chance: dict[str, float] | None = None


class Store:
    """The records of one study in one folder.

    Made by `Store.create` (for writing) or `Store.open` (for reading); many processes may
    write to one store at a time, on a local disk.
    """

    def __init__(self, folder: Path, engine: sa.Engine) -> None:
        self.folder = folder
        self._engine = engine

    @classmethod
    def create(cls, folder: Path, study: StudySpec) -> "Store":
        """Return the store of `study` in `folder`, made if it is not there yet.

        Raises:
            StoreError: If the folder holds another study, foreign files or a store of a newer
                schema, or cannot be written to.
        """
        path = folder / STORE_FILE
        with _explained(folder):
            is_file = folder.exists() and not folder.is_dir()
            if is_file:
                raise StoreError(f"'{folder}' is a file; give a folder with --out")
            _check_writable(folder, path)
        if path.exists():
            # Read first: what is not this study's is left as it is, to the last byte.
            found = cls(folder, _engine(path, read_only=True))
            with _explained(path):
                found._check_is_of(study)
            found._engine.dispose()
        elif folder.exists() and any(folder.iterdir()):
            raise StoreError(
                f"'{folder}' holds files that are not a study's; "
                f"give an empty or new folder with --out"
            )
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        store = cls(folder, _engine(path, read_only=False))
        with _explained(path):
            store._initialise(study)
            store._check_is_of(study)
            store._update_words(study)
            (folder / "weights").mkdir(exist_ok=True)
        for leftover in (folder / "weights").glob("*.part"):
            if not _is_running(leftover.suffixes[-2].removeprefix(".")):
                leftover.unlink(missing_ok=True)
        return store

    @classmethod
    def attach(cls, folder: Path) -> "Store":
        """Return a store, known to be there and checked, for writing (a worker's view)."""
        return cls(folder, _engine(folder / STORE_FILE, read_only=False))

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Return the store in `folder` for reading.

        Raises:
            StoreError: If there is no store, or one of a newer schema.
        """
        path = folder / STORE_FILE
        with _explained(folder):
            is_there = path.is_file()
        if not is_there:
            raise StoreError(
                f"no study in '{folder}' (no {STORE_FILE}); run one with 'heatgrad study run'"
            )
        store = cls(folder, _engine(path, read_only=True))
        with _explained(path):
            store._check_schema()
        return store

    @property
    def study(self) -> StudySpec:
        """The study whose records these are."""
        with _explained(self.folder), self._engine.connect() as connection:
            text = connection.scalar(sa.select(_meta.c.value).where(_meta.c.name == "study"))
        if text is None:
            raise StoreError(f"'{self.folder / STORE_FILE}' is not a heatgrad store")
        with _explained(self.folder / STORE_FILE):
            values = json.loads(text)
        return StudySpec.from_dict(values, source=str(self.folder / STORE_FILE))

    def keys(self) -> set[str]:
        """Return the keys of all stored trials."""
        with _explained(self.folder), self._engine.connect() as connection:
            return set(connection.scalars(sa.select(_trials.c.key)))

    def records(self) -> list[Record]:
        """Return all stored trials, by task, arm and block."""
        order = (_trials.c.task, _trials.c.arm, _trials.c.block)
        with _explained(self.folder), self._engine.connect() as connection:
            rows = connection.execute(sa.select(*_stored_columns(connection)).order_by(*order))
            return [Record(**row) for row in rows.mappings()]

    def add(
        self, trial: Trial, result: TrialResult, *, environment: dict[str, Any], seconds: float
    ) -> None:
        """Store a finished trial: first its weights, then, in one transaction, its record."""
        with _explained(self.folder):
            path = self.weights_path(trial.key)
            part = path.with_suffix(f".{os.getpid()}.part")
            save_file(result.weights, part, metadata={"trial": trial.key})
            part.replace(path)
            row = {
                "key": trial.key,
                "task": trial.task_name,
                "arm": trial.arm_name,
                "block": trial.block,
                "role": trial.role,
                "status": result.status,
                "spec": trial.model_dump(mode="json"),
                "curves": result.curves,
                "ceiling": result.ceiling,
                "num_parameters": result.num_parameters,
                "num_train": result.num_train,
                "environment": environment,
                "seconds": seconds,
                "stored_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "chance": result.chance,
            }
            with self._engine.begin() as connection:
                connection.execute(sa.insert(_trials).prefix_with("OR IGNORE"), row)

    def weights_path(self, key: str) -> Path:
        """Return where a trial's final weights lie (safetensors)."""
        return self.folder / "weights" / f"{key}.safetensors"

    def close(self) -> None:
        """Fold SQLite's side files into the store, so that it is one file that can be copied."""
        with contextlib.suppress(sa.exc.OperationalError), self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
        self._engine.dispose()

    def _initialise(self, study: StudySpec) -> None:
        with self._engine.begin() as connection:
            # One transaction from here on: a killed run leaves all of it or nothing.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _metadata.create_all(connection)
            for column in set(_trials.c) - set(_stored_columns(connection)):
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE trials ADD COLUMN {column.name} {kind}")
            rows = {
                "schema_version": str(SCHEMA_VERSION),
                "study": _written(study),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            insert = sa.insert(_meta).prefix_with("OR IGNORE")
            connection.execute(insert, [{"name": k, "value": v} for k, v in rows.items()])

    def _check_is_of(self, study: StudySpec) -> None:
        with self._engine.connect() as connection:
            if not sa.inspect(connection).get_table_names():
                return  # its making was interrupted
        self._check_schema()
        other = self.study
        if other.id != study.id:
            keys = ", ".join(_differing(other, study))
            raise StoreError(
                f"'{self.folder}' holds another study ('{other.name}'; it differs in {keys}); "
                f"give another folder with --out"
            )

    def _update_words(self, study: StudySpec) -> None:
        """Take the title, the notes and the order of the arms from the study at hand."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(_meta).where(_meta.c.name == "study").values(value=_written(study))
            )

    def _check_schema(self) -> None:
        with self._engine.connect() as connection:
            if "meta" not in sa.inspect(connection).get_table_names():
                raise StoreError(f"'{self.folder / STORE_FILE}' is not a heatgrad store")
            query = sa.select(_meta.c.value).where(_meta.c.name == "schema_version")
            stored = str(connection.scalar(query) or "")
        if not stored.isdecimal() or int(stored) < 1:
            raise StoreError(
                f"'{self.folder / STORE_FILE}' is damaged: its schema version must be a number "
                f"from 1, found {stored!r}; restore the file or give another folder"
            )
        version = int(stored)
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"'{self.folder / STORE_FILE}' has schema {version}, this heatgrad reads up to "
                f"{SCHEMA_VERSION}; upgrade heatgrad"
            )


def _engine(path: Path, *, read_only: bool) -> sa.Engine:
    if not read_only:
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": 60}
        )

        @sa.event.listens_for(engine, "connect")
        def _use_wal(connection: Any, record: Any) -> None:
            # Readers never wait for writers, and a killed writer leaves no half transaction.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        return engine
    # Without side files nothing is being written: such a store can be read where nothing can
    # be written, too. With them a run goes on, or was killed: then SQLite, to read, has to
    # mend the store first.
    is_settled = not any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal"))
    if is_settled:
        mode = "mode=ro" if os.access(path.parent, os.W_OK) else "immutable=1"
    else:
        mode = "mode=rw"
    uri = f"{path.resolve().as_uri()}?{mode}"

    def connect() -> sqlite3.Connection:
        # By hand: SQLAlchemy's URLs decode a folder name's special characters twice.
        return sqlite3.connect(uri, uri=True, timeout=60, check_same_thread=False)

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)


def _stored_columns(connection: sa.Connection) -> list[sa.Column[Any]]:
    """Return the columns that the table of a store has, which may be older than this code."""
    names = {column["name"] for column in sa.inspect(connection).get_columns("trials")}
    return [column for column in _trials.c if column.name in names]


def _is_running(pid: str) -> bool:
    """Whether a process of this number is there; yes, where that cannot be known."""
    if os.name != "posix" or not pid.isdecimal():
        return pid.isdecimal()
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _written(study: StudySpec) -> str:
    """Return a study's JSON, in the order of the spec, in which its arms are shown."""
    return json.dumps(study.model_dump(mode="json"), allow_nan=False)


def _differing(stored: StudySpec, study: StudySpec) -> list[str]:
    """Return the keys of a spec by which two studies differ, tasks and arms by their names."""
    before, after = stored.model_dump(mode="json"), study.model_dump(mode="json")
    keys = []
    for name in before:
        if name in ("tasks", "arms"):
            names = dict.fromkeys([*before[name], *after[name]])
            keys += [
                f"{name}.{part}"
                for part in names
                if before[name].get(part) != after[name].get(part)
            ]
        elif name not in ("title", "question", "notes") and before[name] != after[name]:
            keys.append(name)
    return keys


def _check_writable(folder: Path, path: Path) -> None:
    for place in (folder, path):
        if place.exists():
            # The bits are looked at, too: a superuser may write where they say no.
            marked = place.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) == 0
            if marked or not os.access(place, os.W_OK):
                raise StoreError(
                    f"'{place}' is read-only; make it writable or give another folder with --out"
                )


@contextlib.contextmanager
def _explained(place: Path) -> Iterator[None]:
    """Turn what the disk or SQLite refuse into one line."""
    try:
        yield
    except HeatgradError:
        raise
    except ValueError as error:
        raise StoreError(f"the store in '{place}' is damaged: {error}") from error
    except sa.exc.DatabaseError as error:
        raise StoreError(f"cannot use the store in '{place}': {error.orig}") from error
    except OSError as error:
        raise StoreError(f"cannot write to '{shown(place)}': {error.strerror or error}") from error
