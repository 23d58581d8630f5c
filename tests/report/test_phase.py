import numpy as np
import pytest

from heatgrad.report.phase import PhaseCell, _draw_boundary, crosses, phase_map, plot_phase
from heatgrad.report.theme import VERDICT_COLORS
from heatgrad.study import METRICS
from heatgrad.study.statistics import Boundary, Prediction

ACCURACY, LOSS = METRICS["test_accuracy"], METRICS["test_loss"]
DIALS = {"x_name": "turns", "y_name": "label noise"}
CELLS = {
    (1.0, 0.0): PhaseCell("HELPS", 0.021, 8, 0.01),
    (4.0, 0.0): PhaseCell("HELPS", 0.031, 8, 0.2),
    (1.0, 0.4): PhaseCell("EQUIVALENT", 0.0, 9, 0.8),
    (2.0, 0.4): PhaseCell("NO VERDICT", None, 3),
}


def drawn(ax):
    """Return the words, numbers and rectangles of every cell by its place."""
    texts, boxes = {}, {}
    for text in ax.texts:
        x, y = text.get_position()
        texts.setdefault((round(x), round(y)), []).append(text.get_text())
    for box in ax.patches:
        x, y = box.get_center()
        boxes[round(x), round(y)] = box
    return texts, boxes


def test_every_cell_stands_at_its_dials(ax):
    assert plot_phase(ax, CELLS, metric=ACCURACY, **DIALS) is ax
    texts, boxes = drawn(ax)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "2", "4"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "0.4"]
    assert texts == {
        (0, 0): ["HELPS", "+2.10", "n = 8"],
        (2, 0): ["HELPS?", "+3.10", "n = 8"],
        (0, 1): ["EQUAL", "+0.00", "n = 9"],
        (1, 1): ["TOO FEW", "", "n = 3"],
    }
    assert set(boxes) == set(texts)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("turns", "label noise")


def test_a_claim_without_a_small_q_is_pale(ax):
    """The word EQUIVALENT claims no difference: a large q is what it should have."""
    plot_phase(ax, CELLS, metric=ACCURACY, **DIALS)
    alphas = {place: box.get_facecolor()[3] for place, box in drawn(ax)[1].items()}
    assert alphas == {(0, 0): 1, (2, 0): 0.35, (0, 1): 1, (1, 1): 1}


@pytest.mark.parametrize(("q", "is_lead"), [(None, False), (0.05, False), (0.0501, True)])
@pytest.mark.parametrize("word", ["HELPS", "HELPS-NOT-BECAUSE", "HURTS", "TRIVIAL"])
def test_leads(word, q, is_lead):
    assert PhaseCell(word, 0.1, 8, q).is_lead == is_lead


@pytest.mark.parametrize("word", VERDICT_COLORS)
def test_every_word_fits_its_cell(ax, word):
    """Five columns on a phone: the widest word is narrower than its cell."""
    ax.figure.set_size_inches(5.5, 4)
    cells = {(x, y): PhaseCell(word, 0.1, 8, 0.5) for x in range(5) for y in range(5)}
    plot_phase(ax, cells, metric=ACCURACY, **DIALS)
    ax.figure.draw_without_rendering()
    box = ax.patches[0].get_window_extent()
    for text in ax.texts[:3]:
        assert text.get_window_extent().width < box.width
        assert text.get_window_extent().y0 >= box.y0
        assert text.get_window_extent().y1 <= box.y1


def test_arms_share_their_dials():
    """An arm that lacks a setting keeps its place empty."""
    picture = phase_map(
        {"a": CELLS, "b": {(2.0, 0.0): PhaseCell("HURTS", -1.0, 8)}, "none": {}},
        "turns",
        "label $noise",
        metric=LOSS,
    )
    assert len(picture.svgs) == 2
    assert 'aria-label="Verdicts on b over turns and label $noise"' in picture.svgs[1]
    for tick in (">1<", ">2<", ">4<", ">0.4<"):
        assert tick in picture.svgs[1]
    assert "n = 3 to 9" in picture.caption
    assert "EQUAL is EQUIVALENT; TOO FEW is NO VERDICT." in picture.caption
    assert "a lead and no finding" in picture.caption
    assert "points" not in picture.caption


