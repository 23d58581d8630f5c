"""Exact denoisers: Bayes by quadrature, scores by autograd, by brute force; limits; refusals."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from heatgrad.diffusion import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def at(sigma):
    return torch.tensor(sigma, dtype=torch.float64)


def covariance(d, seed=0):
    root = torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.T / d + 0.1 * torch.eye(d, dtype=torch.float64)


def points(n, *shape, seed=1):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed)).double() * 2


def three(**options):
    means = points(3, 2, 2, seed=4)
    return MixtureDenoiser(numbers(1, 2, 3), means, **options)


LAWS = {
    "std": GaussianDenoiser(points(1, 2, 2)[0], std=points(1, 2, 2)[0].abs()),
    "cov": GaussianDenoiser(points(1, 2, 2)[0], cov=covariance(4)),
    "mixture": three(stds=numbers(0.5, 1.0, 0.2)),
    "mixture of covariances": three(covs=torch.stack([covariance(4, s) for s in range(3)])),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("sigma", [0.01, 0.7, 30.0])
def test_tweedie(law, sigma):
    """D = x + σ² grad log p(x), by autograd of the density."""
    x = points(6, 2, 2).requires_grad_()
    (score,) = torch.autograd.grad(law.log_density(x, at(sigma)).sum(), x)
    wanted = x.detach() + sigma**2 * score
    torch.testing.assert_close(law(x.detach(), at(sigma)), wanted, rtol=1e-9, atol=1e-9)


def test_density_of_a_gaussian():
    """SciPy's multivariate normal with covariance S + σ² I."""
    law = LAWS["cov"]
    x = points(5, 2, 2)
    truth = stats.multivariate_normal(law.mean.flatten(), law.cov + 0.49 * torch.eye(4).double())
    np.testing.assert_allclose(law.log_density(x, at(0.7)), truth.logpdf(x.reshape(5, 4)))


def test_gaussian_by_linear_algebra():
    """The formula m + S (S + σ² I)^-1 (x - m), by a dense solve."""
    law, x = LAWS["cov"], points(5, 2, 2)
    rest = (x - law.mean).reshape(5, 4)
    truth = torch.linalg.solve(law.cov + 0.49 * torch.eye(4).double(), rest.T).T @ law.cov
    found = law(x, at(0.7))
    torch.testing.assert_close(found, law.mean + truth.reshape(x.shape), rtol=1e-12, atol=1e-12)


def test_mixture_by_quadrature():
    """E[x0 | x] in one dimension: two integrals over x0, by SciPy."""
    law = MixtureDenoiser(numbers(0.3, 0.7), numbers(-1.0, 1.5), stds=numbers(0.4, 0.2))

    def prior(y):
        return 0.3 * stats.norm.pdf(y, -1, 0.4) + 0.7 * stats.norm.pdf(y, 1.5, 0.2)

    for x in (-1.0, 0.3, 2.0):
        weight = lambda y: prior(y) * stats.norm.pdf(x, y, 0.6)  # noqa: E731, B023
        options = {"points": [-1.0, 1.5], "epsabs": 1e-13}
        total = integrate.quad(weight, -5, 5, **options)[0]
        mean = integrate.quad(lambda y: y * weight(y), -5, 5, **options)[0] / total  # noqa: B023
        assert float(law(numbers(x), at(0.6))) == pytest.approx(mean, rel=1e-8)
        assert float(law.log_density(numbers(x), at(0.6))) == pytest.approx(math.log(total))


