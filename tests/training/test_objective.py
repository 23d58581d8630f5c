"""Losses that call the network themselves, in the loop that trains by other losses too."""

import math

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import nn

from heatgrad.data import Dataset
from heatgrad.diffusion import DenoisingTransformer, EDMLoss, GaussianDenoiser, ReconstructionLoss
from heatgrad.optim import DiffusionSGD
from heatgrad.training import (
    LOSSES,
    Checkpoints,
    Objective,
    Recipe,
    Replica,
    Training,
    backend_of,
    encoded,
    evaluate,
    initialised,
    is_objective,
    train,
    train_replicas,
    value_of,
)

SHAPE, MEAN, STD = (1, 4, 4), 0.5, 0.3
LOSS = EDMLoss(log_mean=-1.0, log_std=1.0, drop_label=0.25)


def normal(num_train=512, num_test=2000, seed=0):
    """Return images of independent normal numbers, with labels that say nothing."""
    generator = torch.Generator().manual_seed(seed)
    x = MEAN + STD * torch.randn(num_train + num_test, *SHAPE, generator=generator)
    y = torch.arange(num_train + num_test) % 3
    return Dataset.from_clean(
        x_train=x[:num_train],
        y_train=y[:num_train],
        x_test=x[num_train:],
        y_test=y[num_train:],
        num_classes=3,
    )


@pytest.fixture(scope="module")
def data():
    return normal(num_test=300)


def network(seed=0):
    options = {"patch": 2, "width": 16, "depth": 1, "heads": 2, "dropout": 0.1}
    return initialised(lambda: DenoisingTransformer(SHAPE, 3, **options), seed=seed)


def made(data, *, loss=LOSS, model=None, epochs=3, lr=3e-3, recipe=Recipe(), **options):  # noqa: B008
    model = network() if model is None else model
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    options = {"batch_size": 64, "seed": 5} | options
    return Training(model, optimizer, data, loss=loss, epochs=epochs, recipe=recipe, **options)


def told(records):
    return [str({k: v for k, v in vars(r).items() if k != "seconds"}) for r in records]


def exact_loss(loss, std):
    """Return the loss (D.22) of the exact denoiser of N(m, std^2), by Gauss-Hermite quadrature.

    The posterior variance of a number is s^2 std^2 / (s^2 + std^2) at level s.
    """
    nodes, weights = hermegauss(80)
    s = torch.exp(loss.log_mean + loss.log_std * torch.tensor(nodes))
    weighted = (s**2 + loss.sigma_data**2) / (s * loss.sigma_data) ** 2
    values = weighted * s**2 * std**2 / (s**2 + std**2)
    return float((torch.tensor(weights) * values).sum() / math.sqrt(2 * math.pi))


def test_both_kinds_are_told_apart():
    assert isinstance(LOSS, Objective)
    assert is_objective(LOSS)
    assert not any(map(is_objective, LOSSES.values()))
    with pytest.raises(TypeError, match="loss must be an instance, got the class EDMLoss"):
        is_objective(EDMLoss)


def test_an_objective_is_given_the_network():
    x, y = torch.randn(4, 3), torch.zeros(4, dtype=torch.int64)
    model = nn.Linear(3, 3)
    assert value_of(ReconstructionLoss(), model, x, y) == (model(x) - x).square().mean()
    wanted = nn.functional.cross_entropy(model(x), y)
    assert torch.equal(value_of(nn.functional.cross_entropy, model, x, y), wanted)


def test_there_is_no_accuracy_and_a_record_is_finite(data):
    for record in made(data).records():
        assert math.isnan(record.test_accuracy)
        assert math.isnan(record.test_accuracy_clean)
        assert record.is_finite
        assert record.grad_norm > 0


