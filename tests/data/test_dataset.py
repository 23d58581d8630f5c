import dataclasses

import pytest
import torch

from heatgrad.data import Ceiling, Dataset


def arrays(**changes):
    x, y = torch.zeros(4, 3), torch.tensor([0, 1, 2, 1])
    fields = {"x_train": x, "y_train": y, "y_train_clean": y, "num_classes": 3}
    fields |= {"x_test": x[:2], "y_test": y[:2], "y_test_clean": y[:2]}
    return fields | changes


def test_fields_and_input_shape():
    """What goes in comes out, and the labels of a clean data set are clean."""
    fields = arrays()
    data = Dataset(**fields)
    assert data.input_shape == (3,)
    assert data.x_train is fields["x_train"]
    assert data.ceiling is None
    del fields["y_train_clean"], fields["y_test_clean"]
    assert Dataset.from_clean(**fields).y_test_clean is fields["y_test"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": torch.zeros(4, 3).double()}, r"x_train must be float32, got torch.float64"),
        ({"x_train": torch.zeros(4)}, r"x_train must have shape .* got \(4,\)"),
        ({"x_test": torch.zeros(0, 3)}, r"x_test must have shape .* got \(0, 3\)"),
        ({"x_test": torch.zeros(2, 4)}, r"one shape per sample, got \(3,\) and \(4,\)"),
        ({"x_train": torch.full((4, 3), float("nan"))}, r"x_train must be finite"),
        ({"y_train": torch.zeros(3, dtype=torch.int64)}, r"y_train must .* \(4,\), got \(3,\)"),
        ({"y_test": torch.zeros(2)}, r"y_test must be int64, got torch.float32"),
        ({"y_test_clean": torch.tensor([0, 3])}, r"y_test_clean must be in 0..2, got 0..3"),
        ({"y_train_clean": torch.tensor([0, -1, 0, 0])}, r"must be in 0..2, got -1..0"),
        ({"num_classes": 1}, r"num_classes must be at least 2, got 1"),
    ],
)
def test_unfit_arrays_are_refused(changes, message):
    """The message names the field, the requirement and what came."""
    with pytest.raises(ValueError, match=message):
        Dataset(**arrays(**changes))


@pytest.mark.parametrize(
    "changes", [{"x_train": [[0.0]]}, {"y_test": [0, 1]}, {"num_classes": 2.0}]
)
def test_wrong_types_are_refused(changes):
    """Lists and floats are type errors."""
    with pytest.raises(TypeError, match=f"{next(iter(changes))} must be"):
        Dataset(**arrays(**changes))


def test_ceiling_is_checked_and_frozen():
    """An accuracy lies in [0, 1]; NaN is no standard error."""
    with pytest.raises(ValueError, match=r"clean must be in \[0, 1\], got 1.1"):
        Ceiling(clean=1.1, noisy=0.5, stderr=0.0)
    with pytest.raises(ValueError, match="stderr must be at least 0, got nan"):
        Ceiling(clean=1.0, noisy=0.5, stderr=float("nan"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Ceiling(clean=1.0, noisy=1.0, stderr=0.0).clean = 0.5
