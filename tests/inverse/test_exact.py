"""The exact posterior against dense conditioning in NumPy, written apart."""

import numpy as np
import pytest
import torch
from scipy import stats

from heatgrad.core.errors import HeatgradWarning
from heatgrad.inverse import (
    Averages,
    Basis,
    ExactGaussianPosterior,
    GaussianPrior,
    Lines,
    Points,
    SolvedLatent,
    SpectralLatent,
    Square,
    decode_in_parts,
    observe,
    shrunk_covariance,
)
from heatgrad.pde import GaussianRandomField, Grid, Helmholtz, Poisson


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("field", ["a", "u"])
def test_mean_is_dense_conditioning(field, problem):
    """The textbook formula on dense matrices of the decoder, in NumPy."""
    p = problem(field=field)
    posterior = ExactGaussianPosterior(p.latent, [p.points])
    fields = p.pde.sample(3, seeded(0))
    values = observe(fields, p.pde.grid, [p.points]).values
    found = posterior.mean(values)
    for z, y in zip(found, values, strict=True):
        mean, _ = p.gaussian(y.numpy())
        assert np.allclose(z.flatten(), mean, atol=1e-6)


def test_matrix_has_the_rows_of_the_dense_decoder(problem):
    """Rows by transposed transforms against columns by decoding, of several kinds of sensors."""
    p = problem()
    operators = [
        p.points,
        Lines("a", [(0.1, 0.2)], [(0.9, 0.7)]),
        Averages("u", [(0, 0)], [(1, 1)]),
    ]
    matrix = ExactGaussianPosterior(p.latent, operators, 0.1).sensors.matrix
    assert np.allclose(matrix[:12], p.rows, atol=1e-14)
    n = p.pde.n
    zero = torch.zeros(1, n, n, dtype=torch.float64)
    parts = (slice(0, n * n), slice(n * n, None))
    for row, operator, rows in zip((12, 13), operators[1:], parts, strict=True):
        stencil = operator.stencil(p.pde.grid)
        weights = zero.flatten().index_add(0, stencil.places, stencil.weights).numpy()
        assert np.allclose(matrix[row], weights @ p.decoder[rows], atol=1e-14)


def test_draws_have_the_posterior_law(problem):
    """Mean and covariance of 6000 draws against NumPy's, each entry within 5 standard errors."""
    p = problem(modes=5, num=6)
    posterior = ExactGaussianPosterior(p.latent, [p.points], 1e-4)
    values = observe(p.pde.sample(1, seeded(1)), p.pde.grid, [p.points])
    mean, cov = p.gaussian(values.values[0].numpy(), 1e-4)
    num = 6000
    draws = posterior.draw(values.values, num, seeded(0))[0].flatten(1).numpy()
    std = np.sqrt(np.diag(cov))
    assert np.all(np.abs(draws.mean(0) - mean) < 5 * std / np.sqrt(num) + 1e-9)
    error = np.sqrt((np.outer(std**2, std**2) + cov**2) / num)
    assert np.all(np.abs(np.cov(draws.T) - cov) < 5 * error + 1e-9)


def test_std_is_the_diagonal_of_the_dense_covariance(problem):
    """F (I - ...) F' in NumPy, of both fields, by the fast and the general prior variance."""
    p = problem()
    posterior = ExactGaussianPosterior(p.latent, [p.points])
    _, cov = p.gaussian(np.zeros(12))
    variance = np.einsum("ij,jk,ik->i", p.decoder, cov, p.decoder)
    size = p.pde.n**2
    for name, part in (("a", slice(0, size)), ("u", slice(size, None))):
        expected = np.sqrt(np.maximum(variance[part], 0))
        assert np.allclose(
            posterior.std(name).flatten(), expected, atol=1e-7 * expected.max() + 1e-12
        )


