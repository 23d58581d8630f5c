"""Record the runs of a training loop that is not ours, as a table that `compare` judges."""

from pathlib import Path
from types import TracebackType
from typing import Any

from heatgrad.core.errors import HeatgradError, RunError, SpecError, StoreError
from heatgrad.core.spec import shown
from heatgrad.study.recorded import HEAD, STATUS, append_row, locked, read_table, write_table

__all__ = ["Recording", "is_recorded", "record"]


def record(path: str | Path, *, arm: str, seed: int | str, replace: bool = False) -> "Recording":
    """Return the recording of one run, to be used in a `with` block around a training loop.

    The file is a CSV table with a row per call of `log`, made if needed, for
    `heatgrad compare FILE`, pandas or a spreadsheet. Many processes may write to it at a time, on
    a local disk (on Windows: one). A row is in the file when `log` returns, so a process that is
    killed leaves what it had logged, and the table knows that this run did not end.

    Recording a run again replaces its rows if it did not end or raised; a finished run is
    refused, so that no result is lost, or improved by trying again, unnoticed. `is_recorded`
    tells which runs a script that was stopped can leave out.

    Args:
        path: The table; its folder is made if needed.
        arm: What is compared, e.g. the optimizer: one line of 1 to 80 characters.
        seed: What the arms have in common: runs of the same seed are compared as a pair.
        replace: Whether a finished run is replaced, too.

    Raises:
        SpecError: If arm or seed cannot be used.
        StoreError: If the file is no such table, cannot be written, or has the run already.

    Example:
        >>> import tempfile
        >>> from heatgrad.study import read_runs
        >>> path = Path(tempfile.mkdtemp(), "mine.csv")
        >>> with record(path, arm="AdamW", seed=3) as run:
        ...     for epoch in range(2):
        ...         run.log(epoch=epoch, val_accuracy=0.5 + 0.1 * epoch)
        >>> read_runs(path, "val_accuracy")
        {'AdamW': {'3': 0.6}}
    """
    return Recording(path, arm=arm, seed=seed, replace=replace)


def is_recorded(path: str | Path, *, arm: str, seed: int | str) -> bool:
    """Whether a table has a finished run, so that it need not be trained again.

    Args:
        path: The table; it need not be there.
        arm: The run's arm.
        seed: The run's seed.

    Raises:
        StoreError: If the file is no table of recorded runs.

    Example:
        >>> is_recorded("no-such-folder/mine.csv", arm="AdamW", seed=3)
        False
    """
    place = Path(path)
    if not place.exists():
        return False
    with locked(place):
        return [arm, str(seed), "finished"] in ([*r[:2], r[-1]] for r in read_table(place)[1])


