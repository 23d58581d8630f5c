"""Steps of a long computation, each kept when it is done: the same command goes on."""

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from heatgrad.core.errors import StoreError

__all__ = ["Progress", "Steps", "Tell", "Values"]

Progress = Callable[[int, int], None]  # how much is done, and how much there is at most
Tell = Callable[[str], None]  # the name of what begins
Values = Mapping[str, Any]  # plain values and arrays, by name

_PLAIN = "plain"


class Steps:
    """A folder of finished steps, all of one specification.

    Args:
        folder: Made if it is not there.
        identity: Of the specification; a folder holds steps of one alone.
        tell: Called with the name of each step that begins.

    Attributes:
        folder: As given.

    Raises:
        StoreError: If the folder holds something else, or cannot be written.

    Example:
        >>> import tempfile
        >>> steps = Steps(tempfile.mkdtemp(), "a")
        >>> steps.once("sum", lambda: {"value": 1 + 1})["value"], steps.has("sum")
        (2, True)
    """

    def __init__(
        self, folder: str | Path, identity: str, *, tell: Tell = lambda step: None
    ) -> None:
        self.folder, self._tell = Path(folder), tell
        mark = self.folder / "identity.txt"
        try:
            if self.folder.exists() and not mark.exists() and any(self.folder.iterdir()):
                raise StoreError(
                    f"'{self.folder}' is not empty and holds no such run; give another --out"
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            if mark.exists() and mark.read_text(encoding="utf-8").strip() != identity:
                raise StoreError(
                    f"'{self.folder}' holds another specification's results; give another --out"
                )
            mark.write_text(identity + "\n", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write '{self.folder}': {error.strerror}") from error

    def has(self, name: str) -> bool:
        """Whether a step is done."""
        return self._path(name).exists()

    def once(self, name: str, compute: Callable[[], Values]) -> Values:
        """Return what a step found, computing and keeping it if that was not done before.

        Args:
            name: Of the step, part of a file name.
            compute: Returns plain values, lists and arrays of numbers, by name.

        Raises:
            StoreError: If what was kept is damaged, or the file cannot be written.
        """
        path = self._path(name)
        if not path.exists():
            self._tell(name)
            self._keep(path, compute())
        return self._read(path)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _keep(self, path: Path, values: Values) -> None:
        arrays: dict[str, Any] = {k: v for k, v in values.items() if isinstance(v, np.ndarray)}
        plain = {key: value for key, value in values.items() if key not in arrays}
        text = json.dumps(plain, default=float)
        fresh = path.with_suffix(".part")
        try:
            with fresh.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays | {_PLAIN: np.array(text)})
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise StoreError(
                f"cannot write '{path}': {error.strerror}; what was done before is kept: free some "
                f"space and run the same command again"
            ) from error

    def _read(self, path: Path) -> Values:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files if key != _PLAIN}
                plain: dict[str, Any] = json.loads(str(file[_PLAIN]))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise StoreError(f"'{path}' is damaged ({error}); delete it and run again") from error
        return plain | arrays
