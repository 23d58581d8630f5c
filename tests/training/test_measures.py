"""Losses, scores, probes and schedules against closed forms and brute force."""

import math
import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from heatgrad.core.errors import HeatgradWarning
from heatgrad.optim import DiffusionSGD, NormMatchedSGD
from heatgrad.training import LOSSES, SCHEDULES, evaluate, probe_gradient, train


def test_squared_error_is_the_mean_squared_distance_to_one_hot():
    """NumPy's sum of squares over an identity matrix's rows, and its gradient 2 (z - e) / n."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(4, (7,), generator=generator)
    error = logits.detach().numpy() - np.eye(4)[labels.numpy()]
    value = LOSSES["squared_error"](logits, labels)
    assert value.item() == pytest.approx((error**2).sum() / 7, rel=1e-14)
    (grad,) = torch.autograd.grad(value, logits)
    np.testing.assert_allclose(grad.numpy(), 2 * error / 7, rtol=1e-13)


def test_cross_entropy_of_equal_logits_is_log_of_the_classes():
    """-log(1/K)."""
    value = LOSSES["cross_entropy"](torch.zeros(3, 5), torch.tensor([0, 1, 4]))
    assert value.item() == pytest.approx(math.log(5), rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 2048])
def test_evaluate_equals_brute_force(batch_size, blobs, plain):
    """Row by row: the mean loss on noisy labels, and both accuracies; batches do not matter."""
    data, model = blobs(10, 20, noise=0.4), plain()
    model.linear.weight.data = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    model.linear.bias.data.zero_()  # drawn anew by each test
    loss = LOSSES["squared_error"]
    assert not torch.equal(data.y_test, data.y_test_clean)
    losses, right, right_clean = [], 0, 0
    for x, label, clean in zip(data.x_test, data.y_test, data.y_test_clean, strict=True):
        logits = model(x[None]).detach()
        losses.append(loss(logits, label[None]).item())
        right += int(logits[0, label] == logits.max())
        right_clean += int(logits[0, clean] == logits.max())
    score = evaluate(model, data, loss=loss, batch_size=batch_size)
    assert score.loss == pytest.approx(np.mean(losses), rel=1e-13)
    assert score.accuracy == right / 20
    assert score.accuracy_clean == right_clean / 20
    assert score.accuracy_clean > score.accuracy


def test_evaluate_scores_without_dropout_and_restores_the_mode(blobs):
    """With all but one input in 256 dropped, two scores would differ; batch norm stays put."""
    model = nn.Sequential(nn.Dropout(0.99), nn.Linear(3, 2), nn.BatchNorm1d(2))
    data = blobs()
    for mode in (True, False):
        model.train(mode)
        scores = [evaluate(model, data, loss=LOSSES["cross_entropy"]) for _ in range(2)]
        assert scores[0] == scores[1]
        assert model.training is mode
    assert model[2].num_batches_tracked == 0
    assert all(p.grad is None for p in model.parameters())


class Small(nn.Module):
    """Stands for a GPU whose memory suffices for a few examples."""

    def __init__(self, most):
        super().__init__()
        self.most, self.taken = most, []

    def forward(self, x):
        """Return two of the inputs as logits, if the batch is small enough."""
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.taken.append(len(x))
        return x[:, :2].double()


@pytest.mark.parametrize(("most", "taken"), [(20, [20]), (7, [5] * 4), (1, [1] * 20)])
def test_where_memory_runs_out_smaller_parts_score_the_same(blobs, most, taken):
    """2048, halved to what fits: the score is that of all at once."""
    data, loss = blobs(noise=0.2), LOSSES["squared_error"]
    model, whole = Small(most), evaluate(Small(20), data, loss=loss)
    score = evaluate(model, data, loss=loss, batch_size=20)
    assert model.taken == taken
    assert score.loss == pytest.approx(whole.loss, rel=1e-13)
    assert (score.accuracy, score.accuracy_clean) == (whole.accuracy, whole.accuracy_clean)


def test_where_not_even_one_fits_it_is_said(blobs):
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(Small(0), blobs(), loss=LOSSES["squared_error"])


def parameters():
    generator = torch.Generator().manual_seed(3)
    params = [nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in ((3, 4), (5,))]
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
    return params


def test_probe_of_a_plain_optimizer():
    """SGD follows the gradient itself: ratio and cosine are exactly 1, and the norm is NumPy's."""
    params = parameters()
    flat = np.concatenate([p.grad.numpy().ravel() for p in params])
    for make in (torch.optim.SGD, torch.optim.Adam, DiffusionSGD):
        probe = probe_gradient(make(params, lr=0.1))
        assert (probe.ratio, probe.cosine) == (1.0, 1.0)
        assert probe.norm == pytest.approx(np.linalg.norm(flat), rel=1e-14)


