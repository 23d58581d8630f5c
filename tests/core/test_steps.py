"""Steps that are kept: computed once, never half written, of one specification."""

import numpy as np
import pytest

from heatgrad.core.errors import StoreError
from heatgrad.core.steps import Steps


def test_a_step_is_computed_once(tmp_path):
    """Numbers come back to the last bit, NaN and infinity included."""
    calls = []

    def compute():
        calls.append(1)
        return {"value": 0.1, "rows": [["a", float("inf")]], "x": np.array([np.nan, 1e-300])}

    first, again = (Steps(tmp_path / "run", "a").once("one", compute) for _ in range(2))
    assert len(calls) == 1
    assert first["value"] == again["value"] == 0.1
    assert again["rows"] == [["a", float("inf")]]
    np.testing.assert_array_equal(again["x"], [np.nan, 1e-300])


def test_a_folder_is_of_one_specification(tmp_path):
    """Neither another's results nor foreign files are written over."""
    Steps(tmp_path / "run", "a")
    with pytest.raises(StoreError, match="another specification"):
        Steps(tmp_path / "run", "b")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        Steps(tmp_path / "mine", "a")


def test_what_fails_leaves_nothing(tmp_path):
    """An error in a step, a damaged file: the one is not kept, the other is named."""
    steps = Steps(tmp_path / "run", "a")
    with pytest.raises(ZeroDivisionError):
        steps.once("one", lambda: {"value": 1 / 0})
    assert not steps.has("one")
    (tmp_path / "run" / "one.npz").write_bytes(b"no archive")
    with pytest.raises(StoreError, match="damaged"):
        steps.once("one", dict)


def test_a_full_disk_keeps_what_was_done(tmp_path, monkeypatch):
    """The file has its name only once it is whole."""
    steps = Steps(tmp_path / "run", "a")
    steps.once("one", lambda: {"value": 1})

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(StoreError, match="No space left on device"):
        steps.once("two", lambda: {"value": 2})
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["identity.txt", "one.npz"]
