"""The noise of networks against dense matrices and closed forms."""

import math
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from heatgrad.fokker_planck.noise.alignment import subspace_overlap
from heatgrad.fokker_planck.noise.gradients import gradient_noise
from heatgrad.fokker_planck.processes.sgd import SGDDiffusion
from heatgrad.landscape.objective import DataLoss
from heatgrad.landscape.product import HessianProduct


class Linear(nn.Module):
    """The gradient of the mean output of this network is the sample itself."""

    def __init__(self, size, dtype=torch.float64):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(size, dtype=dtype))

    def forward(self, x):  # noqa: D102
        return x @ self.theta


def mean_output(outputs, targets):
    return outputs.mean()


def planted(rows, **options):
    """The noise whose sample gradients are these rows."""
    return gradient_noise(
        Linear(rows.shape[1], rows.dtype), mean_output, (rows, torch.zeros(len(rows))), **options
    )


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(23, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (23,), generator=generator)


def dense(model, data):
    """G by a loop of backward passes, then Σ."""
    rows = []
    for x, y in zip(*(part.split(1) for part in data), strict=True):
        grads = torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    rows = torch.stack(rows)
    centred = rows - rows.mean(0)
    return rows, centred.T @ centred / len(rows)


def test_eigenvalues_against_the_dense_covariance(net, data):
    """Gram and covariance have the same nonzero spectrum; 4e-15 of the largest, as measured."""
    rows, sigma = dense(net, data)
    noise = gradient_noise(net, cross_entropy, data, bootstrap=0)
    expected = torch.linalg.eigvalsh(sigma).flip(0)[:22]
    error = float((noise.eigenvalues - expected).abs().max() / expected[0])
    print(f"eigenvalues differ by {error:.1e} of the largest")
    assert error < 4e-15
    assert noise.trace == pytest.approx(float(sigma.trace()), rel=1e-13)
    assert noise.participation_ratio == pytest.approx(
        float(sigma.trace() ** 2 / (sigma**2).sum()), rel=1e-12
    )
    assert noise.intrinsic_dimension == pytest.approx(float(sigma.trace() / expected[0]), rel=1e-12)
    mean = rows.mean(0)
    torch.testing.assert_close(noise.mean_gradient, mean, rtol=1e-12, atol=1e-15)
    assert noise.noise_scale() == pytest.approx(float(sigma.trace() / (mean @ mean)), rel=1e-12)
    torch.testing.assert_close(noise.gram.toward_mean, (rows - mean) @ mean, rtol=1e-12, atol=1e-14)


def test_eigenvectors_are_those_of_the_dense_covariance(net, data):
    """Σ v = λ v to rounding over λ, and the rows are orthonormal."""
    _, sigma = dense(net, data)
    noise = gradient_noise(net, cross_entropy, data, chunk=5, bootstrap=0)
    vectors = noise.eigenvectors(10)
    error = vectors @ sigma - noise.eigenvalues[:10, None] * vectors
    assert float(error.abs().max()) < 1e-13 * noise.largest
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(10).double(), rtol=0, atol=1e-11)
    noise_of = noise.variance(torch.randn(4, 51, dtype=torch.float64))
    assert noise_of.shape == (4,)
    torch.testing.assert_close(noise.variance(3 * vectors), noise.eigenvalues[:10])