def test_log_evidence_is_scipys_density(problem):
    """scipy.stats.multivariate_normal of y ~ N(0, A A' + R)."""
    p = problem()
    posterior = ExactGaussianPosterior(p.latent, [p.points], 1e-4)
    values = observe(p.pde.sample(4, seeded(1)), p.pde.grid, [p.points]).values
    cov = p.rows @ p.rows.T + (1e-8 + p.jitter) * np.eye(12)
    expected = stats.multivariate_normal(np.zeros(12), cov).logpdf(values.numpy())
    assert np.allclose(posterior.log_evidence(values), expected, rtol=1e-8)


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_other_priors(kind, problem):
    """A mean and a covariance of any kind, by the textbook formula in NumPy."""
    p = problem(modes=4, num=6)
    rng = np.random.default_rng(0)
    size = p.rows.shape[1]
    m = rng.standard_normal(size)
    root = np.diag(rng.random(size) + 0.5)
    if kind == "full":
        root = root + 0.2 * rng.standard_normal((size, size))
    S = root @ root.T
    given = torch.from_numpy(np.diag(S).copy() if kind == "diagonal" else S)
    posterior = ExactGaussianPosterior(
        p.latent, [p.points], 1e-3, mean=torch.from_numpy(m), cov=given
    )
    y = rng.standard_normal(6) * 1e-3
    jitter = 1e-8 * np.mean(np.diag(p.rows @ S @ p.rows.T))
    gram = p.rows @ S @ p.rows.T + (1e-6 + jitter) * np.eye(6)
    expected = m + S @ p.rows.T @ np.linalg.solve(gram, y - p.rows @ m)
    assert np.allclose(posterior.mean(torch.from_numpy(y)[None])[0].flatten(), expected, atol=1e-9)
    num = 4000
    draws = posterior.draw(torch.from_numpy(y)[None], num, seeded(0))
    spread = S - S @ p.rows.T @ np.linalg.solve(gram, p.rows @ S)
    found = draws[0].flatten(1).numpy().var(0)
    assert np.all(np.abs(found / np.diag(spread) - 1) < 5 * np.sqrt(2 / num))
    variance = np.einsum("ij,jk,ik->i", p.decoder, spread, p.decoder)[: p.pde.n**2]
    assert np.allclose(posterior.std("a").flatten() ** 2, variance, atol=1e-10)


def test_floors_are_the_expected_errors(problem):
    """4000 truths, dense means and dense draws in NumPy; within 4 standard errors of both."""
    p = problem(field="a", num=40)
    posterior = ExactGaussianPosterior(p.latent, [p.points])
    floors = posterior.floors(400, seeded(0))
    _, cov = p.gaussian(np.zeros(40))
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4000, p.rows.shape[1]))
    mean = p.gaussian((z @ p.rows.T).T)[0].T
    draw = mean + rng.multivariate_normal(np.zeros(len(cov)), cov, 4000)
    for name, rows in (("a", slice(0, 289)), ("u", slice(289, None))):
        F, floor = p.decoder[rows], floors[name]
        size = np.linalg.norm(z @ F.T, axis=1)
        for found, error, guess in (
            (floor.mean, floor.mean_error, mean),
            (floor.draw, floor.draw_error, draw),
        ):
            ratios = np.linalg.norm((guess - z) @ F.T, axis=1) / size
            assert abs(found - ratios.mean()) < 4 * 1.1 * error  # of 400, and of 4000


def test_one_sensor_without_noise_is_held(problem):
    """The jitter is a noise of 1e-4 of the typical value: sensors are held to about that."""
    p = problem()
    posterior = ExactGaussianPosterior(p.latent, [p.points])
    fields = p.latent.decode(torch.ones(1, *p.latent.shape, dtype=torch.float64))
    y = observe(fields, p.pde.grid, [p.points]).values
    back = observe(p.latent.decode(posterior.mean(y)), p.pde.grid, [p.points]).values
    assert float((back - y).abs().max()) < 1e-3 * float(posterior.sensors.scale.max())


def test_kriging_with_fitted_covariance_nears_the_exact(problem):
    """Joint latents of (a, u) and the covariance of 3000 samples: at most 15 % worse than exact."""
    pde = Poisson(17)
    data = pde.sample(3000, seeded(0))
    bases = {"a": Basis("neumann", Square(12)), "u": Basis("dirichlet", Square(12))}
    latent = SpectralLatent.fit(data, pde.grid, bases)
    prior = GaussianPrior.fit(latent.encode(data))
    points = Points.on_grid("a", pde.grid, 40, seeded(1))
    exact = SolvedLatent(SpectralLatent.of_law(pde.law), pde.solve)
    test = pde.sample(30, seeded(2))
    seen = observe(test, pde.grid, [points])
    errors = {}
    for name, posterior in (
        (
            "kriging",
            ExactGaussianPosterior(latent, [points], mean=prior.mean, cov=prior.cov, jitter=1e-4),
        ),
        ("exact", ExactGaussianPosterior(exact, [points])),
    ):
        u = decode_in_parts(posterior.latent, posterior.mean(seen.values))["u"]
        errors[name] = float((u - test["u"]).norm() / test["u"].norm())
    assert errors["exact"] < errors["kriging"] < 1.15 * errors["exact"]


def test_shrinkage_is_near_the_best():
    """Oracle: the share that minimises the squared error to the known covariance, by scanning."""
    size, num = 12, 30
    k = torch.arange(size, dtype=torch.float64)
    true = 0.6 ** (k[:, None] - k).abs()
    factor = torch.linalg.cholesky(true)
    generator = seeded(0)
    ratios = []
    for _ in range(50):
        z = torch.randn(num, size, generator=generator, dtype=torch.float64) @ factor.T
        scan = [
            float((shrunk_covariance(z, shrinkage=s / 40)[0] - true).square().sum())
            for s in range(41)
        ]
        ratios.append(float((shrunk_covariance(z)[0] - true).square().sum()) / min(scan))
    assert np.mean(ratios) < 1.2  # the share itself is estimated from 30 samples


