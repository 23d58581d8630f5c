"""Spec files: frozen models read from TOML, where an unknown key is an error."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import nearest

__all__ = [
    "Positive",
    "ShortName",
    "Spec",
    "canonical_json",
    "digest",
    "parse",
    "read_toml",
    "shown",
]

Positive = Annotated[int, Field(ge=1)]
# What a folder may be called.
ShortName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Spec(BaseModel):
    """Base of every specification: frozen, and strict about keys and finite numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, strict=True, protected_namespaces=()
    )


S = TypeVar("S", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file.

    Raises:
        SpecError: If the file is missing, not readable as text, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"no spec file at '{path}'") from None
    except OSError as error:
        raise SpecError(f"cannot read spec file '{shown(path)}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"cannot read spec file '{path}': {error}") from error
    except RecursionError:
        raise SpecError(f"'{path}' is nested too deeply to be a spec") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"'{path}' is not valid TOML: {error}") from error


def parse(model: type[S], data: Mapping[str, Any], *, source: str) -> S:
    """Return `data` as a `model`, or raise one line about the first thing wrong in it.

    Args:
        model: A pydantic model class.
        data: Plain values, as read from TOML.
        source: What the data came from, to begin the message.

    Raises:
        SpecError: If a key is unknown or missing, or a value does not fit.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SpecError(f"{source}: {_first_error(model, error)}") from error


def shown(path: Path) -> str:
    """Return a path for a message, its middle left out where it is very long."""
    text = str(path)
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a plain value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a plain value's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _first_error(model: type[BaseModel], error: ValidationError) -> str:
    # Unknown keys first: they are what other complaints (a missing key) often come from.
    details = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first = details[0]
    where = " ".join(".".join(str(part) for part in first["loc"]).split())
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, first["loc"][:-1])
        choices = nearest(str(first["loc"][-1]), owner.model_fields) if owner else ""
        return f"unknown key '{where}'; {choices}"
    if first["type"] == "missing":
        return f"missing key '{where}'"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    subject = f"'{where}'" if where else "the whole"
    return f"{subject}: {message[0].lower()}{message[1:]}, got {first['input']!r}"


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Follow a location through nested models, and dicts, lists and unions of models."""
    current: Any = model
    for part in path:
        current = _inside(_bare(current), part)
    current = _bare(current)
    return current if _is_model(current) else None


def _inside(annotation: Any, part: int | str) -> Any:
    """Return the annotation that pydantic means by one part of a location."""
    if _is_model(annotation):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    members = [member for member in get_args(annotation) if member is not Ellipsis]
    if get_origin(annotation) in (Union, UnionType):
        # Here the part is no key: it is the class, or the value of the discriminator.
        return next((m for m in map(_bare, members) if _is_called(m, part)), None)
    if get_origin(annotation) is tuple and isinstance(part, int) and part < len(members):
        return members[part]
    return members[-1] if members else None


def _bare(annotation: Any) -> Any:
    """Return an annotation without metadata, and without None where one other type is left."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        others = [member for member in get_args(annotation) if member is not type(None)]
        return _bare(others[0]) if len(others) == 1 else annotation
    return annotation


def _is_called(annotation: Any, part: int | str) -> bool:
    if not _is_model(annotation):
        return False
    fields = annotation.model_fields.values()
    return annotation.__name__ == part or any(part in get_args(f.annotation) for f in fields)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
