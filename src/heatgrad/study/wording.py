"""Values, differences and lists as people read them."""

from collections.abc import Sequence

from heatgrad.study.metric import Metric

__all__ = ["listed", "plural", "show_difference", "show_p", "show_value"]


def show_value(value: float, metric: Metric, *, signed: bool = False, unit: bool = True) -> str:
    """Return a value or difference of a metric in the digits and unit people read it in.

    Example:
        >>> from heatgrad.study.metric import METRICS
        >>> show_value(0.0042, METRICS["test_accuracy"], signed=True)
        '+0.42 points'
    """
    if not metric.percent and abs(value) >= abs(metric.worst) / 10:
        return "∞" if value > 0 else "−∞"
    shown, digits = (100 * value, 2) if metric.percent else (value, metric.digits)
    shown = round(shown, digits) + 0.0  # no negative zero
    text = f"{shown:+.{digits}f}" if signed else f"{shown:.{digits}f}"
    suffix = (" points" if signed else " %") if metric.percent and unit else ""
    return text.replace("-", "−") + suffix


def show_difference(value: float, metric: Metric, num_blocks: int, *, unit: bool = True) -> str:
    """Return a difference over blocks; in words if a diverged run's rank, no measurement, is in it.

    Example:
        >>> from heatgrad.study.metric import METRICS
        >>> show_difference(-83333.1, METRICS["test_loss"], num_blocks=12)
        'a diverged run (worse)'
    """
    if not metric.percent and abs(value) >= abs(metric.worst) / (2 * num_blocks):
        return f"a diverged run ({'better' if value > 0 else 'worse'})"
    return show_value(value, metric, signed=True, unit=unit)


def show_p(p: float) -> str:
    """Return a p value in two digits, and never as 0.

    Example:
        >>> show_p(0.01953125), show_p(0.0), show_p(1.0)
        ('0.02', '< 0.0001', '1')
    """
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def plural(names: Sequence[str]) -> str:
    """Return the letter that a noun takes before these names: `"s"` or nothing."""
    return "s" if len(names) > 1 else ""


def listed(names: Sequence[str]) -> str:
    """Return names as a phrase.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