def test_a_caption_explains_only_what_is_there():
    picture = phase_map({"a": {(1, 1): CELLS[1.0, 0.0]}}, "x", "y", metric=ACCURACY)
    assert " is " not in picture.caption
    assert "lead" not in picture.caption
    assert "in points" in picture.caption


def test_a_diverged_run_is_a_word():
    picture = phase_map({"a": {(1, 1): PhaseCell("HURTS", -2e5, 8)}}, "x", "y", metric=LOSS)
    assert ">diverged<" in picture.svgs[0]


def test_a_cell_of_a_verdict(make_results):
    verdict = make_results().verdicts()[0]
    cell = PhaseCell.of(verdict)
    assert (cell.word, cell.n) == (verdict.word, 8)
    assert cell.difference == verdict.comparison.mean
    assert PhaseCell.of(verdict, q=0.3).q == 0.3
    few = make_results(seeds=3).verdicts()[0]
    assert PhaseCell.of(few) == PhaseCell("NO VERDICT", None, 3)


def test_what_cannot_be_drawn_is_refused(ax):
    with pytest.raises(ValueError, match="at least one setting of the dials, got none"):
        plot_phase(ax, {}, metric=ACCURACY, **DIALS)
    with pytest.raises(ValueError, match="at least one setting of the dials, got none"):
        phase_map({"a": {}}, "x", "y", metric=ACCURACY)
    wrong = {(1, 0.5): PhaseCell("GREAT", 0.1, 8)}
    with pytest.raises(ValueError, match=r"cell at \(1, 0.5\) must have one of the words HELPS.*G"):
        plot_phase(ax, wrong, metric=ACCURACY, **DIALS)


def boundary(coefficients, *, log_loss=0.2):
    """Return a boundary on a map of three columns and two rows."""
    return Boundary(
        coefficients=coefficients,
        centers=(1.0, 0.5),
        scales=(1.0, 1.0),
        prediction=Prediction(log_loss, 0.9, 0.6, 0.5),
        num_cells=6,
        num_runs=48,
        converged=True,
    )


def test_a_boundary_is_drawn_where_it_predicts_and_crosses():
    """Upright through the middle column; not one that predicts worse, nor one beyond the map."""
    upright = boundary((0.0, 4.0, 0.0, 0.0))
    assert crosses(upright, 3, 2)
    assert not crosses(boundary((0.0, 4.0, 0.0, 0.0), log_loss=0.7), 3, 2)
    assert not crosses(boundary((9.0, 4.0, 0.0, 0.0)), 3, 2)
    plain = phase_map({"a": CELLS}, "x", "y", metric=ACCURACY)
    picture = phase_map({"a": CELLS}, "x", "y", metric=ACCURACY, boundaries={"a": upright})
    assert "even odds" in picture.caption
    assert "a 0.20 against 0.60" in picture.caption
    assert "even odds" not in plain.caption
    assert len(picture.svgs[0]) > len(plain.svgs[0])


def test_a_boundary_lies_where_the_odds_are_even(ax):
    """Even odds where -2 + 2 (column - 1) + 4 (row - 1/2) = 0: column 3 below, 1 above."""
    _draw_boundary(ax, boundary((-2.0, 2.0, 4.0, 0.0)), 4, 2)
    (path,) = ax.collections[0].get_paths()
    columns, rows = path.vertices.T
    np.testing.assert_allclose(2 * (columns - 1) + 4 * (rows - 0.5), 2, atol=1e-2)
    assert rows.min() == 0
    assert rows.max() == 1
