"""Parts of a spec that name a class and its options: tasks, models, arms, schedules."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field, model_validator

from heatgrad.core.environment import is_out_of_memory
from heatgrad.core.errors import HeatgradError, RunError, SpecError
from heatgrad.core.lookup import lookup, nearest
from heatgrad.core.spec import Spec, canonical_json

__all__ = ["Component", "build", "find", "resolve"]

# Arguments that the study itself passes to each kind of part, so a spec cannot.
PASSED = {
    "optimizer": ("params",),
    "model": ("input_shape", "num_classes"),
    "schedule": ("optimizer", "epochs"),
    "task": (),
    "augment": ("pixels",),
    "loss": (),
}


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
        if not isinstance(data, dict) or "options" in data:
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
    parameters = _parameters(target, component, what, where)
    for option, value in component.options.items():
        if option in parameters:
            is_wrong = _is_flag(parameters[option]) and not isinstance(value, bool)
            if is_wrong and value is not parameters[option].default:
                raise SpecError(f"{where}: {option} must be true or false, got {value!r}")
        elif not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            raise SpecError(
                f"{where}: unknown key '{option}' for {component.kind}; "
                f"{nearest(option, parameters)}"
            )
    return target


def resolve(component: Component, registry: Mapping[str, Any], what: str, where: str) -> Component:
    """Return a component with the defaults of what it names written out.

    An optimizer's `seed` is left out: the block decides it.

    Args:
        component: The part of the spec.
        registry: The names we ship.
        what: "optimizer", "task", ..., for messages.
        where: The place in the spec, to begin the message.

    Raises:
        SpecError: As `find`.
    """
    target = find(component, registry, what, where)
    defaults = {}
    for name, parameter in _parameters(target, component, what, where).items():
        is_blocks = what == "optimizer" and name == "seed"
        if parameter.default is not parameter.empty and not is_blocks:
            try:
                canonical_json(parameter.default)
            except (TypeError, ValueError):
                continue  # an object cannot be written down; it is part of the code
            defaults[name] = parameter.default
    return Component(kind=component.kind, options=defaults | component.options)


def _parameters(
    target: Callable[..., Any], component: Component, what: str, where: str
) -> dict[str, inspect.Parameter]:
    """Return the parameters that a spec may set.

    Beside its own, an optimizer that diffuses along axes has `groups`: the kinds of parameters
    that it diffuses, from which the study makes its parameter groups.
    """
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        raise SpecError(f"{where}: {component.kind} is no class or function with options") from None
    settable = {name: p for name, p in parameters.items() if name not in PASSED[what]}
    if what == "optimizer" and {"dims", "boundary", "diffusion"} <= settable.keys():
        settable["groups"] = inspect.Parameter("groups", inspect.Parameter.KEYWORD_ONLY)
    return settable


def _is_flag(parameter: inspect.Parameter) -> bool:
    annotation = str(parameter.annotation).replace("typing.", "")
    return isinstance(parameter.default, bool) or annotation in (
        "<class 'bool'>",
        "bool",
        "bool | None",
        "Optional[bool]",
    )


def build(target: Callable[..., Any], where: str, *args: Any, **options: Any) -> Any:
    """Return `target(*args, **options)`; what it refuses becomes a SpecError that says where.

    Where memory runs out, a RunError.
    """
    try:
        return target(*args, **options)
    except HeatgradError:
        raise
    except Exception as error:  # whatever a part that is not ours may raise
        raise _refused(error, where, options) from error


def _refused(error: Exception, where: str, options: Mapping[str, Any]) -> HeatgradError:
    """Return what is said of an error that a part has raised."""
    if is_out_of_memory(error):
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        return RunError(
            f"{where}: memory ran out ({reason}); take fewer examples (num_train, num_test), a "
            f"smaller network, or a machine with more"
        )
    if isinstance(error, TypeError):
        # Often a foreign function's own words, which do not say what was received.
        given = ", ".join(f"{name} = {value!r}" for name, value in options.items()) or "no options"
        return SpecError(f"{where}: {error}; check the types of {given}")
    if isinstance(error, ValueError | RuntimeError):
        return SpecError(f"{where}: {error}")
    return SpecError(f"{where}: {type(error).__name__}: {error}")
