"""First-passage times by quadrature, against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special

from heatgrad.fokker_planck.escape.passage import (
    mean_first_passage_1d,
    mean_first_passage_ito,
    process_passage,
)
from heatgrad.fokker_planck.processes.ito import Ito
from heatgrad.fokker_planck.processes.langevin import Langevin


def flat(x):
    return 0 * x.sum()


def bowl(x):
    return (x**2).sum() / 2


def double_well(x):
    return ((x**2 - 1) ** 2).sum() / 4


def test_brownian_motion_between_a_mirror_and_a_target():
    """(L² - x²) / 2D and (5 L⁴ - 6 L² x² + x⁴) / 12 D², both ways round and from the mirror."""
    D, L = 0.7, 3.0
    for x in (0.0, 1.3, 2.999):
        for sign in (1.0, -1.0):
            found = mean_first_passage_1d(flat, D, sign * x, sign * L, reflect=0.0, moments=2)
            assert found.value == pytest.approx((L**2 - x**2) / (2 * D), rel=1e-12)
            second = (5 * L**4 - 6 * L**2 * x**2 + x**4) / (12 * D**2)
            assert found.second_moment == pytest.approx(second, rel=1e-12)
            assert found.status == "converged"


def test_brownian_motion_between_two_targets():
    """(x - a) (b - x) / 2D and x (L³ - 2 L x² + x³) / 12 D²."""
    found = mean_first_passage_1d(flat, 0.7, 0.3, (-1.0, 2.0), moments=2)
    x, L = 1.3, 3.0
    assert found.value == pytest.approx(x * (L - x) / 1.4, rel=1e-12)
    assert found.second_moment == pytest.approx(
        x * (L**3 - 2 * L * x**2 + x**3) / (12 * 0.49), rel=1e-12
    )


@pytest.mark.parametrize(
    ("T", "x0", "b"), [(0.5, -1.0, 2.0), (0.05, 0.0, 1.0), (1.0, -3.0, -1.0), (1e-3, 0.0, 0.5)]
)
def test_ornstein_uhlenbeck(T, x0, b):
    """sqrt(pi) int erfcx(-u) du between the places over sqrt(2 T), by scipy's function."""
    s = math.sqrt(2 * T)
    truth = integrate.quad(
        lambda u: math.sqrt(math.pi) * special.erfcx(-u),
        x0 / s,
        b / s,
        epsabs=0,
        epsrel=1e-12,
        limit=500,
    )[0]
    for found in (
        mean_first_passage_1d(bowl, T, x0, b),
        mean_first_passage_1d(bowl, T, -x0, -b),
        mean_first_passage_ito(lambda x: -x, T, x0, b),
        process_passage(Langevin(bowl, T), x0, b),
    ):
        assert found.value == pytest.approx(truth, rel=1e-10)
        assert found.relative_error < 1e-9


def test_second_moment_of_ornstein_uhlenbeck():
    """The known variance of its first passage, from the series of Laplace's transform.

    E e^{-s tau} = D_{-s}(-x0) e^{x0²/4} / (D_{-s}(-b) e^{b²/4}) at T = 1: differentiated twice in
    50 digits.
    """
    mpmath = pytest.importorskip("mpmath")
    x0, b = -0.5, 1.0
    with mpmath.workdps(40):

        def transform(s):
            return (
                mpmath.pcfd(-s, -x0)
                * mpmath.exp(mpmath.mpf(x0) ** 2 / 4)
                / (mpmath.pcfd(-s, -b) * mpmath.exp(mpmath.mpf(b) ** 2 / 4))
            )

        first, second = -mpmath.diff(transform, 0, 1), mpmath.diff(transform, 0, 2)
    found = mean_first_passage_1d(bowl, 1.0, x0, b, moments=2)
    assert found.value == pytest.approx(float(first), rel=1e-9)
    assert found.second_moment == pytest.approx(float(second), rel=1e-9)


def test_geometric_brownian_motion():
    """D(x) of its own: log(b / x) / (mu - s²/2), and its inverse Gaussian variance."""
    mu, s = 1.0, 0.5
    v = mu - s**2 / 2
    found = mean_first_passage_ito(
        lambda x: mu * x, lambda x: s**2 * x**2 / 2, 1.0, 3.0, reflect=1e-12, moments=2
    )
    mean = math.log(3) / v
    assert found.value == pytest.approx(mean, rel=1e-10)
    assert found.second_moment - found.value**2 == pytest.approx(mean * s**2 / v**2, rel=1e-9)
    process = Ito(lambda x: mu * x, lambda x: (s * x).square().reshape(1, 1) / 2)
    to_both = process_passage(process, 1.0, (0.5, 3.0))
    # Wald: the log has drift v and stops at either side with the odds of e^{-2 v / s²}.
    odds = (1 - 2 ** (2 * v / s**2)) / (3 ** (-2 * v / s**2) - 2 ** (2 * v / s**2))
    truth = (odds * math.log(3) + (1 - odds) * math.log(0.5)) / v
    assert to_both.value == pytest.approx(truth, rel=1e-10)


