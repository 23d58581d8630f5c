"""What a store asks of the place that it is in."""

from typing import Protocol

import sqlalchemy as sa

__all__ = ["Place"]


class Place(Protocol):
    """A folder or a database: where the tables are, and the weights.

    Attributes:
        name: What messages call it; without a password.
        holder: What holds the tables, for messages.
        other: How to name another place: a remedy.
        tables: Those that are made in it.
        patience: For how long a lost connection is tried again [s].
    """

    @property
    def name(self) -> str: ...
    @property
    def holder(self) -> str: ...
    @property
    def other(self) -> str: ...
    @property
    def tables(self) -> tuple[sa.Table, ...]: ...
    @property
    def patience(self) -> float: ...

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
