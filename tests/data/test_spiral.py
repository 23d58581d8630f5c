import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from heatgrad.data import Spiral
from heatgrad.data.spiral import _bayes_accuracy


def whole(task, seed=0):
    data = task.load(seed)
    return torch.cat([data.x_train, data.x_test]), torch.cat([data.y_train, data.y_test])


def test_noise_free_limit_is_the_curve_of_the_paper():
    """r_i = a i, theta_i = b i + pi c, computed here point by point; each point occurs once."""
    task = Spiral(num_samples=600, num_test=100, turns=4, radius=5.0, sigma=1e-9)
    x, y = whole(task)
    a, b = 5.0 / 300, 2 * math.pi * 4 / 300
    for c in (0, 1):
        points = x[y == c].double()
        points = points[points.norm(dim=1).argsort()]
        i = torch.arange(1, 301, dtype=torch.float64)
        theta = b * i + math.pi * c
        expected = torch.stack([a * i * theta.cos(), a * i * theta.sin()], dim=1)
        # float32 storage of numbers up to 5, and the noise.
        torch.testing.assert_close(points, expected, atol=1e-6, rtol=0)


def test_four_revolutions_by_default():
    """The angle, unwrapped along the arm, spans four turns; the last radius is 4 pi."""
    curve = Spiral().curve(0).numpy()
    angle = np.unwrap(np.arctan2(curve[:, 1], curve[:, 0]))
    # From i = 1 to N/2 = 5000: 4999 of 5000 steps.
    assert angle[-1] - angle[0] == pytest.approx(8 * math.pi * 4999 / 5000, rel=1e-12)
    assert np.hypot(*curve[-1]) == pytest.approx(4 * math.pi)
    torch.testing.assert_close(Spiral().curve(1), -Spiral().curve(0))


def test_noise_is_isotropic_gaussian():
    """E |x|^2 = mean of (a i)^2 + 2 sigma^2; about a point, covariance sigma^2 I; five SE."""
    n = 20_000
    x, _ = whole(Spiral(num_samples=n, num_test=2, radius=3.0, sigma=0.2))
    r = torch.arange(1, n // 2 + 1, dtype=torch.float64) * 3.0 / (n // 2)
    expected = r.square().mean().item() + 2 * 0.2**2
    # Var |x|^2 given the curve: 4 r^2 sigma^2 + 4 sigma^4.
    error = (4 * r.square().mean().item() * 0.2**2 + 4 * 0.2**4) ** 0.5 / n**0.5
    assert x.double().square().sum(dim=1).mean().item() == pytest.approx(expected, abs=5 * error)
    # A spiral shrunk to a point leaves the noise.
    noise = whole(Spiral(num_samples=n, num_test=2, radius=1e-9, sigma=0.2))[0].double()
    covariance = noise.T @ noise / n
    expected = 0.2**2 * torch.eye(2, dtype=torch.float64)
    assert (covariance - expected).abs().max() < 5 * 0.2**2 * (2 / n) ** 0.5


@pytest.mark.parametrize("seed", range(3))
def test_exact_class_balance_in_both_parts(seed):
    """8,000 and 2,000 samples, half of each class, as in the paper; shuffled."""
    data = Spiral().load(seed)
    assert torch.bincount(data.y_train).tolist() == [4000, 4000]
    assert torch.bincount(data.y_test).tolist() == [1000, 1000]
    # A shuffled half-half sequence has about n/2 changes, standard deviation sqrt(n)/2.
    assert abs((data.y_train.diff() != 0).sum() - 4000) < 5 * 8000**0.5 / 2


def test_posterior_against_scipy():
    """Bayes' rule by hand with scipy's Gaussian density, summed over the curve."""
    task = Spiral(num_samples=100, num_test=20, radius=3.0, sigma=0.3)
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)) * 2
    density = [
        sum(multivariate_normal(m, 0.09).pdf(x.double().numpy()) for m in task.curve(c).numpy())
        for c in (0, 1)
    ]
    torch.testing.assert_close(
        task.posterior(x), torch.from_numpy(density[1] / (density[0] + density[1]))
    )
    # The arms are each other's mirror image in the origin.
    torch.testing.assert_close(task.posterior(-x), 1 - task.posterior(x))


