import hashlib
from typing import Annotated, Literal

import pydantic
import pytest

from heatgrad.core.errors import SpecError
from heatgrad.core.spec import Spec, canonical_json, digest, parse, read_toml


class Arm(Spec):
    optimizer: str
    lr: float = 0.1
    kind: Literal["arm"] = "arm"


class Pair(Spec):
    first: str
    kind: Literal["pair"] = "pair"


class Study(Spec):
    name: str
    seeds: int = 8
    arms: dict[str, Arm] = pydantic.Field(default_factory=dict)
    stages: list[Arm] = pydantic.Field(default_factory=list)
    baseline: Arm | None = None
    either: Arm | Pair | None = None
    tagged: Annotated[Arm | Pair, pydantic.Field(discriminator="kind")] | None = None
    named: dict[str, Arm] | None = None
    steps: tuple[Pair, Arm] | None = None

    @pydantic.model_validator(mode="after")
    def _baseline_is_no_arm(self):
        if self.baseline and "baseline" in self.arms:
            raise ValueError("give baseline once")
        return self

    @pydantic.field_validator("seeds")
    @classmethod
    def _enough(cls, seeds):
        if seeds < 2:
            raise ValueError(f"at least 2, got {seeds}")
        return seeds


ARM = {"optimizer": "SGD", "lrr": 1.0}
ARM_HINT = "did you mean 'lr'? choices: kind, lr, optimizer"


def message(data):
    with pytest.raises(SpecError) as caught:
        parse(Study, data, source="study.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_valid_data():
    """Values arrive in nested models; defaults fill the rest."""
    study = parse(Study, {"name": "a", "arms": {"x": {"optimizer": "SGD", "lr": 1}}}, source="")
    assert study.arms["x"] == Arm(optimizer="SGD", lr=1.0)
    assert study.seeds == 8


def test_specs_are_frozen():
    """A spec is what was run: it cannot change afterwards."""
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Arm(optimizer="SGD").lr = 1.0


def test_unknown_key_at_the_top():
    """The key, the nearest choice and all choices; before any complaint that follows from it."""
    assert message({"nmae": "a"}).startswith(
        "study.toml: unknown key 'nmae'; did you mean 'name'? choices: arms, baseline, "
    )


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"arms": {"x": ARM}}, "arms.x.lrr"),
        ({"arms": {"lr": ARM}}, "arms.lr.lrr"),
        ({"stages": [ARM]}, "stages.0.lrr"),
        ({"baseline": ARM}, "baseline.lrr"),
        ({"named": {"x": ARM}}, "named.x.lrr"),
        ({"tagged": {"kind": "arm", **ARM}}, "tagged.arm.lrr"),
        ({"either": {"kind": "arm", **ARM}}, "either.Arm.lrr"),
    ],
)
def test_unknown_key_in_a_nested_model(data, where):
    """The whole way to the key, and the choices of the model it stands in."""
    assert message({"name": "a", **data}) == f"study.toml: unknown key '{where}'; {ARM_HINT}"


def test_unknown_key_in_a_member_of_a_tuple():
    """Each place has its own model."""
    steps = ({"first": "x"}, ARM)
    assert message({"name": "a", "steps": steps}).endswith(f"'steps.1.lrr'; {ARM_HINT}")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "missing key 'name'"),
        ({"name": "a", "arms": {"x": {}}}, "missing key 'arms.x.optimizer'"),
        ({"name": 1}, "'name': input should be a valid string, got 1"),
        ({"name": "a", "seeds": "8"}, "'seeds': input should be a valid integer, got '8'"),
        ({"name": "a", "seeds": 8.0}, "'seeds': input should be a valid integer, got 8.0"),
        ({"name": "a", "seeds": True}, "'seeds': input should be a valid integer, got True"),
        (
            {"name": "a", "baseline": {"optimizer": "SGD", "lr": float("nan")}},
            "'baseline.lr': input should be a finite number, got nan",
        ),
        ({"name": "a", "seeds": 1}, "seeds: at least 2, got 1"),
        (
            {"name": "a", "baseline": {"optimizer": "A"}, "arms": {"baseline": {"optimizer": "A"}}},
            "give baseline once",
        ),
    ],
)
def test_other_errors(data, expected):
    """One line: where it came from, the key, the requirement, the value."""
    assert message(data) == f"study.toml: {expected}"


def test_data_that_is_no_table():
    """There is no key to name."""
    assert message([1]).startswith("study.toml: the whole: input should be a valid dictionary")


def test_canonical_json_does_not_depend_on_order():
    """Equal values give equal texts; any other value another text."""
    a = {"b": [1, 2.5, None], "a": {"y": True, "x": "é"}}
    b = {"a": {"x": "é", "y": True}, "b": [1, 2.5, None]}
    assert canonical_json(a) == canonical_json(b)
    assert canonical_json(a) == '{"a":{"x":"\\u00e9","y":true},"b":[1,2.5,null]}'
    assert canonical_json({"b": [2.5, 1, None]}) != canonical_json({"b": [1, 2.5, None]})


def test_digest_is_sha256_of_the_canonical_text():
    """Hashlib on a text written by hand, and sha256sum on the empty table."""
    assert digest({"b": 1, "a": "x"}) == hashlib.sha256(b'{"a":"x","b":1}').hexdigest()
    # printf '{}' | sha256sum
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_nan_has_no_canonical_text():
    """NaN differs from itself: two equal specs would never have equal digests."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"lr": float("nan")})


def test_read_toml(tmp_path):
    """Tomllib's values; a clear line for a missing file, a folder, bad bytes and bad TOML."""
    path = tmp_path / "study.toml"
    path.write_text('name = "é"\n[arms.x]\nlr = 1\n', encoding="utf-8")
    assert read_toml(path) == {"name": "é", "arms": {"x": {"lr": 1}}}
    with pytest.raises(SpecError, match=r"no spec file at '.*none\.toml'"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(SpecError, match="cannot read spec file"):
        read_toml(tmp_path)
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(SpecError, match="cannot read spec file"):
        read_toml(path)
    path.write_text("name = ")
    with pytest.raises(SpecError, match="is not valid TOML"):
        read_toml(path)
