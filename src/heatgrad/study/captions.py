"""What stands beside verdicts: the adjusted p value, and what all of a task's hang on."""

from collections.abc import Sequence

from heatgrad.study.verdict import Verdict
from heatgrad.study.wording import show_p, show_value

__all__ = ["conditions", "show_adjusted"]


def show_adjusted(verdict: Verdict) -> str:
    """Return the p value of what the word claims, adjusted; q of an exploratory arm."""
    if verdict.q is not None:
        return f"q {show_p(verdict.q)}"
    is_member = verdict.question.role == "confirmatory"
    if not is_member or verdict.adjusted is None or verdict.word in ("INVALID", "FLOOR"):
        return "-"
    return show_p(verdict.adjusted.difference if verdict.p is None else verdict.p)


def conditions(verdicts: Sequence[Verdict]) -> str:
    """Return what all verdicts on a task hang on, in one line."""
    if not verdicts:
        return ""
    q = next((v.question for v in verdicts if v.question.role == "confirmatory"), None)
    first = q or verdicts[0].question
    margin = show_value(first.margin, first.metric, signed=True).lstrip("+")
    budget = [] if first.budget is None else [f"K = {first.budget}"]
    parts = [f"regime {first.regime}", *budget, f"margin {margin}", "a gain is positive"]
    if q is not None and q.family_size > 1:
        parts.append(f"Holm over {q.family_size} comparisons")
    fixed = [v.question.fixed for v in verdicts if v.question.fixed]
    if fixed and first.budget is not None:
        # Arms that tune other options have other lists: then all is named, once.
        is_even = len({len(options) for options in fixed}) == 1
        columns = zip(*fixed, strict=True) if is_even else [[o] for some in fixed for o in some]
        options = dict.fromkeys(" / ".join(dict.fromkeys(values)) for values in columns)
        parts.append(f"not tuned: {', '.join(options)}")
    return "; ".join(parts)