@pytest.mark.parametrize("memory", [1, 1500, 4000, 8000, 20000])
@pytest.mark.parametrize("chunk", [3, 8])
def test_memory_and_chunk_change_nothing_but_the_work(memory, chunk, net, data):
    """One tensor and one chunk at a time, or all at once: the same matrix."""
    whole = gradient_noise(net, cross_entropy, data, bootstrap=0)
    assert whole.gram.evaluations <= 2 * 23
    parts = gradient_noise(net, cross_entropy, data, chunk=chunk, memory=memory, bootstrap=0)
    torch.testing.assert_close(parts.gram.products, whole.gram.products, rtol=1e-12, atol=1e-16)
    torch.testing.assert_close(parts.mean_gradient, whole.mean_gradient, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(parts.losses, whole.losses, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        parts.gram.toward_mean, whole.gram.toward_mean, rtol=1e-10, atol=1e-14
    )
    if memory == 1:
        assert parts.gram.evaluations > 4 * 23 * (23 / chunk) / 2


class Counter(TorchDispatchMode):
    """Adds up the bytes of tensors that are alive, at every operation."""

    def __init__(self):
        super().__init__()
        self.alive, self.most, self.seen = 0, 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, torch.Tensor):
                self._count(one)
        return out

    def _count(self, tensor):
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.seen:
            self.seen.add(key)
            self.alive += storage.nbytes()
            self.most = max(self.most, self.alive)
            weakref.finalize(storage, self._gone, key, storage.nbytes())

    def _gone(self, key, nbytes):
        self.seen.discard(key)
        self.alive -= nbytes


def most_bytes(num_samples, memory, chunk):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(50, 400), nn.Tanh(), nn.Linear(400, 50), nn.Tanh())
    net.append(nn.Linear(50, 3))
    x = torch.randn(num_samples, 50)
    y = torch.randint(0, 3, (num_samples,))
    counter = Counter()
    with counter:
        gradient_noise(net, cross_entropy, (x, y), chunk=chunk, memory=memory, bootstrap=0)
    return counter.most


def test_memory_is_bounded_by_the_chunk_and_not_by_the_samples():
    """All living tensors are counted: twice and four times the samples need no more.

    40,603 parameters: the whole matrix of gradients would take 10, 21 and 42 MB.
    """
    budget = 2_500_000
    found = [most_bytes(n, budget, 4) for n in (64, 128, 256)]
    whole = most_bytes(256, 2**30, 4)
    print("bytes alive, at most:", found, "without a budget:", whole)
    assert whole > 256 * 40_000 * 4
    assert max(found) < 256 * 40_000 * 4 / 3
    assert max(found) - min(found) < 3_500_000  # Gram matrices, 8 n² bytes each, a few of them


