"""The tables of a store, and what an older store has of them."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from heatgrad.core.errors import StoreError

__all__ = [
    "GEOMETRY",
    "META",
    "SCHEMA_VERSION",
    "TRIALS",
    "WEIGHTS",
    "check_schema",
    "insert_new",
    "make",
    "stored_columns",
]

SCHEMA_VERSION = 1

_metadata = sa.MetaData()
META = sa.Table(
    "meta",
    _metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
TRIALS = sa.Table(
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
    # Added later: a store without one is read as one in which it is not known.
    sa.Column("chance", sa.JSON),
    sa.Column("memory", sa.JSON),
)
# Of what a study measures around the ends of its trials; a store may have none.
GEOMETRY = sa.Table(
    "geometry",
    _metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("trial", sa.String(64), nullable=False),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("stored_at", sa.String, nullable=False),
)
# In a database only; a folder has a file for each trial.
WEIGHTS = sa.Table(
    "weights",
    _metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("safetensors", sa.LargeBinary, nullable=False),
)

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_LOCK = 0x68656174  # any number will do: that of the making of tables, among PostgreSQL's locks


def make(connection: sa.Connection, tables: list[sa.Table]) -> None:
    """Make what is not there yet, in one transaction that the caller ends: all of it or nothing."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    _metadata.create_all(connection, tables)
    for column in set(TRIALS.c) - set(stored_columns(connection)):
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE trials ADD COLUMN {column.name} {kind}")


def insert_new(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows; one whose key is there already is left as it was."""
    insert = _INSERTS[connection.dialect.name](table)
    connection.execute(insert.on_conflict_do_nothing(), rows)


def stored_columns(connection: sa.Connection) -> list[sa.Column[Any]]:
    """Return the columns that the table of a store has, which may be older than this code."""
    names = {column["name"] for column in sa.inspect(connection).get_columns("trials")}
    return [column for column in TRIALS.c if column.name in names]


def check_schema(connection: sa.Connection, where: str) -> None:
    """Refuse tables that are not a store's, and those of a newer heatgrad.

    Args:
        connection: To the tables.
        where: What holds them, for the message.

    Raises:
        StoreError: With what was found, and what to do.
    """
    if "meta" not in sa.inspect(connection).get_table_names():
        raise StoreError(f"'{where}' is not a heatgrad store")
    query = sa.select(META.c.value).where(META.c.name == "schema_version")
    stored = str(connection.scalar(query) or "")
    if not stored.isdecimal() or int(stored) < 1:
        raise StoreError(
            f"'{where}' is damaged: its schema version must be a number from 1, found "
            f"{stored!r}; restore it or give another place"
        )
    if int(stored) > SCHEMA_VERSION:
        raise StoreError(
            f"'{where}' has schema {int(stored)}, this heatgrad reads up to {SCHEMA_VERSION}; "
            f"upgrade heatgrad"
        )
