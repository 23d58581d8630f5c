"""The file of recorded runs: a CSV table that many processes write, and that survives a kill."""

import contextlib
import csv
import errno
import io
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from heatgrad.core.errors import StoreError
from heatgrad.core.spec import shown

if sys.platform != "win32":  # there, one process at a time may record into a file
    import fcntl

__all__ = [
    "HEAD",
    "STATUS",
    "append_row",
    "is_record",
    "locked",
    "read_table",
    "without_torn_row",
    "write_table",
]

HEAD = ("arm", "seed", "epoch")
# The last column: empty in every row but the last one of a run that ended. A row of which a power
# cut left a part is therefore short of a cell, and is known by it.
STATUS = "status"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing to a table, made if needed; explain what goes wrong.

    Raises:
        StoreError: If the file cannot be made, locked, read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _lock(path)
        try:
            yield
        finally:
            os.close(handle)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"cannot record into '{shown(path)}': {reason}") from error


def _lock(path: Path) -> int:
    """Return an open handle of a table, which holds the lock until it is closed."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if sys.platform == "win32":  # an open file could not be replaced
            os.close(handle)
            return os.open(os.devnull, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Another process may have replaced the file before the lock was given.
            if os.path.exists(path) and os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def is_record(header: Sequence[str]) -> bool:
    """Whether a table with these columns was made by `record`."""
    return tuple(header[:3]) == HEAD and header[-1] == STATUS


def without_torn_row(text: str) -> str:
    """Return a recorded table without a last row of which a power cut left a part."""
    whole, newline, last = text.rpartition("\n")
    header = next(csv.reader([text.partition("\n")[0]]), [])
    is_torn = last and is_record(header) and len(next(csv.reader([last]))) < len(header)
    return whole + newline if is_torn else text


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table, those of a new one where the file is empty."""
    text = without_torn_row(path.read_text(encoding="utf-8-sig"))
    header, *rows = [row for row in csv.reader(io.StringIO(text)) if row] or [[*HEAD, STATUS]]
    if not is_record(header):
        raise StoreError(
            f"'{shown(path)}' is not a table of recorded runs: its columns are "
            f"{', '.join(header)[:200]}; give another file"
        )
    for row in rows:
        if len(row) != len(header):
            raise StoreError(
                f"'{shown(path)}' has a row of {len(row)} cells under {len(header)} columns, of "
                f"arm '{row[0][:80]}'; mend it, or give another file"
            )
    return header, rows


def append_row(path: Path, cells: dict[str, str]) -> bool:
    """Add a row, or return False if it needs new columns or the last row has no end."""
    with open(path, "r+b") as file:
        header = next(csv.reader([file.readline().decode("utf-8-sig")]), [])
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        if file.read(1) != b"\n" or not is_record(header) or not cells.keys() <= set(header):
            return False
        line = _line([cells.get(name, "") for name in header])
        file.seek(end)
        try:
            if os.write(file.fileno(), line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(file.fileno(), end)
            raise
    return True


def write_table(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Replace a table in one step, so that whoever is killed leaves the old or the new one."""
    new = path.with_name(f".{path.name}.new")  # one name: it is written under the lock
    try:
        with open(new, "wb") as file:
            file.writelines(_line(row) for row in [header, *rows])
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, new)
        os.replace(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
