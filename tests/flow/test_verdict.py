"""The verdict on flows whose end is known, and on those where nobody can know."""

import numpy as np
import pytest
import torch

from heatgrad.flow import (
    classify,
    gradient_flow,
    polynomial_fit,
    predicted_exponents,
    valley_start,
)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def judged(t, speed, *, norm=None, loss=None, **options):
    """Classify a planted speed; the path is its integral, the norm the path unless given."""
    pieces = np.diff(t) * (speed[1:] + speed[:-1]) / 2
    path = np.concatenate([[t[0] * speed[0]], t[0] * speed[0] + np.cumsum(pieces)])
    norm = path if norm is None else norm
    loss = t**-0.5 if loss is None else loss
    return classify(t, loss, norm, speed, length=path, **options)


T = np.logspace(-2, 9, 221)


@pytest.mark.parametrize("method", ["lsoda", "rosenbrock"])
@pytest.mark.parametrize(
    ("loss", "start", "word", "k"),
    [
        (lambda x: torch.exp(-x[0]), 0.0, "undecided", -1),
        (lambda x: x[0] ** -2, 1.0, "diverges", -3 / 4),
        (lambda x: x[0] ** -4, 1.0, "diverges", -5 / 6),
        (lambda x: x[0] ** 4 / 4, 1.0, "converges", -3 / 2),
    ],
    ids=["exp(-x)", "x^-2", "x^-4", "x^4/4"],
)
def test_analytic_flows(loss, start, word, k, method):
    """Each has a closed form: log(1 + t), (1 + 8 t)^(1/4), (1 + 24 t)^(1/6), (1 + 2 t)^(-1/2)."""
    flow = gradient_flow(loss, vector(start), t_end=1e8, method=method)
    found = flow.verdict()
    assert found.word == word
    for slope in (found.long, found.short, *found.speed):
        assert slope.value == pytest.approx(k, abs=2e-3)
    assert abs(found.loss_limit) < 1e-9
    assert np.abs(flow.energy_defect).max() < 1e-4


def test_exponents_of_norm_and_loss_are_the_predicted_ones():
    """L = x^-k: the exponents of (A.5), over each separate decade."""
    for k in (2, 4):
        found = gradient_flow(lambda x, k=k: x[0] ** -k, vector(1.0), t_end=1e8).verdict()
        law = predicted_exponents(k)
        assert found.norm[-1].value == pytest.approx(law.norm, abs=1e-3)
        assert found.loss[-1].value == pytest.approx(law.loss, abs=2e-3)
        assert found.speed[-1].value == pytest.approx(law.speed, abs=1e-3)


def test_log_growth_is_named():
    """Here k = -1, as in separable logistic regression: R = a + b log t, and no power law."""
    x = torch.tensor([1.0, 2.0, -1.5], dtype=torch.float64)
    flow = gradient_flow(
        lambda w: torch.nn.functional.softplus(-w[0] * x.abs()).mean(), vector(0.0), t_end=1e10
    )
    found = flow.verdict()
    assert found.word == "undecided"
    assert "log t" in str(found)


@pytest.mark.parametrize("method", ["lsoda", "rosenbrock"])
def test_a_quadratic_stands_still(method):
    """Its speed is rounding, whose fitted exponent means nothing: about -1 or none at all."""
    flow = gradient_flow(
        lambda x: ((x - 3) ** 2 * vector(1.0, 40.0)).sum(), vector(1.0, 2.0), t_end=1e8,
        method=method,
    )  # fmt: skip
    found = flow.verdict()
    assert found.word == "converges"
    assert "stands still" in str(found)
    assert found.loss_limit == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("bend", [1e4, 3e7, 3e8])
def test_planted_transients_are_undecided(bend):
    """The exponent changes from -0.6 to -1.5 (or back) somewhere in or before the window."""
    for early, late in ((-0.6, -1.5), (-1.5, -0.6)):
        speed = T**early * (1 + (T / bend) ** 2) ** ((late - early) / 2)
        inside = bend > 1e5
        found = judged(T, speed)
        assert (found.word == "undecided") == inside, found


def test_windows_that_agree_by_accident_are_undecided():
    """Whole window and last half both give -0.92, but single decades lie on either side of -1."""
    slopes = np.array([-0.9, -1.3, -0.8, -0.6, -1.1, -0.9])  # half a decade each
    knots = np.concatenate([[0], np.cumsum(slopes) / 2])
    x = np.log10(T / T[-1])
    speed = 10 ** np.where(x < -3, -0.75 * (x + 3), np.interp(x, np.arange(-3, 0.1, 0.5), knots))
    found = judged(T, speed)
    assert found.long.value == pytest.approx(-0.92, abs=0.01)
    assert found.short.value == pytest.approx(-0.92, abs=0.01)
    assert found.word == "undecided"
    assert "Single decades" in str(found)


