"""The progress of a computation that is kept step by step."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["StepsShown"]


class StepsShown:
    """A line for each step that begins, and on a terminal a bar within it.

    Use as a context manager; hand on `tell` and `progress`.

    Args:
        console: Where it is shown; standard error, unless given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, markup=False, emoji=False, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._step = ""
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def tell(self, step: str) -> None:
        """Name the step that begins."""
        self._end()
        self._step = step
        self._console.print(f"{step} ...", soft_wrap=True)

    def progress(self, done: int, total: int) -> None:
        """Show how far the step has come."""
        if self._task is None:
            self._task = self._bar.add_task(self._step, total=total)
        self._bar.update(self._task, completed=done, total=total)

    def _end(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