def test_linear_regression_has_its_covariance_in_closed_form():
    """g_i = (x_i . theta - y_i) x_i, by hand; and the same D as the process of the wing."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(40, generator=generator, dtype=torch.float64)
    net = Linear(3)
    with torch.no_grad():
        net.theta.copy_(torch.tensor([0.3, -1.0, 2.0]))
    noise = gradient_noise(net, lambda o, t: ((o - t) ** 2).mean() / 2, (x, y), bootstrap=0)
    residual = x.numpy() @ net.theta.detach().numpy() - y.numpy()
    sigma = np.cov((residual[:, None] * x.numpy()).T, bias=True)
    np.testing.assert_allclose(
        noise.eigenvalues.numpy(), np.linalg.eigvalsh(sigma)[::-1], rtol=1e-13
    )
    for replacement in (True, False):
        process = SGDDiffusion(
            lambda theta, x, y: (x @ theta - y) ** 2 / 2,
            (x, y),
            lr=0.1,
            batch_size=7,
            replacement=replacement,
        )
        diffusion = process.diffusion(net.theta.detach()[None])[0]
        assert noise.temperature(0.1, 7, replacement=replacement) == pytest.approx(
            float(diffusion.trace()) / 3, rel=1e-12
        )
        along = noise.temperatures(0.1, 7, replacement=replacement)
        torch.testing.assert_close(along, torch.linalg.eigvalsh(diffusion).flip(0))


def test_rank_is_at_most_samples_less_one():
    """Of 6 random rows in 50 dimensions 5; of 50 rows in 6 dimensions 6; repeated ones add none."""
    torch.manual_seed(3)
    rows = torch.randn(6, 50, dtype=torch.float64)
    few = planted(rows)
    assert (few.rank, len(few.eigenvalues)) == (5, 5)
    with pytest.raises(ValueError, match="from 1 to the rank of 5 that 6 samples give, got 6"):
        few.eigenvectors(6)
    many = planted(torch.randn(50, 6, dtype=torch.float64))
    assert (many.rank, len(many.eigenvalues)) == (6, 6)
    assert planted(torch.cat([rows, rows])).rank == 5
    assert planted(torch.cat([rows, rows]).float()).rank == 5


def test_no_noise_at_an_interpolating_minimum():
    """All gradients vanish: Σ = 0, ranks are not defined, and nothing divides by zero silently."""
    noise = planted(torch.zeros(5, 3, dtype=torch.float64), bootstrap=3)
    assert (noise.trace, noise.rank, noise.temperature(0.1, 2)) == (0, 0, 0)
    assert math.isnan(noise.intrinsic_dimension)
    assert math.isnan(noise.participation_ratio)
    assert math.isnan(noise.noise_scale())
    assert noise.noise_scale(unbiased=True) == math.inf
    assert all(math.isnan(end) for end in noise.interval("trace"))
    assert math.isnan(noise.alignment(lambda rows: rows).noise_curvature)


def test_ranks_of_planted_spectra():
    """Eight equal directions have dimension 8 both ways; one direction has dimension 1."""
    rows = torch.cat([torch.eye(8), -torch.eye(8)]).double()
    noise = planted(rows, bootstrap=0)
    assert noise.intrinsic_dimension == pytest.approx(8)
    assert noise.participation_ratio == pytest.approx(8)
    one = planted(torch.arange(5.0)[:, None] * torch.ones(1, 3), bootstrap=0)
    assert one.intrinsic_dimension == pytest.approx(1, rel=1e-6)
    assert one.rank == 1


def test_temperature_identities():
    """Mean of T_i over p is T; T scales as lr / batch; without replacement all n give zero."""
    torch.manual_seed(4)
    noise = planted(torch.randn(30, 4, dtype=torch.float64), bootstrap=0)
    hot = noise.temperature(0.2, 3)
    assert hot == pytest.approx(0.2 * noise.trace / 3 / (2 * 4), rel=1e-13)
    assert float(noise.temperatures(0.2, 3).sum()) / 4 == pytest.approx(hot, rel=1e-13)
    axes = noise.temperatures(0.2, 3, directions=torch.eye(4))
    assert float(axes.mean()) == pytest.approx(hot, rel=1e-13)
    assert noise.temperature(0.4, 6) == pytest.approx(hot, rel=1e-13)
    assert noise.temperature(0.2, 30, replacement=False) == 0
    assert noise.temperature(0.2, 3, unbiased=True) == pytest.approx(hot * 30 / 29, rel=1e-13)
    with pytest.raises(ValueError, match="at most the 30 samples without replacement, got 31"):
        noise.temperature(0.1, 31, replacement=False)
    with pytest.raises(ValueError, match="lr must be positive"):
        noise.temperatures(0.0, 3)
    with pytest.raises(ValueError, match=r"must have shape \(rows, 4\), got \(1, 3\)"):
        noise.variance(torch.ones(1, 3))
    with pytest.raises(ValueError, match="got a row of zeros"):
        noise.variance(torch.zeros(1, 4))


def test_the_unbiased_factor_and_noise_scale():
    """Over 400 draws of 8 Gaussian rows: trace and squared gradient right on average, 5 errors."""
    generator = torch.Generator().manual_seed(5)
    scales = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    mean = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
    traces, squares = [], []
    for _ in range(400):
        rows = mean + scales * torch.randn(8, 3, generator=generator, dtype=torch.float64)
        noise = planted(rows, bootstrap=0)
        traces.append(noise.trace * noise.unbiased_factor)
        squares.append(
            traces[-1] / noise.noise_scale(unbiased=True)
            if noise.noise_scale(unbiased=True) < math.inf
            else math.nan
        )
    error = np.std(traces) / 20
    assert abs(np.mean(traces) - 14) < 5 * error
    assert abs(np.mean(traces) * 7 / 8 - 14) > 5 * error  # without the factor
    known = np.array(squares)[np.isfinite(squares)]
    assert len(known) > 200


def test_a_large_mean_gradient_costs_no_accuracy_in_single_precision():
    """The mean is 1e4 times the noise: products that are centred afterwards would lose it all."""
    generator = torch.Generator().manual_seed(6)
    rows = (1e4 + torch.randn(40, 30, generator=generator, dtype=torch.float64)).float()
    noise = planted(rows, chunk=7, memory=3000, bootstrap=0)
    expected = np.linalg.eigvalsh(np.cov(rows.double().numpy().T, bias=True))[::-1]
    np.testing.assert_allclose(noise.eigenvalues.numpy(), expected, rtol=1e-3)
    naive = (rows @ rows.T / 40).double()
    centred = naive - naive.mean(0) - naive.mean(1)[:, None] + naive.mean()
    assert abs(float(centred.trace()) / noise.trace - 1) > 0.01


def test_bootstrap_intervals_cover_a_planted_gaussian():
    """Spectrum 1, 1/2, 1/4, ... of 80 samples: 95 % intervals cover the truth in 85 to 100 %."""
    generator = torch.Generator().manual_seed(7)
    variances = 2.0 ** -torch.arange(12, dtype=torch.float64)
    mean = torch.full((12,), 0.2, dtype=torch.float64)
    trace = float(variances.sum())
    truth = {
        "trace": trace,
        "largest": 1.0,
        "participation_ratio": trace**2 / float((variances**2).sum()),
        "noise_scale": trace / float(mean @ mean),
    }
    hits = dict.fromkeys(truth, 0)
    for seed in range(100):
        rows = torch.randn(80, 12, generator=generator, dtype=torch.float64) * variances.sqrt()
        noise = planted(mean + rows, seed=seed, bootstrap=100)
        for name, value in truth.items():
            low, high = noise.interval(name)
            hits[name] += low < value < high
    print("covered, of 100:", hits)
    assert min(hits.values()) >= 85


def test_a_resample_is_the_summary_of_those_rows():
    """From the Gram matrix alone, against the dense covariance of the rows drawn."""
    from heatgrad.fokker_planck.noise.spectrum import summary

    torch.manual_seed(8)
    rows = torch.randn(20, 5, dtype=torch.float64) + 3
    noise = planted(rows, bootstrap=0)
    drawn = torch.randint(0, 20, (20,))
    found = summary(noise.gram, torch.bincount(drawn, minlength=20).double())
    again = planted(rows[drawn], bootstrap=0)
    for name, value in found.items():
        assert value == pytest.approx(again._summary[name], rel=1e-11)
    low, high = planted(rows, seed=1).interval("trace")
    assert (low, high) == planted(rows, seed=1).interval("trace")
    assert (low, high) != planted(rows, seed=2).interval("trace")
    with pytest.raises(ValueError, match="got bootstrap=0"):
        noise.interval("trace")
    with pytest.raises(ValueError, match="name must be one of"):
        noise.interval("median")


def test_many_samples_take_the_iterative_largest_eigenvalue():
    """Above 300 samples ARPACK; against the dense one."""
    torch.manual_seed(9)
    rows = torch.randn(400, 6, dtype=torch.float64)
    noise = planted(rows, bootstrap=2)
    assert noise.largest == pytest.approx(float(noise.eigenvalues[0]), rel=1e-10)


def rotated(rows):
    """A symmetric matrix and its product with rows."""
    torch.manual_seed(10)
    size = rows.shape[1]
    part = torch.randn(size, size, dtype=torch.float64)
    hessian = part @ part.T / size
    return hessian, lambda vectors: (vectors.double() @ hessian).to(vectors)


def test_alignment_against_dense_matrices():
    """tr(H Σ), tr H, norms, curvatures: exact where nothing is left to chance."""
    torch.manual_seed(11)
    rows = torch.randn(12, 9, dtype=torch.float64) * torch.linspace(0.1, 2, 9)
    hessian, product = rotated(rows)
    sigma = torch.from_numpy(np.cov(rows.numpy().T, bias=True))
    noise = planted(rows, bootstrap=0)
    top = torch.linalg.eigh(hessian)[1].T[-3:]
    found = noise.alignment(product, directions=4, hessian_vectors=top)
    exact = float((hessian * sigma).sum())
    assert found.product_trace == pytest.approx(exact, rel=1e-12)
    assert found.hessian_trace == pytest.approx(float(hessian.trace()), rel=1e-12)
    assert (found.product_error, found.hessian_error) == (0, 0)
    ratio = (exact / float(sigma.trace())) / (float(hessian.trace()) / 9)
    assert found.ratio == pytest.approx(ratio, rel=1e-12)
    cosine = exact / float(hessian.norm() * sigma.norm())
    assert found.cosine == pytest.approx(cosine, rel=1e-12)
    vectors = torch.linalg.eigh(sigma)[1].T.flip(0)[:4]
    torch.testing.assert_close(
        found.curvatures, ((vectors @ hessian) * vectors).sum(1), rtol=1e-10, atol=1e-12
    )
    assert found.overlap == pytest.approx(float(((vectors @ top.T) ** 2).sum()) / 3, rel=1e-10)
    assert found.chance == pytest.approx(4 / 9)


def test_alignment_estimates_are_within_their_errors():
    """60 directions, 5 exact, 40 draws for the rest: 4 standard errors of the dense values."""
    torch.manual_seed(12)
    rows = torch.randn(80, 60, dtype=torch.float64)
    hessian, product = rotated(rows)
    sigma = torch.from_numpy(np.cov(rows.numpy().T, bias=True))
    found = planted(rows, bootstrap=0).alignment(product, directions=5, draws=40)
    assert 0 < found.product_error < 0.1 * found.product_trace
    assert abs(found.product_trace - float((hessian * sigma).sum())) < 4 * found.product_error
    assert abs(found.hessian_trace - float(hessian.trace())) < 4 * found.hessian_error
    assert found.hessian_norm == pytest.approx(float(hessian.norm()), rel=0.1)
    assert found.overlap is None


def test_noise_in_the_only_curved_direction_and_across_it():
    """H = diag(1, 0, 0): noise along it has ratio 3 and cosine 1, noise across it 0 and 0."""
    curve = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    for axis, ratio in ((0, 3), (1, 0)):
        rows = torch.zeros(6, 3, dtype=torch.float64)
        rows[:, axis] = torch.arange(6.0)
        found = planted(rows, bootstrap=0).alignment(
            lambda v: v * curve, hessian_vectors=curve[None]
        )
        assert found.ratio == pytest.approx(ratio, abs=1e-12)
        assert found.cosine == pytest.approx(ratio / 3, abs=1e-12)
        assert found.overlap == pytest.approx(ratio / 3, abs=1e-12)


def test_alignment_with_a_real_hessian_at_a_fitted_network():
    """At a least-squares minimum with noise of variance s² on the targets, Σ is about s² H."""
    generator = torch.Generator().manual_seed(13)
    x = torch.randn(800, 4, generator=generator, dtype=torch.float64)
    x = x * torch.tensor([3.0, 1.0, 0.5, 0.1])
    y = 0.5 * torch.randn(800, generator=generator, dtype=torch.float64)
    net = Linear(4)
    with torch.no_grad():
        net.theta.copy_(torch.linalg.lstsq(x, y[:, None]).solution[:, 0])
    noise = gradient_noise(net, lambda o, t: ((o - t) ** 2).mean() / 2, (x, y), bootstrap=0)
    hessian = x.T @ x / 800
    found = noise.alignment(lambda rows: rows @ hessian)
    assert found.cosine == pytest.approx(1, abs=0.02)
    assert float(noise.mean_gradient.norm()) < 1e-12
    assert found.ratio > 3


def test_the_product_of_the_landscape_fits(net, data):
    """`HessianProduct` as it is, in the same order of parameters; against a dense Hessian."""
    noise = gradient_noise(net, cross_entropy, data, bootstrap=0)
    found = noise.alignment(HessianProduct(net, DataLoss(cross_entropy, data)), draws=60)
    params = dict(net.named_parameters())
    sizes = [p.numel() for p in params.values()]

    def loss(flat):
        parts = torch.split(flat, sizes)
        state = {n: q.view(p.shape) for (n, p), q in zip(params.items(), parts, strict=True)}
        return cross_entropy(torch.func.functional_call(net, state, (data[0],)), data[1])

    flat = torch.cat([p.detach().reshape(-1) for p in params.values()])
    hessian = torch.func.hessian(loss)(flat)
    exact = float((hessian * dense(net, data)[1]).sum())
    assert found.product_trace == pytest.approx(exact, rel=1e-10)
    assert found.hessian_trace == pytest.approx(float(hessian.trace()), rel=1e-10)
    assert found.hessian_norm == pytest.approx(float(hessian.norm()), rel=1e-10)


@pytest.mark.parametrize(
    ("hvp", "options", "message"),
    [
        (
            lambda v: v[0],
            {},
            r"rows of shape \(3, 3\), as it was given, got \(3,\)",
        ),
        (lambda v: v * math.nan, {}, "finite products, got NaN"),
        (lambda v: v, {"draws": 1}, "draws at least 2, got 10 and 1"),
        (lambda v: v, {"directions": -1}, "directions must be at least 0"),
    ],
)
def test_products_and_numbers_are_checked(hvp, options, message):
    torch.manual_seed(14)
    noise = planted(torch.randn(5, 3, dtype=torch.float64), bootstrap=0)
    with pytest.raises(ValueError, match=message):
        noise.alignment(hvp, **options)


def test_overlaps_of_subspaces_do_not_depend_on_their_bases():
    rows = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    mixed = torch.tensor([[1.0, 2.0], [0.0, 1.0]]) @ rows
    assert subspace_overlap(rows, mixed) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="rows of one length"):
        subspace_overlap(rows, rows[:, :3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 0}, "memory must be positive"),
        ({"bootstrap": -1}, "bootstrap must be at least 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        planted(torch.ones(3, 2), **options)


def test_too_many_samples_for_a_gram_matrix_are_refused():
    rows = torch.zeros(30_000, 1)
    with pytest.raises(ValueError, match=r"30000 samples would take 7 GiB.*limit=2000"):
        planted(rows, chunk=30_000)
    assert planted(rows, chunk=50, limit=50, bootstrap=0).num_samples == 50


def test_networks_of_every_kind_agree_with_their_chunks():
    """Convolutions with batch norm in single precision: one pass against several passes."""
    torch.manual_seed(15)
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    net = nn.Sequential(*layers)
    x, y = torch.randn(16, 1, 6, 6), torch.randint(0, 3, (16,))
    for _ in range(5):
        net(torch.randn(16, 1, 6, 6))
    whole = gradient_noise(net, cross_entropy, (x, y))
    parts = gradient_noise(net, cross_entropy, (x, y), chunk=3, memory=2000)
    assert net.training
    torch.testing.assert_close(parts.eigenvalues, whole.eigenvalues, rtol=1e-4, atol=1e-9)
    assert whole.eigenvectors(3).dtype == torch.float32
    low, high = whole.interval("trace")
    assert low < whole.trace * 16 / 15 < high
