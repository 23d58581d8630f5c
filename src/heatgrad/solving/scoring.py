"""How good an answer is where the truth is known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from heatgrad.inverse import coverage, crps, relative_error
from heatgrad.solving.answer import Answer
from heatgrad.solving.problems import Problem

__all__ = ["LEVEL", "FieldScore", "residuals_of", "score_field", "wrong_pixels"]

_JUDGED = 2  # draws whose residual is computed

LEVEL = 0.9
"""Probability of the bands whose coverage is told [1]."""


@dataclass(frozen=True)
class FieldScore:
    """How good an answer is in one field.

    Attributes:
        mean_error: Relative error of the posterior mean, $|m - x| / |x|$ [1].
        draw_error: Mean relative error of one draw [1].
        coverage: Share of points where the truth lies in the 90 % band of the draws [1].
        crps: Continuous ranked probability score, mean over points, over the root mean square of
            the truth [1].
    """

    mean_error: float
    draw_error: float
    coverage: float
    crps: float


def score_field(answer: Answer, truth: Mapping[str, Tensor], field: str) -> FieldScore:
    """Return the scores of one case in one field.

    Args:
        answer: With one mean and several draws.
        truth: Each field, shape (1, n, n).
        field: Which.
    """
    true, draws = truth[field], answer.draws[field]
    single = answer.independent(field)
    size = float(true.square().mean().sqrt())
    return FieldScore(
        mean_error=float(relative_error(answer.mean[field], true)),
        draw_error=float(relative_error(draws, true.expand_as(draws)).mean()),
        coverage=float(coverage(single, true[0], LEVEL).mean()),
        crps=float(crps(single, true[0]).mean()) / size if size else math.nan,
    )


def residuals_of(problem: Problem, answer: Answer) -> tuple[float, float]:
    """Return the relative residual of the mean, and the mean one of the first draws.

    Of a few draws alone: an independent discretisation may take longer than the answer.
    """
    some = {name: field[:_JUDGED] for name, field in answer.draws.items()}
    return float(problem.residual(answer.mean).mean()), float(problem.residual(some).mean())


def wrong_pixels(found: Tensor, truth: Tensor) -> float:
    """Return the share of points on the wrong side of a medium of two values.

    Args:
        found: Shape (..., n, n).
        truth: Of two values, that broadcasts against it.

    Example:
        >>> import torch
        >>> wrong_pixels(torch.tensor([[4.0, 11.0]]), torch.tensor([[12.0, 3.0]]))
        1.0
    """
    middle = (truth.max() + truth.min()) / 2
    return float(((found > middle) != (truth > middle)).double().mean())
