"""What a disk or a database refuses, in one line with what to do."""

import contextlib
import errno
from collections.abc import Iterator

import sqlalchemy as sa

from heatgrad.core.errors import HeatgradError, StoreError

__all__ = ["explained"]

_FULL = "make room there"
_LOST = "check that the server runs and may be reached from here"


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what goes wrong with the store in `where` into one line.

    Raises:
        StoreError: For whatever is raised within, but for our own errors.
    """
    try:
        yield
    except HeatgradError:
        raise
    except ValueError as error:
        raise StoreError(f"the store in '{where}' is damaged: {error}") from error
    except sa.exc.DatabaseError as error:
        reason = " ".join(str(error.orig).split())
        remedy = _remedy(error)
        raise StoreError(f"cannot use the store in '{where}': {reason}{remedy}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = f"; {_FULL}" if is_full else ""
        raise StoreError(f"cannot write to '{where}': {reason}{remedy}") from error


def _remedy(error: sa.exc.DatabaseError) -> str:
    state = getattr(error.orig, "sqlstate", "")  # of PostgreSQL; None if it was not reached
    if state == "53100" or "disk is full" in str(error.orig):
        return f"; {_FULL}"
    if state == "" and not isinstance(error, sa.exc.OperationalError):  # SQLite cannot read it
        return "; restore it from a copy, or give another place"
    is_lost = state is None or state.startswith(("08", "57P"))
    return f"; {_LOST}" if isinstance(error, sa.exc.OperationalError) and is_lost else ""
