"""Names to objects: the only reader of the registries."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from heatgrad.core.errors import SpecError

__all__ = ["lookup", "nearest"]

T = TypeVar("T")


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return a clause that names the closest choice and lists all, to end an error line.

    Example:
        >>> nearest("momentun", ["lr", "momentum"])
        "did you mean 'momentum'? choices: lr, momentum"
    """
    names = sorted(choices)
    folded = {choice.lower(): choice for choice in reversed(names)}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    hint = f"did you mean '{folded[close[0]]}'? " if close else ""
    return f"{hint}choices: {', '.join(names) or 'none'}"


def lookup(name: str, registry: Mapping[str, T], kind: str) -> T | Any:
    """Return the object called `name`: a registry entry, or `"package.module:Name"`.

    Args:
        name: A key of `registry`, or an import path with a colon.
        registry: The literal dict of a subpackage.
        kind: What is looked up, for the message: `"optimizer"`, `"model"`, ...

    Raises:
        SpecError: If the name is in neither; the message gives the nearest choice.

    Example:
        >>> lookup("math:pi", {}, "constant")
        3.141592653589793
    """
    if name in registry:
        return registry[name]
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise SpecError(
            f"unknown {kind} '{name}'; {nearest(name, registry)}; "
            f"or give your own as 'package.module:Name'"
        )
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"cannot import {kind} '{name}': {error}") from error
    except Exception as error:  # the module is the user's, and may fail in any way
        raise SpecError(
            f"cannot import {kind} '{name}': {type(error).__name__}: {error}"
        ) from error
