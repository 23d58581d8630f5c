"""Objectives: minimal where the denoiser is exact, gradients that go where they should."""

import math

import numpy as np
import pytest
import torch

from heatgrad.diffusion import (
    EDMLoss,
    GaussianDenoiser,
    HybridLoss,
    LossHistory,
    SimpleLoss,
    VLBLoss,
    from_noise_prediction,
    levels_of,
    linear_alpha_bars,
    sigmas_of,
    variational_bound,
)
from heatgrad.training import Recipe

AB = linear_alpha_bars(50, beta_last=0.2)
STD = 0.5


class Shrink(torch.nn.Module):
    """x / (1 + σ² / s²) with s to be found: exact for data of deviation s."""

    sigma_data = STD

    def __init__(self, std=STD):
        super().__init__()
        self.std = torch.nn.Parameter(torch.tensor(std, dtype=torch.float64))
        self.labels = []

    def forward(self, x, sigma, label=None):  # noqa: D102
        self.labels.append(label)
        sigma = sigma.reshape(-1, *[1] * (x.ndim - 1))
        return x * self.std**2 / (self.std**2 + sigma**2)

    def with_fraction(self, x, sigma, label=None):  # noqa: D102
        return self(x, sigma, label), torch.full_like(x, 0.3) + 0 * self.std


def data(n=4000, d=5):
    x = STD * torch.randn(n, d, generator=torch.Generator().manual_seed(77), dtype=torch.float64)
    return x, torch.arange(n) % 10


def value_and_slope(loss, std, x, y, seed=0):
    torch.manual_seed(seed)
    model = Shrink(std)
    value = loss(model, x, y)
    value.backward()
    return float(value.detach()), float(model.std.grad)


LOSSES = {"edm": EDMLoss(), "simple": SimpleLoss(AB), "hybrid": HybridLoss(AB, bins=None)}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_least_at_the_exact_denoiser(loss):
    """The slope in s is below zero under the truth, above it beyond, and nearly none there."""
    x, y = data()
    slopes = [value_and_slope(loss, s, x, y)[1] for s in (0.4, 0.5, 0.6)]
    assert slopes[0] < 0 < slopes[2]
    assert abs(slopes[1]) < 0.15 * min(-slopes[0], slopes[2])


def test_edm_in_closed_form():
    """At the exact denoiser the weighted error is 1 at every level: sd² σ² / (sd² + σ²) λ."""
    x, y = data()
    value, _ = value_and_slope(EDMLoss(sigma_data=STD), STD, x, y)
    assert value == pytest.approx(1, abs=5 * math.sqrt(2 / x.numel()))


def test_edm_of_a_network_that_says_zero():
    """E λ |x0|² = E (σ² + s²) / σ² = 1 + s² e^(-2 m + 2 std²), of a log-normal law."""
    x, y = data(200_000, 1)
    torch.manual_seed(0)
    loss = EDMLoss(sigma_data=STD, log_mean=0.5, log_std=0.3)
    found = float(loss(lambda x, sigma, label: 0 * x, x, y))
    assert found == pytest.approx(1 + STD**2 * math.exp(-1 + 0.18), rel=0.01)


def test_simple_in_closed_form():
    """The mean over times of s² / (s² + σ²), and 1 / σ² times s² of a network that says zero."""
    x, y = data(100_000, 1)
    sigmas = sigmas_of(AB)
    value, _ = value_and_slope(SimpleLoss(AB), STD, x, y)
    truth = float((STD**2 / (STD**2 + sigmas**2)).mean())
    assert value == pytest.approx(truth, rel=0.02)


def test_simple_is_the_error_of_the_noise():
    """|ε - ε^|² with the very draws of the loss, made again from its seed."""
    x, y = data(8, 3)
    torch.manual_seed(4)
    found = SimpleLoss(AB, drop_label=1.0)(Shrink(0.3), x, y)
    torch.manual_seed(4)
    t = torch.randint(50, (8,))
    eps = torch.randn_like(x)
    sigma = sigmas_of(AB)[t].unsqueeze(1)
    x0 = (x + sigma * eps) * 0.09 / (0.09 + sigma**2)
    torch.testing.assert_close(found, ((eps - (x + sigma * eps - x0) / sigma) ** 2).mean())


