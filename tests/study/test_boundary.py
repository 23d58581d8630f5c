"""The fitted boundary of a phase map, against statsmodels and brute force."""

import numpy as np
import pytest
import statsmodels.api as sm

from heatgrad.study.statistics import fit_boundary

TURNS, NOISE = (axis.ravel() for axis in np.meshgrid(np.arange(1.0, 6), np.linspace(0, 0.4, 5)))
CELLS = np.column_stack([TURNS, NOISE])


def gains(slope=1.0, blocks=8, seed=0):
    """Differences whose sign leans on both dials and on their product."""
    rng = np.random.default_rng(seed)
    z = (CELLS - CELLS.mean(0)) / CELLS.std(0)
    eta = slope * (z[:, 0] - z[:, 1] + 0.5 * z[:, 0] * z[:, 1]) + 0.3
    return eta[:, None] + rng.logistic(size=(len(CELLS), blocks))


def logit(cells, differences):
    """Statsmodels' Logit, a row per run, of standardised dials and their product."""
    z = (cells - CELLS.mean(0)) / CELLS.std(0)
    design = np.column_stack([np.ones(len(z)), z, z.prod(axis=1)])
    rows = np.repeat(design, differences.shape[1], axis=0)
    return design, sm.Logit((differences > 0).ravel().astype(float), rows).fit(disp=0)


def test_coefficients_are_statsmodels():
    """`Logit` without a ridge, where wins and losses overlap."""
    differences = gains()
    fit = fit_boundary(CELLS, differences, ridge=0.0)
    design, theirs = logit(CELLS, differences)
    assert fit.converged
    assert fit.coefficients == pytest.approx(theirs.params, abs=1e-7)
    assert fit.probability(CELLS) == pytest.approx(theirs.predict(design), abs=1e-8)
    assert (fit.num_cells, fit.num_runs) == (25, 200)


def test_ridge_is_statsmodels_penalty():
    """The ridge's fit has a zero gradient: statsmodels' score equals ridge times coefficients."""
    differences = gains()
    fit = fit_boundary(CELLS, differences, ridge=2.0)
    _, theirs = logit(CELLS, differences)
    score = theirs.model.score(np.array(fit.coefficients))
    assert score == pytest.approx(2.0 * np.array(fit.coefficients), abs=1e-6)


def test_left_out_cells_are_predicted_as_by_brute_force():
    """Each cell left out of a fit of statsmodels; the constant is the share of the others."""
    differences = gains(blocks=6)
    loss = constant = right = 0.0
    for cell in range(len(CELLS)):
        others = np.arange(len(CELLS)) != cell
        _, fit = logit(CELLS[others], differences[others])
        p = fit.predict(logit(CELLS, differences)[0][cell][None])[0]
        won = differences[cell] > 0
        loss -= np.log(np.where(won, p, 1 - p)).sum()
        right += (won == (p > 0.5)).sum()
        share = (differences[others] > 0).mean()
        constant -= np.log(np.where(won, share, 1 - share)).sum()
    found = fit_boundary(CELLS, differences, ridge=0.0).prediction
    assert found.log_loss == pytest.approx(loss / differences.size, abs=1e-7)
    assert found.accuracy == pytest.approx(right / differences.size)
    assert found.constant_log_loss == pytest.approx(constant / differences.size, abs=1e-7)
    assert found.is_better


def test_separated_cells_need_the_ridge():
    """A clean line: finite with a ridge; without one the fit says that it did not converge."""
    differences = np.repeat(np.sign(TURNS - 2.5)[:, None], 8, axis=1)
    fit = fit_boundary(CELLS, differences)
    assert fit.converged
    assert fit.prediction.accuracy == 1
    assert fit.prediction.is_better
    at = fit.probability(np.array([[1.0, 0.2], [5.0, 0.2]]))
    assert at[0] < 0.01 < 0.99 < at[1]
    assert not fit_boundary(CELLS, differences, ridge=0.0).converged


def test_an_arm_that_always_wins_has_no_boundary():
    """The constant predicts as well, and no cell lies on the other side."""
    fit = fit_boundary(CELLS, np.ones((25, 8)))
    assert (fit.probability(CELLS) > 0.9).all()
    assert fit.prediction.accuracy == fit.prediction.constant_accuracy == 1


def test_coins_are_seldom_predicted():
    """The docstring's 13 % of maps without a boundary, within four standard errors of 60."""
    rng = np.random.default_rng(0)
    fits = [fit_boundary(CELLS, rng.normal(size=(25, 8))) for _ in range(60)]
    rate = np.mean([fit.prediction.is_better for fit in fits])
    assert rate <= 0.13 + 4 * np.sqrt(0.13 * 0.87 / 60)


def test_what_changes_nothing():
    """Order of cells and blocks, units of the dials, missing pairs filled or left out."""
    differences = gains(blocks=6)
    fit = fit_boundary(CELLS, differences)
    order = np.random.default_rng(0).permutation(25)
    again = fit_boundary(10 * CELLS[order] - 3, differences[order][:, ::-1])
    assert again.coefficients == pytest.approx(fit.coefficients, abs=1e-7)
    assert again.prediction.log_loss == pytest.approx(fit.prediction.log_loss, abs=1e-7)
    holes = np.column_stack([differences, np.full((25, 2), np.nan)])
    assert fit_boundary(CELLS, holes) == fit


def test_ties_are_half_wins_and_a_margin_moves_them():
    """All ties: probability 1/2, half of the runs right; a margin turns ties into losses."""
    fit = fit_boundary(CELLS, np.zeros((25, 4)))
    assert fit.coefficients == (0, 0, 0, 0)
    assert fit.prediction.accuracy == 0.5
    assert fit.prediction.log_loss == pytest.approx(np.log(2))
    assert (fit_boundary(CELLS, np.zeros((25, 4)), margin=0.1).probability(CELLS) < 0.1).all()


@pytest.mark.parametrize(
    ("cells", "differences", "options", "message"),
    [
        (CELLS[:4], np.ones((4, 8)), {}, "at least 5 cells"),
        (CELLS, np.ones((24, 8)), {}, r"got shapes \(25, 2\) and \(24, 8\)"),
        (np.column_stack([TURNS, 0 * NOISE]), np.ones((25, 8)), {}, "got one of 0 alone"),
        (CELLS, np.full((25, 8), np.inf), {}, "finite or missing"),
        (CELLS, np.full((25, 8), np.nan), {}, "got none at"),
        (CELLS, np.ones((25, 8)), {"ridge": -1.0}, "at least 0, got 0.0 and -1.0"),
    ],
)
def test_bad_maps(cells, differences, options, message):
    """One line: what is required, what came, what to do."""
    with pytest.raises(ValueError, match=message):
        fit_boundary(cells, differences, **options)