def test_blind_sensors_are_dropped_with_their_number():
    """U is 0 on the border: those sensors change nothing in the answer of the others."""
    pde = Poisson(17)
    latent = SolvedLatent(SpectralLatent.of_law(pde.law), pde.solve)
    inner = [(0.25, 0.5), (0.5, 0.75)]
    with pytest.warns(HeatgradWarning, match="2 of 4 sensors carry no information"):
        both = ExactGaussianPosterior(latent, [Points("u", [(0.0, 0.5), *inner, (1.0, 1.0)])])
    alone = ExactGaussianPosterior(latent, [Points("u", inner)])
    y = torch.tensor([[0.001, 0.002]], dtype=torch.float64)
    padded = torch.tensor([[0.0, 0.001, 0.002, 0.0]], dtype=torch.float64)
    assert both.sensors.num_dropped == 2
    assert torch.allclose(both.mean(padded), alone.mean(y))
    with pytest.raises(ValueError, match="sensor 0 always measures 0"):
        both.mean(padded + torch.tensor([0.1, 0, 0, 0]))
    with pytest.raises(ValueError, match="none of the 1 observations"):
        ExactGaussianPosterior(latent, [Points("u", [(0.0, 0.5)])])


def test_contradictions_are_refused():
    """Two sensors at one place: equal values pass, others do not, and with noise they average."""
    law = GaussianRandomField(Grid(9, "cells"), "neumann")
    latent = SpectralLatent.of_law(law)
    twice = [Points("a", [(0.3, 0.4)]), Points("a", [(0.3, 0.4), (0.8, 0.8)])]
    posterior = ExactGaussianPosterior(latent, twice)
    posterior.mean(torch.tensor([[0.2, 0.2, 0.1]]))
    with pytest.raises(ValueError, match=r"sensors 0 and 1 .* got 0.2 and 0.3 in case 1"):
        posterior.mean(torch.tensor([[0.2, 0.2, 0.1], [0.2, 0.3, 0.1]]))
    noisy = ExactGaussianPosterior(latent, twice, 1e-3)
    z = noisy.mean(torch.tensor([[0.2, 0.3, 0.1]]))
    assert float(noisy.sensors.instrument(latent.decode(z))[0, 0]) == pytest.approx(0.25, abs=1e-4)


def test_refusals():
    """Too many, not linear, not finite, singular: one clear line each."""
    law = GaussianRandomField(Grid(9, "cells"), "neumann")
    latent = SpectralLatent.of_law(law)
    points = Points.on_grid("a", law.grid, 20, seeded(0))
    with pytest.raises(ValueError, match=r"at most 10 observations .* got 20, .* GB"):
        ExactGaussianPosterior(latent, [points], max_observations=10)
    squared = SolvedLatent(latent, torch.square)
    with pytest.raises(ValueError, match="must decode linearly"):
        ExactGaussianPosterior(squared, [Points("u", [(0.5, 0.5)])])
    twins = Points("a", [(0.3, 0.4), (0.3, 0.4)])
    with pytest.raises(ValueError, match="positive definite"):
        ExactGaussianPosterior(latent, [twins], jitter=0.0)
    posterior = ExactGaussianPosterior(latent, [points])
    with pytest.raises(ValueError, match=r"shape \(cases, 20\)"):
        posterior.mean(torch.zeros(1, 19))
    with pytest.raises(ValueError, match="finite"):
        posterior.mean(torch.full((1, 20), torch.nan))
    with pytest.raises(ValueError, match="81 numbers"):
        ExactGaussianPosterior(latent, [points], mean=torch.zeros(7))
    with pytest.raises(ValueError, match="symmetric"):
        GaussianPrior(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="no negative eigenvalue"):
        GaussianPrior(torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]])).sample(
            1, torch.Generator()
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "field", "target", "mean", "draw"),
    [
        ("Poisson", "a", "u", 1.40, 1.96),
        ("Poisson", "u", "a", 5.95, 8.5),
        ("Helmholtz", "a", "u", 1.34, 1.98),
        ("Helmholtz", "u", "a", 5.75, 8.15),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_floors_of_the_reference(name, field, target, mean, draw):
    """128 x 128, 500 sensors: mean of the two computations of the reference, 10 % apart."""
    problem = {"Poisson": Poisson, "Helmholtz": Helmholtz}[name](128)
    latent = SolvedLatent(SpectralLatent.of_law(problem.law), problem.solve)
    found = []
    for seed in range(4):
        generator = seeded(seed)
        points = Points.on_grid(field, problem.grid, 500, generator)
        found.append(ExactGaussianPosterior(latent, [points]).floors(40, generator)[target])
    assert 100 * np.mean([f.mean for f in found]) == pytest.approx(mean, rel=0.12)
    assert 100 * np.mean([f.draw for f in found]) == pytest.approx(draw, rel=0.12)