def test_labels_that_are_dropped():
    """A share of them, one by one, as -1; with 1 none is told; with 0 all are."""
    x, y = data()
    for loss in (EDMLoss, lambda drop_label: SimpleLoss(AB, drop_label)):
        model = Shrink()
        for share in (0.0, 0.15, 1.0):
            loss(drop_label=share)(model, x, y)
        everything, some, nothing = model.labels
        assert torch.equal(everything, y)
        assert nothing is None
        dropped = some == -1
        assert float(dropped.double().mean()) == pytest.approx(0.15, abs=5 * 0.36 / 63)
        assert torch.equal(some[~dropped], y[~dropped])


class Learned(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        self.share = torch.nn.Parameter(torch.tensor(0.4, dtype=torch.float64))

    def forward(self, x, sigma, label=None):  # noqa: D102
        return self.mean * x

    def with_fraction(self, x, sigma, label=None):  # noqa: D102
        return self.mean * x, self.share * torch.ones_like(x)


def gradients(loss, x, y):
    torch.manual_seed(0)
    model = Learned()
    loss(model, x, y).backward()
    return [None if p.grad is None else float(p.grad) for p in (model.mean, model.share)]


def test_no_gradient_of_the_bound_goes_through_the_mean():
    """The mean learns from the simple part alone, the variance from the bound alone."""
    x, y = data(64)
    simple = gradients(HybridLoss(AB, vlb_weight=0.0, bins=None), x, y)
    both = gradients(HybridLoss(AB, vlb_weight=0.5, bins=None), x, y)
    assert both[0] == pytest.approx(simple[0], rel=1e-12)
    assert simple[1] == 0
    assert both[1] != 0
    bound = gradients(VLBLoss(AB, bins=None), x, y)
    assert bound[0] not in (None, 0.0)


@pytest.mark.parametrize("bins", [None, 256])
def test_vlb_loss_is_the_bound(bins):
    """Its mean over draws is that of `variational_bound`, first part apart, in bits."""
    x, y = data(2000, 8)
    x = ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    network = lambda x, t, *label: torch.cat([0.8 * x, torch.tanh(x)], 1)  # noqa: E731
    model = from_noise_prediction(network, AB, learned_variance=True)
    torch.manual_seed(0)
    losses = [float(VLBLoss(AB, bins=bins)(model, x, y).detach()) for _ in range(30)]
    whole = variational_bound(
        model,
        x,
        levels_of(AB),
        generator=torch.Generator().manual_seed(1),
        variance="learned",
        bins=bins,
    )
    truth = whole.steps.sum(1) + whole.decoder
    error = np.std(losses) / math.sqrt(30) + float(truth.std()) / math.sqrt(2000)
    assert np.mean(losses) == pytest.approx(float(truth.mean()), abs=5 * error)


def test_importance_is_unbiased_and_less_noisy():
    """Known losses of times: the same mean, a smaller spread, by (D.28) the least possible."""
    truth = torch.logspace(0, 3, 50, dtype=torch.float64)
    history = LossHistory(50)
    assert history.probabilities().tolist() == [0.02] * 50
    for _ in range(10):
        history.record(torch.arange(50), truth)
    generator = torch.Generator().manual_seed(0)
    times, weights = history.draw(20_000, generator)
    values = weights * truth[times]
    assert float(values.mean()) == pytest.approx(float(truth.mean()), rel=0.005)
    assert float(values.std()) < 0.1 * float(truth.std())
    assert float((weights * history.probabilities()[times] * 50).std()) < 1e-12


def test_history_keeps_the_last_losses():
    """Root mean squares of the last two; uniform until each time has two."""
    history = LossHistory(2, length=2, uniform=1e-9)
    history.record(torch.tensor([0, 0, 0, 1]), torch.tensor([100.0, 3.0, 4.0, 5.0]))
    assert history.probabilities().tolist() == [0.5, 0.5]
    history.record(torch.tensor([1]), torch.tensor([12.0]))
    a, b = math.sqrt(12.5), math.sqrt(84.5)
    np.testing.assert_allclose(history.probabilities().numpy(), [a / (a + b), b / (a + b)], 1e-6)


def test_vlb_loss_with_a_history():
    """Records while it trains and not while it is scored; has the mean of uniform times."""
    x, y = data(500)
    history = LossHistory(50, length=2)
    loss, model = VLBLoss(AB, history=history, bins=None), Shrink(0.3)
    with torch.no_grad():
        loss(model, x, y)
    assert float(history._counts.sum()) == 0
    torch.manual_seed(0)
    for _ in range(5):
        loss(model, x, y)
    assert float(history._counts.sum()) == 2500
    assert float(history.probabilities().std()) > 0
    with torch.no_grad():
        found = [[float(f(model, x, y)) for _ in range(60)] for f in (loss, VLBLoss(AB, bins=None))]
    means, errors = np.mean(found, 1), np.std(found, 1) / math.sqrt(60)
    assert means[0] == pytest.approx(means[1], abs=5 * float(np.hypot(*errors)))
    assert errors[0] < errors[1]


def test_the_decoder_has_gradients_where_it_counts():
    """Whole numbers far from the mean: finite, though a probability there is 0 in float32."""
    x = torch.ones(64, 3)
    y = torch.zeros(64, dtype=torch.int64)
    found = gradients(HybridLoss(AB, vlb_weight=1.0), x.double(), y)
    assert all(math.isfinite(v) for v in found)


@pytest.mark.parametrize("loss", [*LOSSES.values(), VLBLoss(AB, bins=None)])
def test_objectives_of_a_training(loss):
    """`calls_network` marks them; a scalar in the data's dtype; the seed alone decides."""
    assert loss.calls_network is True
    x, y = data(16)
    x = x.float().reshape(16, 1, 5, 1)
    model = Shrink().float()
    values = []
    for _ in range(2):
        torch.manual_seed(3)
        values.append(loss(model, x, y))
    assert values[0].shape == ()
    assert values[0].dtype == torch.float32
    assert torch.equal(*values)


def test_the_average_of_a_training_is_its_recipes():
    """There is no second one here: `Recipe(average=...)` averages any denoiser's weights."""
    assert Recipe(average=0.999).averaged(Shrink()) is not None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: EDMLoss(sigma_data=0.0), ValueError, "sigma_data must be positive"),
        (lambda x, y: EDMLoss(log_std=0.0), ValueError, "log_std positive"),
        (lambda x, y: EDMLoss(drop_label=1.5), ValueError, "drop_label"),
        (lambda x, y: SimpleLoss(AB.flip(0)), ValueError, "decreasing"),
        (lambda x, y: HybridLoss(AB, vlb_weight=-1.0), ValueError, "vlb_weight"),
        (lambda x, y: HybridLoss(AB[:1]), ValueError, "at least two steps"),
        (lambda x, y: VLBLoss(AB, history=LossHistory(3)), ValueError, "of 50 times, got 3"),
        (lambda x, y: EDMLoss()(torch.nn.Identity(), x, y), ValueError, "pass sigma_data"),
        (lambda x, y: HybridLoss(AB)(torch.nn.Identity(), x, y), TypeError, "with_fraction"),
        (lambda x, y: HybridLoss(AB)(Shrink(), x, y), ValueError, "bins=None"),
        (lambda x, y: EDMLoss()(Shrink(), y.unsqueeze(1), y), ValueError, "real samples"),
        (lambda x, y: LossHistory(0), ValueError, "num_times"),
        (
            lambda x, y: LossHistory(3).record(torch.tensor([1]), torch.tensor([math.nan])),
            ValueError,
            "finite loss",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call(*data(8))


def test_exact_denoiser_has_no_smaller_rival():
    """Any other network loses: the loss of the exact denoiser is the least, draw by draw alike."""
    x, y = data()
    law = GaussianDenoiser(torch.zeros(5, dtype=torch.float64), std=STD)
    values = []
    for model in (law, lambda x, s, c: 0.9 * law(x, s), lambda x, s, c: law(x, s) + 0.05):
        torch.manual_seed(0)
        values.append(float(EDMLoss(sigma_data=STD)(model, x, y)))
    assert values[0] == min(values)
