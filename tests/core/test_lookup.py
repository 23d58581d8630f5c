import math

import pytest

from heatgrad.core.errors import HeatgradError, SpecError
from heatgrad.core.lookup import lookup, nearest

REGISTRY = {"SGD": 1, "DiffusionSGD": 2, "Adam": 3}


def test_names_of_the_registry_come_first():
    """An entry is returned as it is."""
    assert lookup("DiffusionSGD", REGISTRY, "optimizer") == 2


def test_import_paths():
    """The colon separates a module from a name in it."""
    assert lookup("math:tau", REGISTRY, "constant") is math.tau
    assert lookup("os.path:join", REGISTRY, "function")("a", "b").endswith("b")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DifusionSGD", "did you mean 'DiffusionSGD'?"),
        ("sgd", "did you mean 'SGD'?"),
        ("adam", "did you mean 'Adam'?"),
    ],
)
def test_unknown_names_get_the_nearest(name, hint):
    """The message names the kind, the nearest choice, all choices and the other way."""
    with pytest.raises(SpecError) as caught:
        lookup(name, REGISTRY, "optimizer")
    assert str(caught.value) == (
        f"unknown optimizer '{name}'; {hint} choices: Adam, DiffusionSGD, SGD; "
        "or give your own as 'package.module:Name'"
    )


@pytest.mark.parametrize("name", ["", ":", ":Name", "math:", "..math:pi", "a..b:c", "math.pi"])
def test_what_is_no_import_path_is_an_unknown_name(name):
    """One line for every malformed path, never an error from inside the import system."""
    with pytest.raises(SpecError, match=r"unknown model .* or give your own as"):
        lookup(name, {}, "model")


@pytest.mark.parametrize("name", ["no_such_package:Name", "math:no_such_name", "math.pi:x"])
def test_failed_imports_say_why(name):
    """The cause is in the message and chained."""
    with pytest.raises(SpecError, match=f"cannot import model '{name}': ") as caught:
        lookup(name, {}, "model")
    assert isinstance(caught.value.__cause__, (ImportError, AttributeError))
    assert isinstance(caught.value, HeatgradError)


def test_nearest():
    """Nothing close: no guess; nothing at all: it says so; case does not matter."""
    assert nearest("zzz", ["lr"]) == "choices: lr"
    assert nearest("x", []) == "choices: none"
    assert nearest("ADAM", ["Adam", "SGD"]) == "did you mean 'Adam'? choices: Adam, SGD"
    assert nearest("a", iter(["b", "a"])) == "did you mean 'a'? choices: a, b"
