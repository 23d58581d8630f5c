"""The studies and trainings that come with the package, by name.

Some studies have a small form, for two cores.
"""

from pathlib import Path

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import nearest
from heatgrad.core.spec import shown

__all__ = ["PRESETS", "SMALL", "TRAININGS", "preset_file", "training_file"]

_HERE = Path(__file__).resolve().parent

PRESETS: dict[str, Path] = {path.stem: path for path in sorted(_HERE.glob("*.toml"))}
SMALL: dict[str, Path] = {path.stem: path for path in sorted(_HERE.glob("small/*.toml"))}
TRAININGS: dict[str, Path] = {path.stem: path for path in sorted(_HERE.glob("trainings/*.toml"))}


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


def training_file(source: str | Path) -> Path:
    """Return the file of a training: the one at a path, or that of a name.

    Raises:
        SpecError: If there is neither; the message names the nearest.

    Example:
        >>> training_file("digits-diffusion").name
        'digits-diffusion.toml'
    """
    path, name = Path(source), str(source)
    if name in TRAININGS and not path.is_file():
        return TRAININGS[name]
    if path.suffix != ".toml" and not path.is_file():
        raise SpecError(f"no training and no spec file '{shown(path)}'; {nearest(name, TRAININGS)}")
    return path
