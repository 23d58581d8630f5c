"""Parts of a spec that name a class and its options: tasks, models, arms, schedules."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field, model_validator

from heatgrad.core.errors import HeatgradError, SpecError
from heatgrad.core.lookup import lookup, nearest
from heatgrad.core.spec import Spec, canonical_json

__all__ = ["Component", "build", "check_options", "find"]

# Arguments that the study itself passes, so a spec cannot.
POSITIONAL = ("params", "optimizer", "epochs", "input_shape", "num_classes")


class Component(Spec):
    """A name and the options of what it names; in a file the options stand beside the name.

    Attributes:
        kind: A registry name, or `"package.module:Name"`.
        options: Keyword arguments for it.
    """

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, data: Any) -> Any:
        """Move the keys that are not ours into `options`."""
        if not isinstance(data, dict) or isinstance(data.get("options"), dict):
            return data
        own = {key: value for key, value in data.items() if key in cls.model_fields}
        return own | {"options": {k: v for k, v in data.items() if k not in cls.model_fields}}

    @model_validator(mode="after")
    def _options_are_plain(self) -> "Component":
        """Refuse what a hash and a store cannot hold: infinite numbers, dates, objects."""
        for name, value in self.options.items():
            try:
                canonical_json(value)
            except (TypeError, ValueError):
                raise ValueError(
                    f"option '{name}' must be a finite number, a text, true or false, or a list "
                    f"of these, got {value!r}"
                ) from None
        return self


def find(component: Component, registry: Mapping[str, Any], what: str, where: str) -> Any:
    """Return the class or function a component names, its option names checked.

    Args:
        component: The part of the spec.
        registry: The names we ship.
        what: "optimizer", "task", ..., for messages.
        where: The place in the spec, to begin the message.

    Raises:
        SpecError: If the name is unknown or that of a value, or an option is not one of its
            arguments.
    """
    try:
        target = lookup(component.kind, registry, what)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from error
    check_options(target, component, where)
    return target


def check_options(target: Callable[..., Any], component: Component, where: str) -> None:
    """Raise SpecError if an option is not a keyword argument of what is named."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        raise SpecError(f"{where}: {component.kind} is no class or function with options") from None
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    choices = [name for name in parameters if name not in POSITIONAL]
    for option in component.options:
        if option not in choices:
            raise SpecError(
                f"{where}: unknown key '{option}' for {component.kind}; {nearest(option, choices)}"
            )


def build(target: Callable[..., Any], where: str, *args: Any, **options: Any) -> Any:
    """Return `target(*args, **options)`; what it refuses becomes a SpecError that says where."""
    try:
        return target(*args, **options)
    except HeatgradError:
        raise
    except TypeError as error:
        # Often a foreign function's own words, which do not say what was received.
        given = ", ".join(f"{name} = {value!r}" for name, value in options.items()) or "no options"
        raise SpecError(f"{where}: {error}; check the types of {given}") from error
    except (ValueError, RuntimeError) as error:
        raise SpecError(f"{where}: {error}") from error
