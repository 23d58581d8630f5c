import time

import pytest
import torch
from scipy.stats import multivariate_normal, norm

from heatgrad.data import FragmentedManifold


def clean(**options):
    return FragmentedManifold(label_noise=0.0, **options)


def test_centers_follow_the_paper():
    """mu_k - alpha k v is N(0, I): mean 0 and variance 1 over 200 seeds, five SE."""
    task = clean(separation=7.0)
    v = torch.full((20,), 20**-0.5, dtype=torch.float64)
    shift = 7.0 * torch.arange(10, dtype=torch.float64)[:, None] * v
    base = torch.stack([task.centers(seed) - shift for seed in range(200)])
    n = base.numel()
    assert base.mean().abs().item() < 5 / n**0.5
    assert base.var().item() == pytest.approx(1, abs=5 * (2 / n) ** 0.5)


def test_clusters_have_the_stated_mean_covariance_and_parity():
    """Samples near mu_k number N/K, have mean mu_k, covariance sigma^2 I, label k mod 2."""
    # So far apart that the nearest centre is the sample's own.
    task = clean(num_samples=50_000, num_test=10_000, separation=100.0)
    data = task.load(0)
    x = torch.cat([data.x_train, data.x_test]).double()
    y = torch.cat([data.y_train, data.y_test])
    centers = task.centers(0)
    cluster = torch.cdist(x, centers).argmin(dim=1)
    assert torch.bincount(cluster).tolist() == [5000] * 10
    assert torch.equal(y, cluster % 2)
    for k in range(10):
        residual = x[cluster == k] - centers[k]
        assert residual.mean(dim=0).abs().max() < 5 * 1.5 / 5000**0.5
        covariance = residual.T @ residual / 5000
        expected = 2.25 * torch.eye(20, dtype=torch.float64)
        assert (covariance - expected).abs().max() < 5 * 2.25 * (2 / 5000) ** 0.5


@pytest.mark.parametrize("seed", range(3))
def test_split_keeps_the_class_shares(seed):
    """40,000 and 10,000 samples, half of each class; three clusters: two thirds and one."""
    data = clean().load(seed)
    assert torch.bincount(data.y_train).tolist() == [20_000, 20_000]
    assert torch.bincount(data.y_test).tolist() == [5000, 5000]
    odd = clean(num_clusters=3, num_samples=900, num_test=300).load(seed)
    assert torch.bincount(odd.y_test).tolist() == [200, 100]


def test_label_noise_by_default():
    """The paper flips 30 % of all labels: five standard errors, in both parts."""
    data = FragmentedManifold().load(0)
    for seen, true in [(data.y_train, data.y_train_clean), (data.y_test, data.y_test_clean)]:
        rate = (seen != true).double().mean().item()
        assert rate == pytest.approx(0.3, abs=5 * (0.21 / seen.numel()) ** 0.5)


def test_posterior_against_scipy():
    """Bayes' rule by hand with scipy's Gaussian density, odd clusters against all."""
    task = clean(dim=3, num_clusters=5, num_samples=500, num_test=50, separation=1.0)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 3
    density = [
        multivariate_normal(m, 2.25).pdf(x.double().numpy()) for m in task.centers(4).numpy()
    ]
    expected = (density[1] + density[3]) / sum(density)
    torch.testing.assert_close(task.posterior(x, 4), torch.from_numpy(expected))


@pytest.mark.parametrize("dim", [1, 20, 400])
@pytest.mark.parametrize("sigma", [1.5, 6.0])
def test_two_clusters_in_closed_form(dim, sigma):
    """A = Phi(|mu_1 - mu_0| / (2 sigma)), in any dimension: five standard errors."""
    task = clean(dim=dim, num_clusters=2, num_samples=200, num_test=20, sigma=sigma)
    gap = (task.centers(1)[1] - task.centers(1)[0]).norm().item()
    ceiling = task.load(1).ceiling
    assert ceiling.clean == pytest.approx(
        norm.cdf(gap / (2 * sigma)), abs=5 * ceiling.stderr + 1e-12
    )
    assert ceiling.stderr < 1e-3


@pytest.mark.parametrize("separation", [0.5, 5.0])
def test_ceiling_against_a_large_sample(separation):
    """400,000 samples of the task itself, classified by the exact posterior: five SE."""
    task = clean(num_samples=400_000, num_test=400, dim=6, separation=separation)
    data = task.load(2)
    said = (task.posterior(data.x_train, 2) > 0.5).long()
    accuracy = (said == data.y_train).double().mean().item()
    ceiling = data.ceiling
    error = (ceiling.clean * (1 - ceiling.clean) / said.numel() + ceiling.stderr**2) ** 0.5
    assert accuracy == pytest.approx(ceiling.clean, abs=5 * error)


def test_ceiling_belongs_to_the_seed_and_is_quick():
    """Other centres, another ceiling; the time is CPU seconds of all threads, 0.4 seen."""
    start = time.process_time()
    first = clean(dim=21).load(0).ceiling
    assert time.process_time() - start < 3
    assert first != clean(dim=21).load(1).ceiling
    assert first == clean(dim=21).load(0).ceiling


def test_ceiling_with_noise():
    """A' = 0.4 A + 0.3 for two classes and 30 % flips."""
    ceiling = FragmentedManifold().load(0).ceiling
    assert ceiling.noisy == pytest.approx(0.4 * ceiling.clean + 0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 50_001}, "num_samples must be a multiple of num_clusters = 10"),
        ({"num_clusters": 1}, "num_clusters must be an integer of at least 2, got 1"),
        ({"num_test": 101}, "num_test must be a multiple of 2"),
        ({"num_clusters": 5, "num_test": 101}, "num_test must be a multiple of 5"),
        ({"num_test": 50_000}, "num_test must be less than num_samples"),
        ({"dim": 0}, "dim must be an integer of at least 1"),
        ({"separation": 0.0}, "separation must be positive"),
        ({"sigma": -1.5}, "sigma must be positive"),
    ],
)
def test_option_errors(options, message):
    """The message gives the requirement."""
    with pytest.raises(ValueError, match=message):
        FragmentedManifold(**options)


def test_posterior_wants_points_of_the_right_dimension():
    """A wrong shape is named."""
    with pytest.raises(ValueError, match=r"x must have shape \(n, 20\), got \(3, 2\)"):
        FragmentedManifold().posterior(torch.zeros(3, 2), 0)
