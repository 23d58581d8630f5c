"""A page: one HTML file that holds everything it shows and asks nothing of a network."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import heatgrad
from heatgrad.core.errors import StoreError
from heatgrad.report.theme import theme_css, themed, word_class

__all__ = ["check_replaceable", "write_page"]

# Marks our pages: only what carries it is replaced.
GENERATOR = '<meta name="generator" content="heatgrad'


def write_page(path: str | Path, template: str, *, scripts: Sequence[str], **values: Any) -> None:
    """Write a page; an older one at the same place is replaced, any other file is left alone.

    Args:
        path: The HTML file to write.
        template: Name of its template.
        scripts: Names of the scripts that it runs.
        values: What the template shows.

    Raises:
        StoreError: If the place is taken by another file, or cannot be written.
    """
    environment = _templates()
    script = "".join(environment.get_template(name).render() for name in scripts)
    page = environment.get_template(template).render(
        version=heatgrad.__version__,
        theme=theme_css(),
        script=script,
        script_hash=_hash(script),
        **values,
    )
    try:
        check_replaceable(Path(path))
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"cannot write the page '{path}': {error.strerror}; what was run is stored: free some "
            f"space or give another file, and write the page again"
        ) from error


def _templates() -> Environment:
    """Return the templates, in which all that is written by users is text."""
    loader = PackageLoader("heatgrad.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"themed": themed, "word_class": word_class, "sort_key": _sort_key}
    return environment


def _sort_key(value: float) -> str:
    """Return a number as JavaScript reads it."""
    return repr(float(value)).replace("inf", "Infinity")


def _hash(script: str) -> str:
    """Return what a content security policy allows: this script, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def check_replaceable(path: Path) -> None:
    """Raise StoreError if the path holds something else than an older page of ours."""
    if not path.exists() or path.is_dir():
        return
    with path.open("rb") as file:
        start = file.read(4096)
    if start and GENERATOR.encode() not in start:
        raise StoreError(f"'{path}' is not a page of heatgrad; give another file with --out")
