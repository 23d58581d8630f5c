"""The store of a study: made, opened, read and added to, wherever it is."""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import torch
from safetensors.torch import load as read_weights
from safetensors.torch import save as written_weights

from heatgrad.core.errors import StoreError
from heatgrad.study.spec import StudySpec
from heatgrad.study.store.explain import explained
from heatgrad.study.store.folder import Folder
from heatgrad.study.store.place import Place
from heatgrad.study.store.places import place_of
from heatgrad.study.store.record import Measured, Record
from heatgrad.study.store.tables import (
    GEOMETRY,
    META,
    SCHEMA_VERSION,
    TRIALS,
    check_schema,
    insert_new,
    make,
    stored_columns,
)
from heatgrad.study.trial import Trial, TrialResult

__all__ = ["Store"]

T = TypeVar("T")
Where = str | os.PathLike[str]


class Store:
    """The records of one study, in one folder or one database.

    Made by `Store.create` (for writing) or `Store.open` (for reading), from the path of a folder
    or the URL of a database. Many processes may write to one store at a time: to a folder on a
    local disk, to a database of PostgreSQL from many machines.
    """

    def __init__(self, place: Place, engine: sa.Engine) -> None:
        self.place = place
        self._engine = engine

    @classmethod
    def create(cls, where: Where, study: StudySpec) -> "Store":
        """Return the store of `study` in a folder or database, made if it is not there yet.

        Raises:
            StoreError: If the place holds another study, foreign files or tables, or a store of a
                newer schema, or cannot be written to.
        """
        place = place_of(where)
        place.check_free()
        if place.is_taken():
            # Read first: what is not this study's is left as it is, to the last byte.
            found = cls(place, place.engine(read_only=True))
            with explained(place.holder):
                found._check_is_of(study)
            found._engine.dispose()
        place.make()
        store = cls(place, place.engine(read_only=False))
        with explained(place.holder):
            store._initialise(study)
            store._check_is_of(study)
            store._update_words(study)
        return store

    @classmethod
    def attach(cls, where: Where, *, is_shared: bool = False) -> "Store":
        """Return a store, known to be there and checked, for writing (a worker's view).

        Args:
            where: Its folder or URL.
            is_shared: Whether workers on other machines write to the same folder.
        """
        place = place_of(where)
        if isinstance(place, Folder):
            place = replace(place, is_shared=is_shared)
        return cls(place, place.engine(read_only=False))

    @classmethod
    def open(cls, where: Where) -> "Store":
        """Return the store in a folder or database for reading.

        Raises:
            StoreError: If there is no store, or one of a newer schema.
        """
        place = place_of(where)
        if not place.is_taken():
            what = f" (no {Path(place.holder).name})" if isinstance(place, Folder) else ""
            raise StoreError(f"no study in '{place.name}'{what}; run one with 'heatgrad study run'")
        store = cls(place, place.engine(read_only=True))
        with explained(place.holder), store._engine.connect() as connection:
            check_schema(connection, place.holder)
        return store

    @staticmethod
    def is_in(where: Where) -> bool:
        """Whether there is something in a folder or database that may be a store."""
        return place_of(where).is_taken()

    @property
    def study(self) -> StudySpec:
        """The study whose records these are."""
        holder = self.place.holder
        with explained(self.place.name), self._engine.connect() as connection:
            text = connection.scalar(sa.select(META.c.value).where(META.c.name == "study"))
        if text is None:
            raise StoreError(f"'{holder}' is not a heatgrad store")
        with explained(holder):
            values = json.loads(text)
        return StudySpec.from_dict(values, source=holder)

    def keys(self) -> set[str]:
        """Return the keys of all stored trials."""
        query = sa.select(TRIALS.c.key)
        return self._done(lambda c: set(c.scalars(query)), patience=self.place.patience)

    def records(self) -> list[Record]:
        """Return all stored trials, by task, arm and block."""

        def read(connection: sa.Connection) -> list[Record]:
            rows = connection.execute(sa.select(*stored_columns(connection)))
            return [Record(**row) for row in rows.mappings()]

        # Not by the database, whose alphabet may be another.
        return sorted(self._done(read), key=lambda r: (r.task, r.arm, r.block))

    def weights(self, key: str) -> dict[str, torch.Tensor]:
        """Return a trial's final parameters and buffers.

        Raises:
            StoreError: If they are not stored.
        """
        data = self._done(lambda connection: self.place.get(connection, key))
        if data is None:
            raise StoreError(f"no weights of trial '{key}' in '{self.place.name}'")
        return read_weights(data)

    def add(
        self, trial: Trial, result: TrialResult, *, environment: dict[str, Any], seconds: float
    ) -> None:
        """Store a finished trial: first its weights, then, in one transaction, its record.

        A connection that is lost is tried again for as long as the place has patience.
        """
        weights = written_weights(result.weights, metadata={"trial": trial.key})
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
            "memory": result.memory,
        }

        def write(connection: sa.Connection) -> None:
            if result.weights:  # a tuning trial keeps none
                self.place.put(connection, trial.key, weights)
            insert_new(connection, TRIALS, [row])

        self._done(write, patience=self.place.patience)

    def keep(self, records: Sequence[Record]) -> None:
        """Store records of another store as they are, without weights; those there stay."""
        rows = [asdict(record) for record in records]
        if rows:
            self._done(lambda c: insert_new(c, TRIALS, rows), patience=self.place.patience)

    def geometry(self) -> dict[str, Measured]:
        """Return everything that was measured, by the key of its measurement."""

        def read(connection: sa.Connection) -> list[Measured]:
            if GEOMETRY.name not in sa.inspect(connection).get_table_names():
                return []  # an older store
            return [Measured(**row) for row in connection.execute(sa.select(GEOMETRY)).mappings()]

        return {found.key: found for found in self._done(read, patience=self.place.patience)}

    def add_geometry(self, measured: Sequence[Measured]) -> None:
        """Store what was measured; what is there already stays."""
        rows = [asdict(one) for one in measured]
        if rows:
            self._done(lambda c: insert_new(c, GEOMETRY, rows), patience=self.place.patience)

    def weights_path(self, key: str) -> Path:
        """Return where a trial's final weights lie in a folder (safetensors)."""
        if not isinstance(self.place, Folder):
            raise StoreError(f"weights in '{self.place.name}' are no files; use Store.weights")
        return self.place.weights_path(key)

    def unfinished_path(self, key: str) -> Path | None:
        """Return where a trial under way keeps its checkpoints; a database has no such place."""
        if not isinstance(self.place, Folder):
            return None
        return self.place.path / "unfinished" / key

    def close(self) -> None:
        """Close the store; one in a folder is then a file that can be copied."""
        self.place.settle(self._engine)
        self._engine.dispose()

    def _done(self, work: Callable[[sa.Connection], T], *, patience: float = 0.0) -> T:
        """Return what `work` returns, done in one transaction."""
        until, pause = time.monotonic() + patience, 0.5
        with explained(self.place.name):
            while True:
                try:
                    with self._engine.begin() as connection:
                        return work(connection)
                except sa.exc.OperationalError:
                    if time.monotonic() + pause > until:
                        raise
                time.sleep(pause)
                pause = min(2 * pause, 10.0)

    def _initialise(self, study: StudySpec) -> None:
        with self._engine.begin() as connection:
            make(connection, list(self.place.tables))
            rows = {
                "schema_version": str(SCHEMA_VERSION),
                "study": _written(study),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            insert_new(connection, META, [{"name": k, "value": v} for k, v in rows.items()])

    def _check_is_of(self, study: StudySpec) -> None:
        with self._engine.connect() as connection:
            if not sa.inspect(connection).get_table_names():
                return  # its making was interrupted
            check_schema(connection, self.place.holder)
        other = self.study
        if other.id != study.id:
            keys = ", ".join(_differing(other, study))
            raise StoreError(
                f"'{self.place.name}' holds another study ('{other.name}'; it differs in {keys}); "
                f"give {self.place.other}"
            )

    def _update_words(self, study: StudySpec) -> None:
        """Take the title, the notes and the order of the arms from the study at hand."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(META).where(META.c.name == "study").values(value=_written(study))
            )


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
