"""The errors a user can cause; the command line turns each into one line and an exit code."""

__all__ = [
    "DataError",
    "HeatgradError",
    "HeatgradWarning",
    "RunError",
    "SpecError",
    "StoreError",
]


class HeatgradError(Exception):
    """Base of the errors that say what is required, what was received and the remedy."""


class HeatgradWarning(UserWarning):
    """A setting that is allowed but rarely meant."""


class SpecError(HeatgradError, ValueError):
    """A specification cannot be used: an unknown key, a wrong value, an unknown name."""


class RunError(HeatgradError, RuntimeError):
    """A run stopped before its end; what was finished is stored. Exit code 1."""


class DataError(HeatgradError, ValueError):
    """A data set is missing or damaged; the message names the path."""


class StoreError(HeatgradError, RuntimeError):
    """A results folder cannot be used: another study, foreign files, a newer schema, read-only."""
