"""One SQLite file that many processes write to."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

__all__ = ["fold", "reading_engine", "writing_engine"]


def writing_engine(path: Path, *, journal: Literal["WAL", "DELETE"] = "WAL") -> sa.Engine:
    """Return an engine that writes to a file, made if it is not there.

    Args:
        path: The file.
        journal: `"WAL"`: readers never wait for writers. `"DELETE"`: for writers on several
            machines, between which WAL's shared memory is not shared.
    """
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": 60}
    )

    @sa.event.listens_for(engine, "connect")
    def _use_journal(connection: Any, record: Any) -> None:
        # In both a killed writer leaves no half transaction.
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute(f"PRAGMA synchronous={'NORMAL' if journal == 'WAL' else 'FULL'}")

    return engine


def reading_engine(path: Path) -> sa.Engine:
    """Return an engine that reads a file and changes nothing in it."""
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


def fold(engine: sa.Engine) -> None:
    """Fold the side files into the file, so that it can be copied; where it is free to."""
    with contextlib.suppress(sa.exc.OperationalError), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
