"""Shares of variance: against statsmodels, a known truth, and by what must not change them."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from heatgrad.study.statistics import split_by_dials, variance_shares

PARTS = ("data", "optimizer", "interaction", "seed", "rest")


def shares(result, what="share"):
    """The five parts in order."""
    return np.array([getattr(getattr(result, name), what) for name in PARTS])


def squares(values):
    """Sums of squares by statsmodels: tasks, arms and blocks with all their pairs."""
    t, a, b = np.indices(values.shape)
    frame = pd.DataFrame({"y": values.ravel(), "t": t.ravel(), "a": a.ravel(), "b": b.ravel()})
    table = anova_lm(ols("y ~ (C(t) + C(a) + C(b)) ** 2", frame).fit())
    return {name.replace("C(", "").replace(")", ""): ss for name, ss in table["sum_sq"].items()}


class Truth:
    """A study whose variance is known: fixed effects, and normal luck of five kinds."""

    def __init__(self, tasks, arms, sd, *, skewed=False, seed=0):
        self.rng = np.random.default_rng(seed)
        self.sd, self.skewed, self.shape = sd, skewed, (tasks, arms)
        data = self.rng.normal(size=(tasks, 1, 1))
        optimizer = self.rng.normal(size=(1, arms, 1))
        both = self.rng.normal(size=(tasks, arms, 1))
        both -= both.mean(0) + both.mean(1, keepdims=True) - both.mean()
        fixed = (data - data.mean(), optimizer - optimizer.mean(), both)
        self.fixed = [
            s * x / max(np.sqrt((x**2).mean()), 1e-9) for s, x in zip(sd, fixed, strict=False)
        ]

    def components(self):
        """The variance of a run drawn at random, by part."""
        common, on_task, of_arm, own = (s**2 for s in self.sd[3:])
        arms = self.shape[1]
        seed = common + on_task + (of_arm + own) / arms
        rest = (of_arm + own) * (1 - 1 / arms)
        return np.array([*((x**2).mean() for x in self.fixed), seed, rest])

    def draw(self, blocks):
        """The runs of a new study."""
        tasks, arms = self.shape
        y = sum(self.fixed) + np.zeros((tasks, arms, blocks))
        for s, shape in zip(self.sd[3:], ((1, 1), (tasks, 1), (1, arms), self.shape), strict=True):
            size = (*shape, blocks)
            luck = (
                self.rng.exponential(size=size) - 1 if self.skewed else self.rng.normal(size=size)
            )
            y = y + s * luck
        return y


STRONG = (1.0, 0.1, 0.1, 0.1, 0.2, 0.05, 0.1)
OPTIMIZER = (0.3, 1.0, 0.3, 0.1, 0.2, 0.05, 0.2)
WEAK = (0.1, 0.15, 0.1, 0.3, 0.5, 0.1, 0.3)
NOTHING = (0.0, 0.0, 0.0, 0.3, 0.5, 0.1, 0.3)


def test_sums_of_squares_are_statsmodels():
    """`anova_lm` of all pairs; eta squared is a sum of squares over the total one."""
    values = np.random.default_rng(0).normal(size=(3, 4, 6)) + np.arange(3)[:, None, None]
    ss = squares(values)
    parts = [ss["t"], ss["a"], ss["t:a"], ss["b"] + ss["t:b"], ss["a:b"] + ss["Residual"]]
    total = values.size * values.var()
    eta = shares(variance_shares(values), "eta_squared")
    np.testing.assert_allclose(eta, np.array(parts) / total, atol=1e-12)


def test_components_are_omega_squareds():
    """Sums of squares minus those that chance gives, from the `anova_lm` table."""
    values = Truth(3, 4, WEAK).draw(6)
    ss, n = squares(values), 6
    expected = [
        (ss["t"] - ss["t:b"] / (n - 1)) / values.size,
        (ss["a"] - ss["a:b"] / (n - 1)) / values.size,
        (ss["t:a"] - ss["Residual"] / (n - 1)) / values.size,
        (ss["b"] + ss["t:b"]) / (12 * (n - 1)),
        (ss["a:b"] + ss["Residual"]) / (12 * (n - 1)),
    ]
    result = variance_shares(values)
    np.testing.assert_allclose(shares(result, "component"), expected, atol=1e-12)
    assert result.sd == pytest.approx(np.sqrt(sum(expected)))
    cut = np.maximum(expected, 0)
    np.testing.assert_allclose(shares(result), cut / cut.sum(), atol=1e-12)


@pytest.mark.parametrize("sd", [OPTIMIZER, WEAK, NOTHING])
def test_components_are_unbiased(sd):
    """Over 600 studies their mean is the truth to five standard errors; eta squared is above."""
    truth = Truth(4, 3, sd)
    results = [variance_shares(truth.draw(6)) for _ in range(600)]
    found = np.array([shares(result, "component") for result in results])
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - truth.components()) <= 5 * error).all()
    if sd is NOTHING:
        eta = np.mean([shares(result, "eta_squared") for result in results], axis=0)
        assert eta[0] > 0.05


# As on the theory page, in percent; each part of the study (tasks, arms, blocks) in order.
COVERAGE = [
    (STRONG, (2, 5, 8), False, (93.6, 96.4, 95.6, 94.2, 95.0)),
    (STRONG, (25, 4, 8), False, (97.6, 94.8, 99.0, 95.4, 96.2)),
    (OPTIMIZER, (2, 5, 8), False, (93.8, 94.4, 96.6, 94.2, 95.6)),
    (OPTIMIZER, (25, 4, 20), False, (94.6, 94.2, 95.4, 95.4, 95.0)),
    (OPTIMIZER, (1, 5, 8), False, (100.0, 93.4, 100.0, 87.6, 94.8)),
    (OPTIMIZER, (25, 4, 8), True, (97.4, 94.2, 97.6, 91.0, 95.6)),
    (WEAK, (2, 5, 8), False, (99.0, 95.2, 96.0, 96.2, 96.0)),
    (WEAK, (2, 5, 20), False, (98.2, 93.2, 90.6, 95.8, 94.8)),
    (NOTHING, (25, 4, 8), False, (100.0, 100.0, 100.0, 98.4, 93.6)),
]


def coverage(sd, size, skewed, repetitions=500):
    """Share of studies whose intervals hold the truth, in percent."""
    truth = Truth(*size[:2], sd, skewed=skewed)
    right = truth.components() / truth.components().sum()
    held = np.zeros(5)
    for _ in range(repetitions):
        result = variance_shares(truth.draw(size[2]))
        held += (shares(result, "low") <= right) & (right <= shares(result, "high"))
    return 100 * held / repetitions


@pytest.mark.parametrize(("sd", "size", "skewed", "documented"), COVERAGE)
def test_intervals_cover(sd, size, skewed, documented):
    """The numbers of the theory page; the seed is fixed, so half a point is for rounding."""
    np.testing.assert_allclose(coverage(sd, size, skewed), documented, atol=0.6)


def test_a_percentile_bootstrap_would_not():
    """Resampled blocks are less varied and their means more: why it is not used."""
    truth = Truth(25, 4, NOTHING)
    held = 0
    for _ in range(20):
        values, drawn = truth.draw(8), []
        for _ in range(60):
            sample = values[:, :, truth.rng.integers(0, 8, 8)]
            drawn.append(variance_shares(sample).interaction.share)
        held += np.quantile(drawn, 0.025) <= 0
    assert held < 10


arrays = st.integers(0, 10**6).map(
    lambda seed: np.random.default_rng(seed).normal(size=(3, 2, 4)).round(2)
)


@settings(max_examples=30, deadline=None)
@given(arrays, st.floats(-5, 5), st.floats(0.1, 10), st.booleans())
def test_what_changes_nothing(values, shift, scale, ranks):
    """Order of tasks, arms and blocks, unit, offset and direction of the metric."""
    expected = variance_shares(values, ranks=ranks)
    rng = np.random.default_rng(0)
    moved = values
    for axis in range(3):
        moved = rng.permutation(moved, axis=axis)
    for other in (moved, shift + scale * values, -values):
        # Ranks of values moved by rounding may break ties.
        again = variance_shares(np.round(other, 12) if ranks else other, ranks=ranks)
        for what in ("share", "low", "high", "eta_squared"):
            np.testing.assert_allclose(shares(again, what), shares(expected, what), atol=1e-7)
    assert shares(expected).sum() == pytest.approx(1)
    assert (shares(expected, "low") <= shares(expected)).all()
    assert (shares(expected) <= shares(expected, "high")).all()


def test_ranks_do_not_follow_the_size_of_the_worst_value():
    """A diverged loss of 1e6 or 1e3 is the last rank; as a value it is all of the variance."""
    values = Truth(2, 3, STRONG).draw(8)
    values[0, 0, 0] = 1e6
    large, large_ranks = variance_shares(values), variance_shares(values, ranks=True)
    values[0, 0, 0] = 1e3
    assert variance_shares(values, ranks=True) == large_ranks
    assert large_ranks.is_ranks
    assert large_ranks.data.share > 0.5
    assert large.data.share < 0.1


def test_a_missing_run_drops_its_block():
    """Equal to the study without that block."""
    values = Truth(2, 3, WEAK).draw(8)
    holed = values.copy()
    holed[1, 2, 3] = np.nan
    result = variance_shares(holed)
    assert (result.num_blocks, result.num_dropped) == (7, 1)
    expected = variance_shares(np.delete(values, 3, axis=2))
    np.testing.assert_allclose(shares(result), shares(expected), atol=1e-12)


def test_small_studies_have_defined_answers():
    """One task: no data part. Two blocks: no interval. No luck at all: certain shares."""
    values = Truth(1, 3, WEAK).draw(8)
    one = variance_shares(values)
    assert (one.data.share, one.data.low, one.data.high) == (0, 0, 0)
    assert one.interaction.share == 0
    two = variance_shares(values[:, :, :2])
    assert (two.seed.low, two.seed.high) == (0, 1)
    sure = variance_shares(np.array([[0.5, 0.7], [0.6, 0.8]])[:, :, None].repeat(8, axis=2))
    assert shares(sure) == pytest.approx([0.2, 0.8, 0, 0, 0], abs=1e-12)
    assert sure.optimizer.low == pytest.approx(0.8)
    # All but one block alike: one block says nothing about the spread.
    odd = np.zeros((2, 2, 8))
    odd[0, 0, 0] = 1.0
    assert (variance_shares(odd).rest.low, variance_shares(odd).rest.high) == (0, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 2, 8), 0.1), "values must vary, all 32 are 0.1"),
        (np.ones((2, 8)), "shape .tasks, arms, blocks."),
        (np.ones((2, 1, 8)), "two arms at least"),
        (np.ones((2, 2, 1)), "at least two blocks .* got 1 of 1; finish the study"),
        (np.where(np.eye(4)[None] > 0, np.nan, 1.0).repeat(2, 0), "got 0 of 4"),
        (np.array([[[1.0, np.inf], [1.0, 2.0]]]), "finite or missing, got 1 infinite"),
    ],
)
def test_bad_values(values, message):
    """One line: what is required, what came, what to do."""
    with pytest.raises(ValueError, match=message):
        variance_shares(values)


def grid(*levels):
    """Dials of a full grid."""
    return [
        {f"dial {i}": float(v) for i, v in enumerate(cell)}
        for cell in itertools.product(*(range(k) for k in levels))
    ]


def test_dials_are_statsmodels():
    """`anova_lm` over two dials and the arms: eta squareds of main parts and what is left."""
    dials = grid(3, 2)
    values = np.random.default_rng(0).normal(size=(6, 4, 5))
    t, a, b = np.indices(values.shape)
    frame = pd.DataFrame({"y": values.ravel(), "a": a.ravel(), "b": b.ravel()})
    frame["p"] = [dials[i]["dial 0"] for i in t.ravel()]
    frame["q"] = [dials[i]["dial 1"] for i in t.ravel()]
    ss = anova_lm(ols("y ~ C(p) * C(q) * C(a)", frame).fit())["sum_sq"] / (120 * values.var())
    order = [4, 0, 3, 1, 5, 2]
    result = split_by_dials(values[order], [dials[i] for i in order])
    found = [
        result.dials["dial 0"],
        result.dials["dial 1"],
        result.interplay,
        result.optimizer,
        result.dials_by_optimizer["dial 0"],
        result.dials_by_optimizer["dial 1"],
        result.interplay_by_optimizer,
    ]
    keys = ["C(p)", "C(q)", "C(p):C(q)", "C(a)", "C(p):C(a)", "C(q):C(a)", "C(p):C(q):C(a)"]
    np.testing.assert_allclose([s.eta_squared for s in found], ss[keys], atol=1e-12)
    assert sum(s.share for s in [*found, result.seed, result.rest]) == pytest.approx(1)
    assert result.num_levels == {"dial 0": 3, "dial 1": 2}


def test_dials_divide_data_and_interaction():
    """Components add up to those of the undivided parts; an additive grid has no interplay."""
    values = Truth(8, 3, WEAK).draw(8)
    whole, split = variance_shares(values), split_by_dials(values, grid(2, 2, 2))
    for part, dials, left in (
        (whole.data, split.dials, split.interplay),
        (whole.interaction, split.dials_by_optimizer, split.interplay_by_optimizer),
    ):
        total = sum(s.component for s in dials.values()) + left.component
        assert total == pytest.approx(part.component, abs=1e-14)
    assert split.seed.component == pytest.approx(whole.seed.component)
    sums = np.array([sum(cell.values()) for cell in grid(3, 3)])
    additive = split_by_dials(sums[:, None, None] + np.zeros((9, 2, 4)), grid(3, 3))
    assert additive.interplay.share == pytest.approx(0, abs=1e-12)
    assert additive.dials["dial 0"].share == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        (grid(3, 2)[:5], "2 cells, got 5: dial 0 = 2, dial 1 = 1 is missing; leave out"),
        ([*grid(2, 2), {"dial 0": 0.0, "dial 1": 0.0}], "got 5: some are there twice"),
        (grid(5)[:4], "each of the 5 data sets, got 4 settings"),
        ([*grid(4), {"other": 1.0}], "the same names for each"),
    ],
)
def test_bad_grids(dials, message):
    """A grid with a hole has no orthogonal parts: it is said which cell is missing."""
    values = np.random.default_rng(0).normal(size=(5, 2, 4))
    with pytest.raises(ValueError, match=message):
        split_by_dials(values, dials)