def test_a_wall_far_out():
    """On x^-2 with a wall at 178: before it is felt no method can tell, then undecided, still."""

    def loss(x):
        return x[0] ** -2 + 1e-9 * x[0] ** 2

    words = [gradient_flow(loss, vector(1.0), t_end=t).verdict().word for t in (1e5, 1e8, 1e14)]
    assert words == ["diverges", "undecided", "converges"]


def test_a_constant_speed_is_a_transient():
    """A weak quadratic, far from its minimum: t^0 cannot go on, for the loss is bounded below."""
    flow = gradient_flow(lambda x: 1e-12 * (x[0] - 1e6) ** 2, vector(1.0), t_end=1e8)
    assert flow.verdict().word == "undecided"
    assert "bounded below" in str(flow.verdict())


@pytest.mark.parametrize(
    ("loss", "start", "t_end"),
    [
        (lambda x: x[0] ** -2, 1e3, 1e4),
        (lambda x: x[0] ** -2, 1e4, 1e8),
        (lambda x: x[0] ** -2, 1.0, 1e-7),
        (lambda x: torch.exp(-x[0]), 20.0, 100.0),
        (lambda x: 1e-9 * x[0], 1.0, 1.0),
        (lambda x: (x**2).sum() / 2, 1.0, 1e-8),
        (lambda x: x[0] ** -2 + x[1] ** 2, 1e4, 1e5),
    ],
)
@pytest.mark.parametrize("method", ["lsoda", "rosenbrock"])
def test_a_path_too_short_to_be_seen_is_undecided(loss, start, t_end, method):
    """x^-2 and exp(-x) have no critical point; the others have not come near theirs, if any."""
    flow = gradient_flow(loss, vector(start, 1.0), t_end=t_end, method=method)
    assert flow.verdict().word == "undecided"


@pytest.mark.parametrize("step", [0.01, 0.03])
def test_the_best_starts_do_not_stand_still(step):
    """A finite difference of GELU fits x² the better, the farther out it is: no end is near."""
    fit = polynomial_fit((0, 0, 1), activation="gelu", hidden=(2,))
    flow = gradient_flow(fit, valley_start(fit, step), t_end=1e10)
    assert flow.verdict().word != "converges"


def test_no_growth_yet_is_undecided():
    """A path that would be infinite, on a norm of 1e6 that it has not moved."""
    found = judged(T, 1e-3 * T**-0.75, norm=1e6 + 0.004 * T**0.25)
    assert found.word == "undecided"
    assert "so far" in str(found)


def test_energy_must_agree():
    """A speed that does not pay for the fall of the loss is not to be trusted."""
    speed = T**-0.75
    energy = np.cumsum(np.concatenate([[0], np.diff(T) * (speed[1:] ** 2 + speed[:-1] ** 2) / 2]))
    good = 2 * T**-0.5
    assert judged(T, speed, loss=good, energy=energy).word == "diverges"
    found = judged(T, speed, loss=2 * good, energy=energy)
    assert found.word == "undecided"
    assert "disagree" in str(found)


def test_short_failed_and_broken_records_are_undecided():
    early = T < 3
    assert "decades" in str(judged(T[early], T[early] ** -0.75))
    assert judged(T, T**-0.75, failed=True, ended="failed: x").word == "undecided"
    assert judged(T, np.where(T > 1e8, np.nan, T**-0.75)).word == "undecided"
    assert judged(T, T**-0.75, ended="stopped: after 1 second").word == "diverges"


@pytest.mark.parametrize("limit", [0.0, 0.3])
def test_limit_of_the_loss(limit):
    """A power law's limit is found exactly, and the loss's exponent is that above it."""
    found = judged(T, T**-0.75, loss=limit + 0.7 * T**-0.25)
    assert found.loss_limit == pytest.approx(limit, abs=1e-5)
    assert found.loss[-1].value == pytest.approx(-0.25, abs=1e-2)


def test_standard_errors():
    """With independent noise in the log of the speed the error is that of least squares."""
    rng = np.random.default_rng(0)
    found = [judged(T, T**-0.75 * np.exp(0.02 * rng.standard_normal(len(T)))) for _ in range(200)]
    spread = np.std([f.long.value for f in found])
    assert np.mean([f.long.error for f in found]) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("k", [0, -1, np.inf, np.nan])
def test_power_must_be_positive(k):
    with pytest.raises(ValueError, match="k must be positive"):
        predicted_exponents(k)


def test_refusals():
    with pytest.raises(ValueError, match="as long"):
        classify(T, T[:-1], T, T, length=T)
    with pytest.raises(ValueError, match="decades"):
        classify(T, T, T, T, length=T, decades=0)
