"""How a calibration is shown."""

from collections.abc import Sequence

from rich.table import Table

from heatgrad.cli.console import text_console
from heatgrad.study.calibrate import FAMILY, SHAPES, Calibration

__all__ = ["print_calibration"]


def print_calibration(found: Sequence[Calibration]) -> None:
    """Print one line per shape of noise, and what each column should be."""
    console, first = text_console(), found[0]
    console.print(
        f"{first.studies:,} comparisons of {first.seeds} pairs without a difference, and as many "
        f"with one of twice the margin, per shape of noise"
    )
    table = Table(
        "noise", "p <= 0.05", "HELPS + HURTS", f"families of {FAMILY}",
        "coverage: sign-flip", "t", "BCa", "effect found",
    )  # fmt: skip
    low, high = first.band
    table.add_row(
        "should be",
        f"{_percent(first.level)} ({_percent(low)} to {_percent(high)})",
        f"at most {_percent(high)}",
        f"at most {_percent(first.families_band)}",
        "93 to 97 %",
        "",
        "",
        f"{_percent(first.promised)} (at least {_percent(first.found_band[0])})",
        end_section=True,
    )
    for result in found:
        shares = (
            result.rate, result.claims, result.families,
            result.coverage, result.t_coverage, result.bca_coverage, result.found,
        )  # fmt: skip
        table.add_row(SHAPES[result.shape].label, *map(_percent, shares))
    console.print(table)
    console.print("(exact 99 % binomial bands; ties may bring p <= 0.05 below its band)")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