def test_probe_of_diffusion_against_the_dense_matrix():
    """(I + λ L) as a tridiagonal matrix on the flat gradient gives the ratio and the cosine."""
    params = parameters()
    g = np.concatenate([p.grad.numpy().ravel() for p in params])
    lap = np.diag(np.ones(len(g) - 1), 1) + np.diag(np.ones(len(g) - 1), -1)
    lap -= np.diag(lap.sum(axis=1))
    smooth = g + 0.2 * lap @ g
    probe = probe_gradient(DiffusionSGD(params, lr=0.1, diffusion=0.2))
    ratio = np.linalg.norm(smooth) / np.linalg.norm(g)
    cosine = smooth @ g / (np.linalg.norm(smooth) * np.linalg.norm(g))
    assert probe.norm == pytest.approx(np.linalg.norm(g), rel=1e-14)
    assert probe.ratio == pytest.approx(ratio, rel=1e-13)
    assert probe.cosine == pytest.approx(cosine, rel=1e-13)
    matched = probe_gradient(NormMatchedSGD(params, lr=0.1, diffusion=0.2))
    assert matched.ratio == pytest.approx(ratio, rel=1e-13)
    assert matched.cosine == pytest.approx(1.0, rel=1e-14)


def test_a_probe_changes_nothing():
    """Gradients and parameters keep their bits, and the optimizer has no state yet."""
    params = parameters()
    before = [(p.detach().clone(), p.grad.clone()) for p in params]
    optimizer = DiffusionSGD(params, lr=0.1, momentum=0.9, diffusion=0.2)
    probe_gradient(optimizer)
    assert not optimizer.state
    for p, (value, grad) in zip(params, before, strict=True):
        assert torch.equal(p, value)
        assert torch.equal(p.grad, grad)


CLOSED_FORMS = {
    "constant": lambda done, final: 1.0,
    "linear": lambda done, final: 1 + (final - 1) * done,
    "cosine": lambda done, final: final + (1 - final) * math.cos(math.pi * done / 2) ** 2,
}


def test_every_schedule_has_its_test():
    assert {*CLOSED_FORMS, "cosine-restarts"} == set(SCHEDULES)


@pytest.mark.filterwarnings("ignore:cosine-restarts")  # a last fall may be cut off
@pytest.mark.parametrize(("first", "factor"), [(1, 1), (3, 2), (4, 1), (10, 2)])
def test_restarts_are_torch_s(first, factor):
    """Epoch by epoch as `CosineAnnealingWarmRestarts`, whose floor is a rate and not a share."""
    rates = []
    for make in (
        lambda o: SCHEDULES["cosine-restarts"](o, 20, first=first, factor=factor, final=0.1),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            o, first, factor, eta_min=0.05
        ),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        scheduler = make(optimizer)
        found = []
        for _ in range(20):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        rates.append(found)
    assert rates[0] == pytest.approx(rates[1], rel=1e-12)


@pytest.mark.parametrize(
    ("epochs", "options", "words"),
    [
        (100, {}, r"as 70 or 150 do, got 100, of which the last still has 71 %"),
        (5, {}, r"as 10 do, got 5, of which the last still has 65 %"),
        (150, {}, None),
        (148, {}, None),
        (9, {"first": 3}, None),
        (3, {"first": 1, "factor": 1}, None),
    ],
)
def test_a_high_end_is_warned_of(epochs, options, words):
    """By hand: falls end after 10, 30, 70 and 150; (1 + cos(29 pi / 80)) / 2 = 0.71."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        SCHEDULES["cosine-restarts"](optimizer, epochs, **options)
    assert len(raised) == (words is not None)
    if words:
        assert raised[0].category is HeatgradWarning
        assert re.search(words, str(raised[0].message))


@pytest.mark.parametrize("options", [{"first": 0}, {"factor": 1.5}, {"final": -1.0}])
def test_restarts_refuse(options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"{name} must be"):
        SCHEDULES["cosine-restarts"](optimizer, 20, **options)


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_the_learning_rate_of_every_epoch(name, final, blobs, plain):
    """Epoch k of E has done k - 1 of E: 1, a line, or cos^2 of a quarter turn, to `final`."""
    model = plain()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    options = {} if name == "constant" else {"final": final}
    scheduler = SCHEDULES[name](optimizer, 6, **options)
    loss = LOSSES["cross_entropy"]
    records = list(
        train(
            model,
            optimizer,
            blobs(),
            loss=loss,
            epochs=6,
            batch_size=16,
            seed=0,
            scheduler=scheduler,
        )
    )
    expected = [0.5 * CLOSED_FORMS[name]((r.epoch - 1) / 6, final) for r in records]
    assert [r.lr for r in records] == pytest.approx(expected, rel=1e-14)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(
        0.5 * CLOSED_FORMS[name](1.0, final), rel=1e-12, abs=1e-16
    )
