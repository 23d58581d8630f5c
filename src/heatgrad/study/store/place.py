"""What a store asks of the place that it is in."""

from typing import Protocol

import sqlalchemy as sa

__all__ = ["Place"]


class Place(Protocol):
    """A folder or a database: where the tables are, and the weights."""

    @property
    def name(self) -> str:
        """What messages call it; without a password."""
        ...

    @property
    def holder(self) -> str:
        """What holds the tables, for messages."""
        ...

    @property
    def other(self) -> str:
        """How to name another place: a remedy."""
        ...

    @property
    def tables(self) -> tuple[sa.Table, ...]:
        """The tables that are made in it."""
        ...

    @property
    def patience(self) -> float:
        """For how long a lost connection is tried again [s]."""
        ...

    def is_taken(self) -> bool:
        """Whether there is something that may be a store."""
        ...

    def check_free(self) -> None:
        """Refuse a place that cannot be used; nothing is changed."""
        ...

    def make(self) -> None:
        """Make what an engine needs to write."""
        ...

    def engine(self, *, read_only: bool) -> sa.Engine:
        """Return an engine on the tables."""
        ...

    def put(self, connection: sa.Connection, key: str, weights: bytes) -> None:
        """Keep a trial's weights, in the transaction of its record."""
        ...

    def get(self, connection: sa.Connection, key: str) -> bytes | None:
        """Return what `put` kept, or None."""
        ...

    def settle(self, engine: sa.Engine) -> None:
        """Leave the place as it may be copied or moved."""
        ...
