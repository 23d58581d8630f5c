"""A store in a folder: one SQLite file of records, and a file of weights for each trial."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from heatgrad.core.errors import StoreError
from heatgrad.core.spec import shown
from heatgrad.study.store.explain import explained
from heatgrad.study.store.sqlite import fold, reading_engine, writing_engine
from heatgrad.study.store.tables import GEOMETRY, META, TRIALS

__all__ = ["STORE_FILE", "Folder"]

STORE_FILE = "store.sqlite"


@dataclass(frozen=True)
class Folder:
    """A folder as the place of a store; see `Place`.

    Attributes:
        path: The folder.
        is_shared: Whether processes on several machines write to it.
    """

    path: Path
    is_shared: bool = False

    other = "another folder with --out"
    tables = (META, TRIALS, GEOMETRY)
    patience = 0.0

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return shown(self.path)

    @property
    def holder(self) -> str:
        """The SQLite file, for messages."""
        return shown(self._file)

    @property
    def _file(self) -> Path:
        return self.path / STORE_FILE

    def is_taken(self) -> bool:
        """Whether the SQLite file is there."""
        with explained(self.name):
            return self._file.exists()

    def check_free(self) -> None:
        """Refuse a file, what cannot be written to, and somebody's files."""
        folder = self.path
        with explained(self.name):
            if folder.exists() and not folder.is_dir():
                raise StoreError(f"'{folder}' is a file; give a folder with --out")
            for place in (folder, self._file):
                _check_writable(place)
            if not self._file.exists() and folder.exists() and any(folder.iterdir()):
                raise StoreError(
                    f"'{folder}' holds files that are not a study's; "
                    f"give an empty or new folder with --out"
                )

    def make(self) -> None:
        """Make the folder; clear away what killed writers left of weights."""
        with explained(self.name):
            self.path.mkdir(parents=True, exist_ok=True)
            for leftover in (self.path / "weights").glob("*.part"):
                if not _is_running(leftover.suffixes[-2].removeprefix(".")):
                    leftover.unlink(missing_ok=True)

    def engine(self, *, read_only: bool) -> sa.Engine:
        """Return an engine on the SQLite file."""
        if read_only:
            return reading_engine(self._file)
        return writing_engine(self._file, journal="DELETE" if self.is_shared else "WAL")

    def put(self, connection: sa.Connection, key: str, weights: bytes) -> None:
        """Write the weights to their file: all of it or nothing."""
        path = self.weights_path(key)
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            part.write_bytes(weights)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def get(self, connection: sa.Connection, key: str) -> bytes | None:
        """Return what `put` wrote, or None."""
        path = self.weights_path(key)
        return path.read_bytes() if path.exists() else None

    def settle(self, engine: sa.Engine) -> None:
        """Fold SQLite's side files into the store, so that it is one file that can be copied."""
        fold(engine)

    def weights_path(self, key: str) -> Path:
        """Return where a trial's final weights lie (safetensors)."""
        return self.path / "weights" / f"{key}.safetensors"


def _check_writable(place: Path) -> None:
    if not place.exists():
        return
    # The bits are looked at, too: a superuser may write where they say no.
    marked = place.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) == 0
    if marked or not os.access(place, os.W_OK):
        raise StoreError(
            f"'{place}' is read-only; make it writable or give another folder with --out"
        )


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