def test_flow_of_a_gaussian():
    """There and back is where one was; the law at the end is that of the data: S^1/2 whitens."""
    law, x = LAWS["cov"], points(5, 2, 2)
    torch.testing.assert_close(law.flow(law.flow(x, 3.0, 0.5), 0.5, 3.0), x)
    basis = law.mean + 3 * torch.eye(4, dtype=torch.float64).reshape(4, 2, 2)
    root = (law.flow(basis, 3.0, 0.0) - law.mean).reshape(4, 4) / 3
    S = law.cov
    torch.testing.assert_close(
        root @ (S + 9 * torch.eye(4).double()) @ root.T, S, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_limits_of_noise(law):
    """None: x itself. Without end: the mean of the data."""
    x = points(4, 2, 2)
    torch.testing.assert_close(law(x, at(1e-9)), x, rtol=1e-9, atol=1e-9)
    mean = law(x, at(1e9))[0]
    torch.testing.assert_close(law(-x, at(1e9))[1], mean, rtol=1e-6, atol=1e-6)
    n = 20_000
    drawn = law.sample(n, torch.Generator().manual_seed(0))
    drawn = drawn[0] if isinstance(drawn, tuple) else drawn
    assert bool(((drawn.mean(0) - mean).abs() < 5 * drawn.std(0) / math.sqrt(n)).all())


def test_samples_have_the_covariance():
    law, n = LAWS["cov"], 50_000
    x = law.sample(n, torch.Generator().manual_seed(0)).reshape(n, 4)
    S = law.cov
    spread = 5 * ((S**2 + torch.outer(S.diagonal(), S.diagonal())) / n).sqrt()
    assert bool(((x.T.cov() - S).abs() < spread).all())


def test_mixture_far_from_everything_and_at_hardly_any_noise():
    """Densities of e^-5e11 and of e^+30 a number: no NaN, and the nearest component."""
    law = MixtureDenoiser(numbers(1e-300, 1), torch.tensor([[-1.0], [1.0]]).double(), stds=1e-3)
    x = torch.tensor([[1e3], [-1e3], [1e-9]], dtype=torch.float64)
    found = law(x, at(1e-6))
    assert bool(torch.isfinite(found).all())
    assert found[0].item() == pytest.approx(1e3, rel=1e-5)
    assert bool(torch.isfinite(law.log_density(x, at(1e-6))).all())


def test_labels_of_a_mixture():
    """Two components of one class, one of another: sums over their own, the joint law adds up."""
    law = three(stds=0.5, labels=torch.tensor([4, 9, 4]))
    x, sigma = points(5, 2, 2), at(0.8)
    alone = MixtureDenoiser(numbers(1, 3), law.means[[0, 2]], stds=0.5)
    told = law(x, sigma, torch.full((5,), 4))
    torch.testing.assert_close(told, alone(x, sigma))
    joint = torch.stack([law.log_density(x, sigma, torch.full((5,), c)) for c in (4, 9)])
    torch.testing.assert_close(joint.logsumexp(0), law.log_density(x, sigma))
    mixed = law(x, sigma, torch.tensor([4, -1, 9, -1, 4]))
    torch.testing.assert_close(mixed[[0, 4]], told[[0, 4]])
    torch.testing.assert_close(mixed[[1, 3]], law(x, sigma)[[1, 3]])
    x, labels = law.sample(4000, torch.Generator().manual_seed(0))
    assert float((labels == 4).double().mean()) == pytest.approx(2 / 3, abs=5 * 0.47 / 63)


def test_one_component_is_a_gaussian():
    one = MixtureDenoiser(numbers(5), LAWS["cov"].mean.unsqueeze(0), covs=covariance(4)[None])
    x = points(5, 2, 2)
    torch.testing.assert_close(one(x, at(0.3)), LAWS["cov"](x, at(0.3)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("sigma", [1e-3, 0.5, 50.0])
def test_empirical_by_brute_force(chunk, sigma):
    """The softmax written out, whatever part of the set is compared at once."""
    data, x = points(11, 2, 3), points(5, 2, 3, seed=2)
    away = (x.unsqueeze(1) - data).flatten(2).square().sum(2)
    truth = torch.einsum("nm,m...->n...", (-away / (2 * sigma**2)).softmax(1), data)
    found = EmpiricalDenoiser(data, chunk=chunk)(x, at(sigma))
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-9)


def test_empirical_as_a_mixture_of_points():
    data, x = points(11, 2), points(5, 2, seed=2)
    labels = torch.arange(11) % 3
    points_of = MixtureDenoiser(torch.ones(11), data, stds=0.0, labels=labels)
    law = EmpiricalDenoiser(data, labels=labels, chunk=4)
    told = torch.tensor([0, 1, 2, -1, 0])
    sigma = numbers(0.1, 0.2, 1.0, 2.0, 5.0)
    torch.testing.assert_close(law(x, sigma, told), points_of(x, sigma, told))


def test_empirical_without_noise_is_the_nearest():
    """Level 0, and a sample of the set itself; far from zero, where float32 has few digits."""
    data = points(20, 3).float() + 1000
    law = EmpiricalDenoiser(data, chunk=6)
    torch.testing.assert_close(law(data, torch.tensor(0.0)), data, rtol=0, atol=1e-4)
    close = law(data + 1e-3, torch.tensor(0.002))
    torch.testing.assert_close(close, data, rtol=0, atol=1e-3)


@pytest.mark.parametrize("law", [*LAWS.values(), EmpiricalDenoiser(points(9, 2, 2))])
def test_levels_one_by_one(law):
    """One level for all, and one a sample; dtype follows x; x is left alone."""
    x, sigmas = points(4, 2, 2), numbers(0.1, 1.0, 3.0, 10.0)
    kept = x.clone()
    whole = law(x, sigmas)
    parts = [law(x[i : i + 1], sigmas[i]) for i in range(4)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-12, atol=1e-12)
    single = law(x.float(), sigmas.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), whole, rtol=1e-4, atol=1e-4)
    assert torch.equal(x, kept)


def test_a_degenerate_gaussian():
    """Rank one: stays on its line, level 0 included."""
    v = numbers(1.0, 2.0)
    law = GaussianDenoiser(numbers(0.0, 0.0), cov=torch.outer(v, v))
    found = law(torch.tensor([[2.0, -1.0], [1.0, 2.0]]).double(), at(0.0))
    torch.testing.assert_close(
        found, torch.tensor([[0.0, 0.0], [1.0, 2.0]]).double(), atol=1e-9, rtol=0
    )


zero = torch.zeros(2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GaussianDenoiser(zero), "either std or cov, got none"),
        (lambda: GaussianDenoiser(zero, std=1.0, cov=torch.eye(2).double()), "got both"),
        (lambda: GaussianDenoiser(zero, std=-1.0), "at least 0"),
        (lambda: GaussianDenoiser(zero, std=torch.ones(3)), r"mean's shape \(2,\)"),
        (lambda: GaussianDenoiser(zero, cov=torch.eye(3)), r"shape \(2, 2\)"),
        (lambda: GaussianDenoiser(zero, cov=torch.tensor([[1.0, 0.5], [0, 1]])), "symmetric"),
        (lambda: GaussianDenoiser(zero, cov=-torch.eye(2).double()), "no negative eigenvalue"),
        (lambda: GaussianDenoiser(zero * math.nan, std=1.0), "finite"),
        (lambda: GaussianDenoiser(zero, std=1.0)(torch.ones(3, 3), at(1.0)), "mean's shape"),
        (lambda: GaussianDenoiser(zero, std=1.0)(torch.ones(3, 2), torch.ones(2)), "sigma must be"),
        (lambda: GaussianDenoiser(zero, std=1.0).flow(torch.ones(3, 2), 0.0, 1.0), "sigma > 0"),
        (lambda: MixtureDenoiser(numbers(1, -1), torch.ones(2, 1), stds=1.0), "positive numbers"),
        (lambda: MixtureDenoiser(numbers(1), torch.ones(2, 1), stds=1.0), "2 positive numbers"),
        (lambda: three(stds=numbers(1, 2)), "stds must be one or 3"),
        (lambda: three(covs=torch.eye(4).double()[None]), "covs must be 3"),
        (lambda: three(stds=1.0, labels=torch.tensor([0, 1])), "labels must be 3"),
        (lambda: three(stds=1.0)(points(2, 4), at(1.0)), "means' shape"),
        (lambda: three(stds=1.0)(points(2, 2, 2), at(1.0), torch.tensor([0, 7])), "among the"),
        (lambda: three(stds=1.0)(points(2, 2, 2), at(1.0), torch.tensor([0])), "label must be one"),
        (lambda: three(stds=0.0)(points(2, 2, 2), at(0.0)), "no spread"),
        (lambda: EmpiricalDenoiser(torch.ones(0, 2)), "a set"),
        (lambda: EmpiricalDenoiser(torch.ones(3, 2) * math.inf), "finite"),
        (lambda: EmpiricalDenoiser(torch.ones(3, 2), chunk=0), "chunk"),
        (lambda: EmpiricalDenoiser(torch.ones(3, 2), labels=torch.zeros(2)), "one for each of 3"),
        (lambda: EmpiricalDenoiser(torch.ones(3, 2))(torch.ones(1, 3), at(1.0)), "set's shape"),
        (
            lambda: EmpiricalDenoiser(torch.ones(3, 2))(
                torch.ones(1, 2), at(1.0), torch.tensor([0])
            ),
            "no labels",
        ),
        (
            lambda: EmpiricalDenoiser(torch.ones(2, 2), labels=torch.tensor([3, 5]))(
                torch.ones(1, 2), at(1.0), torch.tensor([4])
            ),
            r"among the classes \[3, 5\]",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
