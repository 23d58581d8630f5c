"""Checks of a task's options, made at construction."""

import math

__all__ = ["check_int", "check_positive", "check_split"]


def check_int(name: str, value: object, *, at_least: int) -> None:
    """Raise `ValueError` unless `value` is an integer of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}, got {value!r}")


def check_positive(name: str, value: float) -> None:
    """Raise `ValueError` unless `value` is a positive finite number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be positive and finite, got {value!r}")


def check_split(num_samples: int, num_test: int) -> None:
    """Raise `ValueError` unless some samples are left for training."""
    if num_test >= num_samples:
        raise ValueError(
            f"num_test must be less than num_samples = {num_samples}, which counts both parts, "
            f"got {num_test}"
        )
