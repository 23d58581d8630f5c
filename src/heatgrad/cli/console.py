"""Where the commands print."""

from rich.console import Console

__all__ = ["text_console"]


def text_console(*, stderr: bool = False) -> Console:
    """Return the console of the commands.

    What users name things is text, never markup; a pipe has no width: tables take what they need.
    """
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 160
    return console
