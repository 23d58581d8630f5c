"""A store in a database by URL: records and weights in its tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from heatgrad.core.errors import StoreError
from heatgrad.study.store.explain import explained
from heatgrad.study.store.sqlite import fold, reading_engine, writing_engine
from heatgrad.study.store.tables import GEOMETRY, META, TRIALS, WEIGHTS, insert_new

__all__ = ["Database"]

_MOST_BYTES = (1 << 30) - (1 << 20)  # PostgreSQL's limit of a value, less a little
# A link that is cut without a word is noticed within about a minute.
_LINK = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "heatgrad",
}


@dataclass(frozen=True)
class Database:
    """A database as the place of a store, with one study in it; see `Place`.

    Attributes:
        url: Of PostgreSQL, or of one SQLite file.
    """

    url: sa.URL

    other = "another database with --store"
    tables = (META, TRIALS, GEOMETRY, WEIGHTS)

    @property
    def name(self) -> str:
        """The URL without password and options, for messages."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def holder(self) -> str:
        """The same: the database holds the tables."""
        return self.name

    @property
    def patience(self) -> float:
        """A server may be started again; a file has no connection that could be lost [s]."""
        return 0.0 if self._file else 90.0

    @property
    def _file(self) -> Path | None:
        is_file = self.url.get_backend_name() == "sqlite"
        return Path(self.url.database or "") if is_file else None

    def is_taken(self) -> bool:
        """Whether the file is there, or the database has a table."""
        with explained(self.name):
            if self._file:
                return self._file.exists()
            engine = self.engine(read_only=True)
            with engine.connect() as connection:
                return bool(sa.inspect(connection).get_table_names())

    def check_free(self) -> None:
        """Any database is: what is in it is looked at by the store."""

    def make(self) -> None:
        """Make the folder of a file. A database of PostgreSQL is made by its owner."""
        if self._file:
            with explained(self.name):
                self._file.parent.mkdir(parents=True, exist_ok=True)

    def engine(self, *, read_only: bool) -> sa.Engine:
        """Return an engine; of PostgreSQL one that holds no connection while nothing is done."""
        if self._file:
            return reading_engine(self._file) if read_only else writing_engine(self._file)
        options: dict[str, Any] = {k: v for k, v in _LINK.items() if k not in self.url.query}
        try:
            return sa.create_engine(self.url, poolclass=sa.NullPool, connect_args=options)
        except ImportError:
            raise StoreError(
                f"'{self.name}' needs psycopg, which is not installed; "
                f"pip install 'heatgrad[postgres]'"
            ) from None

    def put(self, connection: sa.Connection, key: str, weights: bytes) -> None:
        """Add a row with the weights."""
        if len(weights) > _MOST_BYTES:
            raise StoreError(
                f"a database keeps weights of at most 1 GiB, trial {key[:12]} has "
                f"{len(weights) / 2**30:.1f}; give a folder with --out instead of --store"
            )
        insert_new(connection, WEIGHTS, [{"key": key, "safetensors": weights}])

    def get(self, connection: sa.Connection, key: str) -> bytes | None:
        """Return what `put` kept, or None."""
        found = connection.scalar(sa.select(WEIGHTS.c.safetensors).where(WEIGHTS.c.key == key))
        return None if found is None else bytes(found)

    def settle(self, engine: sa.Engine) -> None:
        """Fold the side files of a file."""
        if self._file:
            fold(engine)
