"""Checks of a model's arguments, made at construction."""

from collections.abc import Sequence

__all__ = ["check_dropout", "check_image", "check_num_classes", "check_sizes"]


def check_sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes as a tuple; raise `ValueError` unless all are positive integers."""
    values = tuple(sizes)
    if not values or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values):
        raise ValueError(f"{name} must be one or more positive integers, got {values}")
    return values


def check_image(input_shape: Sequence[int], *, least: int) -> int:
    """Return the channels of an image's shape.

    Raises:
        ValueError: Unless it is (channels, height, width), with sides of at least `least`.
    """
    shape = check_sizes("input_shape", input_shape)
    if len(shape) != 3 or min(shape[1:]) < least:
        raise ValueError(
            f"input_shape must be (channels, height, width) with height and width at least "
            f"{least}, for two halvings, got {shape}; for other data use SimpleMLP"
        )
    return shape[0]


def check_num_classes(num_classes: int) -> None:
    """Raise `ValueError` unless there are at least two classes."""
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"num_classes must be an integer of at least 2, got {num_classes!r}")


def check_dropout(dropout: float) -> None:
    """Raise `ValueError` unless `dropout` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and less than 1, got {dropout!r}")