def test_the_test_loss_is_drawn_alike_each_time(data):
    """The same network has the same test loss to the last bit; another seed has another."""
    model = network().eval()
    before = torch.random.get_rng_state()
    one, two = (evaluate(model, data, loss=LOSS, seed=3) for _ in range(2))
    assert one.loss == two.loss
    assert evaluate(model, data, loss=LOSS, seed=4).loss != one.loss
    assert torch.equal(torch.random.get_rng_state(), before)
    frozen = made(data, lr=0.0, seed=3)
    assert [record.test_loss for record in frozen.records()] == [one.loss] * 3


def test_the_test_loss_of_the_exact_denoiser_is_its_closed_form():
    """EDM's loss of an exact Gaussian denoiser is an integral over levels."""
    loss = EDMLoss(sigma_data=1.0, log_mean=-1.0, log_std=1.0)

    class Exact(nn.Module):
        def forward(self, x, sigma, label=None):
            return GaussianDenoiser(torch.full(SHAPE, MEAN), std=STD)(x, sigma)

    found = evaluate(Exact(), normal(num_train=2, num_test=20_000), loss=loss).loss
    # 320,000 squared errors, whose weighted deviation is below 3 times their mean: 1 %.
    assert found == pytest.approx(exact_loss(loss, STD), rel=0.02)


def test_a_small_training_reaches_the_exact_denoiser():
    """From the denoiser of N(0, 1) to within 3 % of the least loss that is possible."""
    data = normal(num_train=4096)
    loss = EDMLoss(sigma_data=1.0, log_mean=-1.0, log_std=1.0, drop_label=0.5)
    recipe = Recipe(average=0.99, average_warmup=True)
    options = {"patch": 4, "width": 32, "depth": 1}
    model = initialised(lambda: DenoisingTransformer(SHAPE, 3, **options), seed=0)
    training = made(data, loss=loss, model=model, epochs=14, lr=5e-3, recipe=recipe)
    first = evaluate(training.model, data, loss=loss, seed=5).loss
    last = list(training.records())[-1].test_loss
    exact = GaussianDenoiser(torch.full(SHAPE, MEAN), std=STD)
    best = evaluate(_Called(exact), data, loss=loss, seed=5).loss  # the same draws
    assert best == pytest.approx(exact_loss(loss, STD), rel=0.05)
    assert first > 1.4 * best
    assert 0.99 * best < last < 1.03 * best


class _Called(nn.Module):
    def __init__(self, denoiser):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x, sigma, label=None):
        return self.denoiser(x, sigma)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(average=0.9, average_warmup=True)])
def test_one_that_was_left_goes_on_to_the_same_bits(data, tmp_path, recipe):
    """Noise, levels, dropped labels and dropout of an epoch depend on the seed alone."""
    whole = made(data, recipe=recipe)
    records = list(whole.records())
    left = made(data, recipe=recipe)
    checkpoints = Checkpoints(tmp_path, identity="mine")
    kept = [next(left.records())]
    checkpoints.save(left, kept)
    torch.manual_seed(99)
    gone_on = made(data, recipe=recipe, model=network(seed=7))
    kept = checkpoints.restore(gone_on)
    assert math.isnan(kept[0].test_accuracy)  # NaN goes through the file
    kept += gone_on.records()
    assert told(kept) == told(records)
    wanted, found = whole.model.state_dict(), gone_on.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_draws_do_not_depend_on_the_optimizer(data):
    """Matched arms see the same noise: at a learning rate of 0 all train alike."""

    def losses(make):
        model = network()
        records = train(
            model, make(model.parameters()), data, loss=LOSS, epochs=2, batch_size=64, seed=1
        )
        return [record.train_loss for record in records]

    plain = losses(lambda params: torch.optim.SGD(params, lr=1e-30))
    assert losses(lambda params: DiffusionSGD(params, lr=1e-30, diffusion=0.2)) == plain