class Recording:
    """One run of a training loop: `log` writes a row, the end of the `with` block its status.

    The status is `finished`, or `failed` where the block raised: such a run diverged, for
    `compare`. After Ctrl-C, or an error of writing, it stays empty, as after a kill: such a run
    did not end. Without a `with` block, call `close` at the end.

    Attributes:
        path: The table.
        arm: What is compared.
        seed: What the arms have in common, as text.
    """

    def __init__(
        self, path: str | Path, *, arm: str, seed: int | str, replace: bool = False
    ) -> None:
        self.path = Path(path).resolve()
        self.arm = _checked("arm", arm)
        if isinstance(seed, bool) or not isinstance(seed, (int, str)):
            raise SpecError(f"seed must be a whole number or a name, got {seed!r}")
        self.seed = _checked("seed", str(seed))
        self._replace = replace
        self._num_logged = 0
        self._is_open = True
        with locked(self.path):  # what cannot work is said before the training
            header, rows = read_table(self.path)
            self._others(rows)
            if rows == [] and header == [*HEAD, STATUS]:
                write_table(self.path, header, rows)

    def log(self, *, epoch: int | None = None, **metrics: float) -> None:
        """Write one row.

        Args:
            epoch: Number of the epoch, or step; by default the rows are counted from 0.
            metrics: Values by name: numbers, or tensors of one element. A name that is new to
                the table becomes a column of it. `nan` or `inf` says that the run diverged.

        Raises:
            SpecError: If a name or value cannot be used.
            RunError: If the run is closed.
            StoreError: If the row cannot be written; what was written before is kept.
        """
        if not self._is_open:
            raise RunError(f"this run of arm '{self.arm}' is closed; record another")
        if epoch is not None and (isinstance(epoch, bool) or not isinstance(epoch, int)):
            raise SpecError(f"epoch must be a whole number, got {epoch!r}")
        number = self._num_logged if epoch is None else epoch
        self._write(str(number), {name: _value(name, value) for name, value in metrics.items()})

    def close(self, *, failed: bool = False) -> None:
        """Say that the run ended; nothing can be logged after.

        Args:
            failed: Whether it ended in an error, which counts as divergence.

        Raises:
            RunError: If nothing was logged and it did not fail.
            StoreError: If the table cannot be written.
        """
        if not self._is_open:
            return
        self._is_open = False
        if self._num_logged == 0:
            if not failed:
                raise RunError(
                    f"nothing was logged of arm '{self.arm}', seed {self.seed}; call log(...) in "
                    f"the loop"
                )
            self._write("", {})
        with locked(self.path):
            header, rows = read_table(self.path)
            mine = [row for row in rows if self._owns(row)]
            if not mine:
                raise StoreError(
                    f"the rows of arm '{self.arm}', seed {self.seed} were taken out of "
                    f"'{shown(self.path)}' while it ran; record it again"
                )
            mine[-1][-1] = "failed" if failed else "finished"
            write_table(self.path, header, rows)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Ctrl-C and a full disk say nothing about the training.
        if kind is None or (issubclass(kind, Exception) and not issubclass(kind, HeatgradError)):
            self.close(failed=kind is not None)

    def _write(self, epoch: str, values: dict[str, str]) -> None:
        cells = {"arm": self.arm, "seed": self.seed, "epoch": epoch, STATUS: ""} | values
        with locked(self.path):
            if self._num_logged == 0 or not append_row(self.path, cells):
                header, rows = read_table(self.path)
                if self._num_logged == 0:
                    rows = self._others(rows)
                new = [name for name in values if name not in header]
                header = [*header[:-1], *new, STATUS]
                rows = [[*row[:-1], *("" for _ in new), row[-1]] for row in rows]
                write_table(self.path, header, [*rows, [cells.get(name, "") for name in header]])
        self._num_logged += 1

    def _others(self, rows: list[list[str]]) -> list[list[str]]:
        """Return the rows of other runs; refuse if this one ended."""
        if not self._replace and any(row[-1] == "finished" for row in rows if self._owns(row)):
            raise StoreError(
                f"'{shown(self.path)}' has a finished run of arm '{self.arm}', seed {self.seed}; "
                f"give replace=True to record it again, or another file"
            )
        return [row for row in rows if not self._owns(row)]

    def _owns(self, row: list[str]) -> bool:
        return (row[0], row[1]) == (self.arm, self.seed)


def _checked(what: str, text: str) -> str:
    if (
        not isinstance(text, str)
        or not text
        or text != text.strip()
        or len(text.splitlines()) > 1
        or len(text) > 80
    ):
        raise SpecError(
            f"{what} must be one line of 1 to 80 characters without spaces around it, got {text!r}"
        )
    return text


def _value(name: str, value: Any) -> str:
    """Return a metric's value as it is written: the shortest text that reads back the same."""
    if _checked("a metric's name", name) in (*HEAD, STATUS):
        raise SpecError(f"'{name}' is a column of its own; give the metric another name")
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return repr(float(value.detach() if hasattr(value, "detach") else value))
    except (TypeError, ValueError, RuntimeError):
        raise SpecError(
            f"{name} must be a number, or a tensor of one element, got {value!r:.80}"
        ) from None