def test_radial_brownian_motion_in_a_ball():
    """Drift (d - 1) D / r of the radius: (R² - r²) / (2 d D)."""
    for d in (2, 3, 7):
        found = mean_first_passage_ito(
            lambda r, d=d: (d - 1) * 0.6 / r, 0.6, 0.4, 1.5, reflect=1e-7
        )
        assert found.value == pytest.approx((1.5**2 - 0.4**2) / (2 * d * 0.6), rel=1e-10)


def test_no_overflow_at_low_temperature():
    """Barrier over temperature from 2.5 to 25000: Eyring and Kramers with an error of order T.

    Its first correction, 3/2 T for this well, is known from Laplace's method to second order.
    """
    ratios = []
    for T in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
        found = mean_first_passage_1d(double_well, T, -1.0, 0.0)
        law = math.log(math.pi / math.sqrt(2)) + 0.25 / T
        assert found.status == "converged"
        if T < 5e-2:
            ratios.append((found.log_value - law) / T)
    assert ratios == pytest.approx([1.5] * 4, rel=0.06)
    assert found.value == math.inf
    assert found.log_value > 20_000


def test_kinks_and_jumps_are_resolved():
    """U = |x| in closed form; a drift that jumps from -1 to -3 gives the same as its kinked U."""
    T, x0, b = 0.5, -0.3, 1.0

    def mass(y):
        return T * math.exp(y / T) if y < 0 else T * (2 - math.exp(-y / T))

    truth = sum(
        integrate.quad(lambda y: math.exp(abs(y) / T) * mass(y) / T, *ends, epsrel=1e-13)[0]
        for ends in ((x0, 0), (0, b))
    )
    found = mean_first_passage_1d(lambda x: x.abs().sum(), T, x0, b)
    assert found.value == pytest.approx(truth, rel=1e-9)

    def kinked(x):
        return torch.where(x > 0.123, 3 * x - 0.246, x).sum() + x.square().sum() / 2

    def jumping(x):
        return -torch.where(x > 0.123, torch.full_like(x, 3.0), torch.ones_like(x)) - x

    one, other = (
        mean_first_passage_1d(kinked, T, x0, b),
        mean_first_passage_ito(jumping, T, x0, b),
    )
    assert one.value == pytest.approx(other.value, rel=1e-9)


def test_slow_tails_count():
    """U = log(1 + x²) at T = 1/2, where mass x^-4 lies far out: by scipy."""

    def mass(y):
        return integrate.quad(lambda z: (1 + z * z) ** -2, -np.inf, y, epsrel=1e-12)[0]

    truth = 2 * integrate.quad(lambda y: (1 + y * y) ** 2 * mass(y), 0, 1, epsrel=1e-12)[0]
    found = mean_first_passage_1d(lambda x: torch.log1p(x**2).sum(), 0.5, 0.0, 1.0)
    assert found.value == pytest.approx(truth, rel=1e-9)


def test_a_well_behind_a_barrier_is_not_cut():
    """Twice as wide a second well, behind 17 temperatures, holds most of the time."""
    deep = mean_first_passage_1d(lambda x: (x**4 - 2 * x**2 + 0.3 * x).sum(), 0.06, 0.9, 1.8)
    wall = mean_first_passage_1d(
        lambda x: (x**4 - 2 * x**2 + 0.3 * x).sum(), 0.06, 0.9, 1.8, reflect=0.1
    )
    assert deep.value > 100 * wall.value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": math.nan}, "temperature must be positive"),
        ({"target": 0.5}, "target must not be x0"),
        ({"target": (1.0, 2.0)}, "between two targets"),
        ({"target": (0.0, 2.0), "reflect": 0.1}, "without reflect"),
        ({"reflect": 3.0}, "between reflect and target"),
        ({"x0": math.inf}, "places must be finite"),
        ({"moments": 3}, "moments must be 1 or 2"),
        ({"rtol": 0.0}, "rtol must be"),
        ({"potential": flat}, "confined below x0"),
        ({"potential": lambda x: -(x**2).sum()}, "confined below x0"),
        ({"potential": lambda x: torch.log(x).sum(), "reflect": -1.0}, "finite on the way"),
        ({"potential": lambda x: torch.cat([x, x])}, "one number"),
    ],
)
def test_refusals(change, message):
    args = {"potential": bowl, "temperature": 1.0, "x0": 0.5, "target": 2.0} | change
    with pytest.raises(ValueError, match=message):
        mean_first_passage_1d(
            args.pop("potential"),
            args.pop("temperature"),
            args.pop("x0"),
            args.pop("target"),
            **args,
        )


def test_no_noise_is_refused():
    with pytest.raises(ValueError, match="diffusion must be positive"):
        mean_first_passage_ito(lambda x: -x, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="diffusion must be positive"):
        mean_first_passage_ito(lambda x: -x, lambda x: x, -0.5, 1.0, reflect=-1.0)
