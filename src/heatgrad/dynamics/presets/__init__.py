"""The escapes and flows that come with the package, by name."""

from pathlib import Path

__all__ = ["ESCAPES", "FLOWS"]

_HERE = Path(__file__).resolve().parent

ESCAPES: dict[str, Path] = {path.stem: path for path in sorted(_HERE.glob("escape/*.toml"))}
FLOWS: dict[str, Path] = {path.stem: path for path in sorted(_HERE.glob("flow/*.toml"))}
