"""True minibatch SGD: torch's own steps, enumerated covariances, passes, exits."""

import itertools
import math

import numpy as np
import pytest
import torch

from heatgrad.core.random import stream_generator
from heatgrad.fokker_planck.ensembles.batches import draw_batches, subsets
from heatgrad.fokker_planck.ensembles.sgd import sgd_exit_times, simulate_sgd
from heatgrad.fokker_planck.processes.region import HalfSpace
from heatgrad.fokker_planck.processes.sgd import batch_share

X = torch.tensor([[1.0, 0.2], [-0.5, 1.0], [0.3, -1.2], [0.8, 0.9]], dtype=torch.float64)
Y = torch.tensor([1.0, -0.5, 0.7, 0.1], dtype=torch.float64)
START = torch.zeros(2, dtype=torch.float64)


def square(theta, x, y):
    return (x @ theta - y) ** 2 / 2


def linear(theta, s):
    return theta @ s


def batches(replicas, *, size=2, count=4, replacement=True, epochs=False):
    return draw_batches(
        count,
        size,
        replicas,
        replacement=replacement,
        epochs=epochs,
        generator=stream_generator(0, "noise"),
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("epochs", [False, True])
def test_one_replica_is_torch_sgd(momentum, epochs):
    """A plain loop of torch.optim.SGD on the same batches gives the same path to 1e-12."""
    runs = simulate_sgd(
        square,
        (X, Y),
        START,
        lr=0.1,
        batch_size=3,
        steps=25,
        momentum=momentum,
        epochs=epochs,
        record=range(26),
    )
    theta = START.clone().requires_grad_(True)
    optimizer = torch.optim.SGD([theta], lr=0.1, momentum=momentum)
    path = [theta.detach().clone()]
    for rows in itertools.islice(batches(1, size=3, epochs=epochs), 25):
        optimizer.zero_grad()
        (((X[rows[0]] @ theta - Y[rows[0]]) ** 2).mean() / 2).backward()
        optimizer.step()
        path.append(theta.detach().clone())
    torch.testing.assert_close(runs.paths[:, 0], torch.stack(path), rtol=0, atol=1e-12)
    assert runs.times == tuple(0.1 * k for k in range(26))


def test_one_of_many_is_the_same_alone():
    """Replicas together take the steps of each alone, on the batches that were drawn for it."""
    runs = simulate_sgd(square, (X, Y), START, lr=0.1, batch_size=2, steps=5, replicas=7)
    for k, rows in enumerate(zip(*itertools.islice(batches(7), 5), strict=True)):
        theta = START.clone()
        for row in rows:
            theta = theta - 0.1 * X[row].T @ (X[row] @ theta - Y[row]) / 2
        torch.testing.assert_close(runs.paths[0, k], theta, rtol=0, atol=1e-13)


def stationary(lr, size, *, replacement):
    """Return the mean and covariance of least-squares SGD, all batches enumerated.

    S = E[M S M'] + lr² E[g g'], M = I - lr H_B, g the batch's gradient at the minimiser.
    """
    best = torch.linalg.lstsq(X, Y).solution
    draws = (
        itertools.product(range(4), repeat=size)
        if replacement
        else itertools.combinations(range(4), size)
    )
    moves, kicks = [], []
    for rows in draws:
        x, y = X[list(rows)], Y[list(rows)]
        M = torch.eye(2, dtype=torch.float64) - lr * x.T @ x / size
        g = x.T @ (x @ best - y) / size
        moves.append(torch.kron(M, M))
        kicks.append(torch.outer(g, g).flatten())
    E = torch.stack(moves).mean(0)
    kick = lr**2 * torch.stack(kicks).mean(0)
    return best, torch.linalg.solve(torch.eye(4).double() - E, kick).reshape(2, 2)


@pytest.mark.parametrize(("size", "replacement"), [(1, True), (2, True), (2, False), (3, False)])
def test_state_dependent_covariance(size, replacement):
    """Least squares, enumerated: within Monte Carlo error; additive noise would be far off at 1."""
    lr, replicas = 0.4, 60_000
    best, S = stationary(lr, size, replacement=replacement)
    runs = simulate_sgd(
        square,
        (X, Y),
        START,
        lr=lr,
        batch_size=size,
        steps=60,
        replicas=replicas,
        replacement=replacement,
    )
    centred = runs.paths[0] - best
    products = (centred.unsqueeze(2) * centred.unsqueeze(1)).reshape(replicas, 4)
    errors = products.std(0) / math.sqrt(replicas)
    assert ((products.mean(0) - S.flatten()).abs() < 4.5 * errors).all()
    mean_error = centred.std(0) / math.sqrt(replicas)
    assert (centred.mean(0).abs() < 4.5 * mean_error).all()
    if size == 1:
        H = X.T @ X / 4
        g = X * (X @ best - Y).unsqueeze(1)
        M = torch.eye(2).double() - lr * H
        additive = torch.linalg.solve(
            torch.eye(4).double() - torch.kron(M, M), lr**2 * (g.T @ g / 4).flatten()
        )
        assert float((products.mean(0) - additive).abs().max() / errors.max()) > 10


@pytest.mark.parametrize("size", [1, 2, 5, 9, 10])
def test_covariance_of_a_batch_without_replacement(size):
    """One step down a slope: lr² Sigma (N - B) / (B (N - 1)), zero at B = N; with: 1 / B."""
    s = torch.randn(10, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sigma = (s - s.mean(0)).T @ (s - s.mean(0)) / 10
    for replacement in (False, True):
        runs = simulate_sgd(
            linear,
            (s,),
            torch.zeros(3).double(),
            lr=0.5,
            batch_size=size,
            steps=1,
            replicas=40_000,
            replacement=replacement,
        )
        truth = 0.25 * sigma * batch_share(10, size, replacement=replacement)
        scale = float(truth.diagonal().max())
        torch.testing.assert_close(
            runs.covariance()[0], truth, rtol=0, atol=5 * scale * math.sqrt(2 / 40_000) + 1e-15
        )


@pytest.mark.parametrize("sort", [False, True])
def test_subsets_are_all_as_likely(sort):
    """Ten subsets of 3 of 5, by Floyd's method and by sorting: chi-squared, no repeats."""
    rows = subsets(5, 3, 50_000, torch.Generator().manual_seed(0), sort=sort).sort(1).values
    assert bool((rows[:, 1:] > rows[:, :-1]).all())
    counts = torch.unique(rows, dim=0, return_counts=True)[1].double()
    assert len(counts) == 10
    assert float(((counts - 5000) ** 2 / 5000).sum()) < 27.9  # p = 0.001 of nine


def test_a_pass_sees_every_sample_once():
    """On a slope all replicas meet after each pass, whatever the order; the last batch is small."""
    s = torch.randn(7, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    runs = simulate_sgd(
        linear,
        (s,),
        torch.zeros(1).double(),
        lr=1.0,
        batch_size=1,
        steps=14,
        replicas=50,
        epochs=True,
        record=(3, 7, 14),
    )
    assert float(runs.paths[0].std()) > 0.1
    for row, passes in ((1, 1), (2, 2)):
        torch.testing.assert_close(
            runs.paths[row], -passes * s.sum().expand(50, 1), rtol=0, atol=1e-13
        )
    sizes = [b.shape[1] for b in itertools.islice(batches(3, size=3, count=7, epochs=True), 6)]
    assert sizes == [3, 3, 1, 3, 3, 1]


def test_noise_added_to_every_gradient():
    """At batch N only the added noise is left: after k steps down nothing, lr² k epsilon."""
    runs = simulate_sgd(
        linear,
        (torch.zeros(4, 2).double(),),
        START,
        lr=0.1,
        batch_size=4,
        steps=20,
        replicas=20_000,
        replacement=False,
        extra_noise=3.0,
    )
    truth = 0.01 * 20 * 3.0 * torch.eye(2).double()
    torch.testing.assert_close(runs.covariance()[0], truth, rtol=0, atol=5 * 0.6 / 100)


def test_directions_without_gradient_noise_stay_exact():
    """All samples along one axis: the other coordinate does not move, to the last bit."""
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    start = torch.tensor([0.0, 0.123], dtype=torch.float64)
    runs = simulate_sgd(square, (x, Y[:3]), start, lr=0.1, batch_size=1, steps=50, replicas=20)
    assert bool((runs.paths[0, :, 1] == 0.123).all())
    assert float(runs.paths[0, :, 0].std()) > 0


def test_exits_of_a_random_walk():
    """Steps of ±1 in (-3, 3): the mean is 9 steps, on the clock lr k."""
    sign = torch.tensor([[-1.0], [1.0]])
    exits = sgd_exit_times(
        linear,
        (sign,),
        torch.zeros(1),
        lambda x: 3 - x.abs().sum(),
        lr=1.0,
        batch_size=1,
        steps=500,
        replicas=20_000,
    )
    assert exits.status == "complete"
    assert abs(exits.value - 9) < 4 * exits.error
    assert set(np.abs(exits.places[:, 0])) == {3.0}
    assert (exits.times % 2 == 1).all()
    halved = sgd_exit_times(
        linear,
        (sign,),
        torch.zeros(1),
        lambda x: 1.5 - x.abs().sum(),
        lr=0.5,
        batch_size=1,
        steps=500,
        replicas=20_000,
    )
    np.testing.assert_array_equal(halved.times, exits.times / 2)


def test_exits_are_those_of_the_paths():
    """Against all recorded paths: the first step outside; censored where there is none."""
    options = {"lr": 0.3, "batch_size": 1, "replicas": 300, "momentum": 0.5}
    region = HalfSpace((1.0, 0.0), 0.8)
    exits = sgd_exit_times(square, (X, Y), START, region, steps=12, **options)
    runs = simulate_sgd(square, (X, Y), START, steps=12, record=range(13), **options)
    outside = runs.paths[:, :, 0] >= 0.8
    first = torch.where(outside.any(0), outside.int().argmax(0), torch.tensor(12))
    np.testing.assert_allclose(exits.times, 0.3 * first.numpy(), rtol=1e-15)
    np.testing.assert_array_equal(exits.exited, outside.any(0).numpy())
    assert exits.status == "censored"
    assert 0 < exits.num_censored < 300


def test_divergence_is_a_status():
    """A learning rate far beyond 2 / lambda: no silent numbers."""
    options = {"lr": 1e6, "batch_size": 2, "steps": 200, "replicas": 5}
    assert simulate_sgd(square, (X, Y), START, **options).status == "diverged"
    exits = sgd_exit_times(square, (X, Y), START, HalfSpace((0.0, 1.0), math.inf), **options)
    assert exits.status == "diverged"
    assert math.isnan(exits.value)


def test_types_seeds_and_progress():
    """Single precision and whole-number labels go through; a seed is a path."""
    labels = torch.tensor([0, 1, 1, 0])

    def cross_entropy(theta, x, label):
        return torch.nn.functional.cross_entropy(x @ theta.reshape(2, 2), label)

    seen = []
    options = {"lr": 0.1, "batch_size": 2, "steps": 200, "replicas": 4, "chunk": 3}
    a, b, c = (
        simulate_sgd(
            cross_entropy,
            (X, labels),
            torch.zeros(4),
            **options,
            seed=seed,
            progress=lambda done, total: seen.append((done, total)),
        ).paths
        for seed in (0, 0, 1)
    )
    assert a.dtype == torch.float32
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert seen[:5] == [(100, 400), (200, 400), (300, 400), (400, 400), (400, 400)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.0}, "lr must be positive"),
        ({"batch_size": 0}, "batch_size must be an integer"),
        ({"batch_size": 5, "replacement": False}, "batch_size must be at most the 4"),
        ({"batch_size": 5, "epochs": True}, "batch_size must be at most the 4"),
        ({"steps": 0}, "steps must be an integer of at least 1"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"extra_noise": -1.0}, "extra_noise must be at least 0"),
        ({"record": (3, 2)}, "record must be increasing, from 0 to 5"),
        ({"record": (6,)}, "record must be increasing, from 0 to 5"),
        ({"data": (X, Y[:3])}, "data must be tensors of as many samples"),
        ({"theta0": START * math.nan}, "x0 must be finite"),
        ({"loss": lambda t, x, y: (t / 0).sum()}, "gradient at theta0 must be finite"),
    ],
)
def test_refusals(change, message):
    args = {"loss": square, "data": (X, Y), "theta0": START}
    args |= {"lr": 0.1, "batch_size": 2, "steps": 5} | change
    with pytest.raises(ValueError, match=message):
        simulate_sgd(args.pop("loss"), args.pop("data"), args.pop("theta0"), **args)


def test_an_exit_starts_inside():
    with pytest.raises(ValueError, match="x0 must be inside the region"):
        sgd_exit_times(
            square, (X, Y), START, HalfSpace((1.0, 0.0), -1.0), lr=0.1, batch_size=1, steps=5
        )