@pytest.mark.parametrize(
    ("turns", "radius", "sigma"), [(2, 3.0, 0.2), (2, 4.0, 0.2), (4, 4 * math.pi, 0.4)]
)
def test_ceiling_against_a_large_sample(turns, radius, sigma):
    """400,000 fresh points, classified by the exact posterior: five standard errors."""
    n = 400_000
    task = Spiral(num_samples=400, num_test=40, turns=turns, radius=radius, sigma=sigma)
    generator = torch.Generator().manual_seed(5)
    label = torch.randint(2, (n,), generator=generator)
    index = torch.randint(200, (n,), generator=generator)
    curve = torch.stack([task.curve(0), task.curve(1)])
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    said = task.posterior(curve[label, index] + sigma * noise) > 0.5
    accuracy = (said.long() == label).double().mean().item()
    ceiling = task.load(0).ceiling
    error = (ceiling.clean * (1 - ceiling.clean) / n) ** 0.5
    assert ceiling.stderr < error
    assert accuracy == pytest.approx(ceiling.clean, abs=5 * error)


def test_published_test_set_is_what_the_ceiling_is_about():
    """Exact posterior on the 2,000 test points of 4 seeds, at the default size: five SE."""
    task = Spiral(turns=2, radius=3.0)
    right = []
    for seed in range(4):
        data = task.load(seed)
        said = (task.posterior(data.x_test) > 0.5).long()
        right.append((said == data.y_test).double())
    ceiling = data.ceiling.clean
    error = (ceiling * (1 - ceiling) / 8_000) ** 0.5
    assert torch.cat(right).mean().item() == pytest.approx(ceiling, abs=5 * error)


def test_ceiling_limits():
    """No noise: the arms are apart, 1. Noise far wider than the spiral: a coin, 1/2."""
    assert Spiral(sigma=1e-6).load(0).ceiling.clean == 1.0
    assert Spiral(sigma=1e4).load(0).ceiling.clean == pytest.approx(0.5, abs=1e-4)
    accuracies = [Spiral(sigma=s).load(0).ceiling.clean for s in (0.05, 0.2, 0.5, 1.0, 3.0)]
    assert accuracies == sorted(accuracies, reverse=True)


def test_ceiling_does_not_depend_on_the_number_of_samples():
    """Points on the curve stand closer than sigma, so the density is the curve's own."""
    values = [Spiral(num_samples=n, num_test=20).load(0).ceiling.clean for n in (4000, 40_000)]
    # The arms begin at i = 1, not at the centre: a change of order 1/N near the centre.
    assert values[0] == pytest.approx(values[1], abs=1e-3)


def test_ceiling_is_computed_once_for_all_seeds():
    _bayes_accuracy.cache_clear()
    Spiral().load(0)
    Spiral().load(1)
    assert _bayes_accuracy.cache_info().hits == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 999}, "num_samples must be even, for two equal classes, got 999"),
        ({"num_test": 101}, "num_test must be even"),
        ({"num_test": 10_000}, "num_test must be less than num_samples = 10000"),
        ({"sigma": 0.0}, "sigma must be positive and finite, got 0.0"),
        ({"turns": -1.0}, "turns must be positive"),
        ({"radius": float("inf")}, "radius must be positive and finite, got inf"),
        ({"label_noise": 0.5}, "less than 1 - 1/K = 0.5"),
    ],
)
def test_option_errors(options, message):
    """The message gives the requirement and the value."""
    with pytest.raises(ValueError, match=message):
        Spiral(**options)


def test_posterior_wants_points_in_the_plane():
    """A wrong shape is named."""
    with pytest.raises(ValueError, match=r"x must have shape \(n, 2\), got \(3,\)"):
        Spiral().posterior(torch.zeros(3))
