"""Which place a path or a URL means."""

import os
from pathlib import Path

import sqlalchemy as sa

from heatgrad.core.errors import StoreError
from heatgrad.study.store.database import Database
from heatgrad.study.store.folder import STORE_FILE, Folder

__all__ = ["is_url", "place_of", "shown_place"]

_FORM = "postgresql+psycopg://USER@HOST/DATABASE or sqlite:///FILE"
_DRIVERS = {
    "postgresql+psycopg": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "sqlite": "sqlite",
}


def is_url(place: str | os.PathLike[str]) -> bool:
    """Whether this is the URL of a database, not the path of a folder.

    Example:
        >>> is_url("postgresql+psycopg://host/studies"), is_url("runs/demo")
        (True, False)
    """
    return isinstance(place, str) and "://" in place


def place_of(place: str | os.PathLike[str]) -> Folder | Database:
    """Return the folder or the database that a path or a URL means.

    Raises:
        StoreError: If a URL cannot be used.
    """
    return _database(str(place)) if is_url(place) else Folder(Path(place))


def shown_place(place: str | os.PathLike[str]) -> str:
    """Return a place for a message: a URL without its password and its options."""
    return _database(str(place)).name if is_url(place) else str(place)


def _database(text: str) -> Database:
    scheme, _, rest = text.partition("://")
    if scheme not in _DRIVERS:
        raise StoreError(f"a store by URL must be {_FORM}, got '{scheme}://...'")
    try:
        url = sa.make_url(f"{_DRIVERS[scheme]}://{rest}")
    except (sa.exc.ArgumentError, ValueError):
        # The rest is not shown: it may hold a password.
        raise StoreError(
            f"cannot read the URL '{scheme}://...' of a store; it must be {_FORM}, with special "
            f"characters of a password as %XX"
        ) from None
    if not url.database or url.database == ":memory:":
        raise StoreError(f"the URL of a store must name a database, as in {_FORM}, got none")
    if scheme == "sqlite" and Path(url.database).name == STORE_FILE:
        raise StoreError(
            f"'{url.database}' is the store of a folder; give the folder "
            f"'{Path(url.database).parent}' instead"
        )
    return Database(url)
