"""The studies that come with the package, by name."""

from pathlib import Path

__all__ = ["PRESETS"]

PRESETS: dict[str, Path] = {
    path.stem: path for path in sorted(Path(__file__).resolve().parent.glob("*.toml"))
}
