"""Scores of one case: against numbers known by hand."""

import pytest
import torch

from heatgrad.solving.answer import Answer
from heatgrad.solving.scoring import score_field, wrong_pixels


def test_scores_of_known_draws():
    """Draws 1 ± s of a truth 1: the mean is right, a draw errs by s, and all is in the band."""
    ones = torch.ones(4, 8, 8, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0]).double()[:, None, None]
    draws = {"u": ones + 0.1 * signs}
    truth = {"u": ones[:1]}
    score = score_field(Answer({"u": ones[:1]}, draws, 0, 0.0), truth, "u")
    assert (score.mean_error, score.coverage) == (0.0, 1.0)
    assert score.draw_error == pytest.approx(0.1)
    assert score.crps == pytest.approx(0.1 - 0.5 * 0.2 * 8 / 12)


def test_pairs_are_not_taken_for_independent_draws():
    """Of pairs from opposite noise every second draw counts: here all of them are alike."""
    ones = torch.ones(4, 8, 8, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0]).double()[:, None, None]
    answer = Answer({"u": ones[:1]}, {"u": ones + 0.1 * signs}, 0, 0.0, pairs=True)
    score = score_field(answer, {"u": ones[:1]}, "u")
    assert score.coverage == 0.0
    assert score.crps == pytest.approx(0.1)


def test_wrong_pixels():
    """One of four on the wrong side of halfway."""
    truth = torch.tensor([[3.0, 12.0], [12.0, 3.0]])
    assert wrong_pixels(torch.tensor([[3.0, 7.6], [7.4, -1.0]]), truth) == 0.25