class Quiet:
    """A loss that calls the network twice and draws nothing."""

    calls_network = True

    def __call__(self, model, x, y):  # noqa: D102
        return (model(x, torch.tensor(0.5), y) - model(2 * x, torch.tensor(1.0))).square().mean()


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(data, parts):
    model = network().double().eval()
    with torch.no_grad():
        for param in model.parameters():
            param.add_(0.1)
    x, y = data.x_train[:31].double(), data.y_train[:31]
    grads, values = [], []
    for recipe in (Recipe(), Recipe(accumulate=parts)):
        model.zero_grad()
        values.append(recipe.gradient(model, x, y, Quiet()))
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert values[1] == pytest.approx(values[0], rel=1e-12)
    assert torch.allclose(grads[1], grads[0], rtol=1e-9, atol=1e-14)


def test_a_part_draws_for_itself(data):
    """With draws, the loss of a batch in two parts is the mean of the losses of its halves."""
    model = network().eval()
    x, y = data.x_train[:64], data.y_train[:64]
    torch.manual_seed(0)
    with torch.no_grad():
        halves = [float(LOSS(model, x[k : k + 32], y[k : k + 32])) for k in (0, 32)]
    torch.manual_seed(0)
    found = Recipe(accumulate=2).gradient(model, x, y, LOSS)
    assert found == pytest.approx(sum(halves) / 2, rel=1e-6)


def test_bfloat16_is_for_the_network_alone(data):
    records = list(made(data, recipe=Recipe(precision="bfloat16")).records())
    plain = list(made(data).records())
    assert records[-1].test_loss != plain[-1].test_loss
    assert records[-1].test_loss == pytest.approx(plain[-1].test_loss, rel=0.05)


def test_labels_are_not_smoothed():
    with pytest.raises(ValueError, match="label_smoothing needs loss 'cross_entropy'"):
        Recipe(label_smoothing=0.1).training_loss(LOSS)


class Line(nn.Module):
    """One number, which is moved by 1 at every step."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))


@pytest.mark.parametrize("has_warmup", [False, True])
def test_the_average_of_weights_follows_its_recursion(has_warmup):
    """a_n = d_n a + (1 - d_n) w_n with d_n = d, or min(d, (1 + n) / (10 + n)), from a_0 = w_0."""
    model = Line()
    averaged = Recipe(average=0.95, average_warmup=has_warmup).averaged(model)
    wanted = 0.0
    for n in range(400):
        with torch.no_grad():
            model.value.fill_(float(n))
        averaged.update_parameters(model)
        decay = min(0.95, (1 + n) / (10 + n)) if has_warmup else 0.95
        wanted = float(n) if n == 0 else decay * wanted + (1 - decay) * n
        assert float(averaged.module.value.detach()) == pytest.approx(wanted, rel=1e-5)
    # Either lags behind a line by d / (1 - d) = 19 steps in the end.
    assert 399 - wanted == pytest.approx(19.0, rel=1e-3)


def test_a_warmup_needs_an_average():
    with pytest.raises(ValueError, match="average_warmup needs an average of weights"):
        Recipe(average_warmup=True)


def test_replicas_are_trained_by_the_loop(data):
    models = [network(seed) for seed in (0, 1)]
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in models]
    assert backend_of(models, optimizers, data, loss=LOSS, batch_size=64, always=True) == "loop"
    replicas = [Replica(m, o, data, 0) for m, o in zip(models, optimizers, strict=True)]
    options = {"loss": LOSS, "epochs": 1, "batch_size": 64}
    (records,) = train_replicas(replicas, **options)
    assert all(record.is_finite for record in records)
    with pytest.raises(ValueError, match="one network after the other, got backend 'vmap'"):
        next(train_replicas(replicas, backend="vmap", **options))


def test_data_are_encoded_once(data):
    codes = encoded(data, lambda x: x.mean(dim=(2, 3)), batch_size=100)
    assert codes.input_shape == (1,)
    assert torch.equal(codes.x_test[250], data.x_test[250].mean(dim=(1, 2)))
    assert codes.y_test is data.y_test
