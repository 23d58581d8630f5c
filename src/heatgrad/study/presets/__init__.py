"""The studies that come with the package, by name; some have a small form, for two cores."""

from pathlib import Path

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import nearest

__all__ = ["PRESETS", "SMALL", "preset_file"]

_HERE = Path(__file__).resolve().parent

PRESETS: dict[str, Path] = {path.stem: path for path in sorted(_HERE.glob("*.toml"))}
SMALL: dict[str, Path] = {path.stem: path for path in sorted(_HERE.glob("small/*.toml"))}


def preset_file(name: str, *, small: bool = False) -> Path:
    """Return the file of a preset, or of its small form.

    Raises:
        SpecError: If there is none; the message names the nearest.
    """
    known = SMALL if small else PRESETS
    if name not in known:
        what = "no small form of a preset" if small else "no preset"
        raise SpecError(f"{what} '{name}'; {nearest(name, known)}")
    return known[name]
