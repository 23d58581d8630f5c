"""The curves that say how smooth a path is, against dense matrices and a path that is known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from heatgrad.laplacian import Laplacian
from heatgrad.optim import DiffusionSGD
from heatgrad.training import LOSSES, initialised, roughness, train
from heatgrad.training.order import epoch_plan
from heatgrad.training.path import flat_gradient, total_variation


def test_roughness_is_the_quadratic_form_of_the_laplacian():
    """g'(-Lap)g / (4 g'g) with Lap of `heatgrad.laplacian` applied to identity columns."""
    g = torch.randn(3, 37, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = -Laplacian(dims=0)(torch.eye(37, dtype=torch.float64))
    expected = [float(row @ matrix @ row / (4 * row @ row)) for row in g]
    assert roughness(g).tolist() == pytest.approx(expected, rel=1e-13)


def test_roughness_of_an_eigenvector_is_its_eigenvalue():
    """cos(pi m (i + 1/2) / n) has sin^2(pi m / 2n) of the largest possible."""
    n = 20
    m, i = np.arange(n)[:, None], np.arange(n)[None]
    modes = torch.from_numpy(np.cos(np.pi * m * (i + 0.5) / n))
    expected = np.sin(np.pi * np.arange(n) / (2 * n)) ** 2
    np.testing.assert_allclose(roughness(modes).numpy(), expected, atol=1e-14)


def test_roughness_of_complex_and_empty_cases():
    """A complex chain is that of pairs of reals; a gradient of zero has no roughness."""
    z = torch.randn(1, 9, generator=torch.Generator().manual_seed(1), dtype=torch.complex128)
    d = np.diff(z.numpy())
    expected = (abs(d) ** 2).sum() / (4 * (abs(z.numpy()) ** 2).sum())
    assert roughness(z).item() == pytest.approx(expected, rel=1e-13)
    assert math.isnan(roughness(torch.zeros(1, 4)).item())


def test_total_variation():
    """|4 - 2| + |1 - 4| over 7/3; nothing moves between one; what is not finite is not hidden."""
    assert total_variation([2.0, 4.0, 1.0]) == pytest.approx(5 / (7 / 3), rel=1e-15)
    assert total_variation([3.0]) == 0.0
    assert math.isnan(total_variation([]))
    assert math.isnan(total_variation([1.0, math.nan]))


def test_the_gradient_is_flat_in_parameter_order():
    """Also of a convolution in another memory layout; 0 where the loss does not reach."""
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(3, 2), nn.Linear(1, 1))
    model = model.to(memory_format=torch.channels_last)
    x = torch.randn(4, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    model[2](model[1](model[0](x))).square().sum().backward()
    grads = [p.grad.contiguous().flatten() for p in list(model.parameters())[:4]]
    expected = torch.cat([*grads, torch.zeros(2)])
    assert torch.equal(flat_gradient(model)[0], expected)


@pytest.mark.parametrize("size", [48, 16, 2])
def test_an_epoch_against_its_steps_one_by_one(size, blobs, plain):
    """Gradients and parameters of every step, kept by hooks, give all five curves by NumPy."""
    data, model = blobs(), initialised(plain, seed=1)
    optimizer = DiffusionSGD(model.parameters(), lr=0.1, diffusion=0.2, weight_decay=0.1)
    grads, values = [], []

    def flat(tensors):
        return np.concatenate([t.detach().numpy().ravel().copy() for t in tensors])

    def keep(*_):
        grads.append(flat(p.grad for p in model.parameters()))
        values.append(flat(model.parameters()))

    optimizer.register_step_pre_hook(keep)
    loss = LOSSES["cross_entropy"]
    records = list(train(model, optimizer, data, loss=loss, epochs=3, batch_size=size, seed=1))
    values.append(flat(model.parameters()))
    steps = 48 // size
    lap = np.eye(6, k=1) + np.eye(6, k=-1)
    lap -= np.diag(lap.sum(axis=1))
    close = {"rel": 1e-12, "abs": 1e-14, "nan_ok": True}
    for epoch, record in enumerate(records):
        g = grads[epoch * steps : (epoch + 1) * steps]
        probed = [k for k, (_, _, is_one) in enumerate(epoch_plan(48, size, 1, 1)) if is_one]
        norms = np.array([np.linalg.norm(g[k]) for k in probed])
        rough = [-(g[k] @ lap @ g[k]) / (4 * g[k] @ g[k]) for k in probed]
        pairs = [(g[k], g[k + 1]) for k in probed if k + 1 < steps]
        cosines = [a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs]
        here, there = values[epoch * steps], values[(epoch + 1) * steps]
        tv = abs(np.diff(norms)).sum() / norms.mean()
        assert record.grad_tv == pytest.approx(tv, **close)
        assert record.roughness == pytest.approx(np.mean(rough), **close)
        mean = np.mean(cosines) if cosines else math.nan
        assert record.successive_cosine == pytest.approx(mean, **close)
        assert record.step_length == pytest.approx(np.linalg.norm(there - here), **close)
        assert record.chord == pytest.approx(np.linalg.norm(there - values[0]), **close)
    assert math.isnan(records[0].successive_cosine) == (steps == 1)


def test_a_parameter_without_a_gradient_now_and_then(blobs):
    """A branch that the loss reaches in some steps only: the curves go on."""

    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            return self.a(x) + (self.b(x) if x[0, 2] % 2 else 0)

    model = initialised(Branch, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss = LOSSES["cross_entropy"]
    (record,) = train(model, optimizer, blobs(), loss=loss, epochs=1, batch_size=4, seed=1)
    assert 0 < record.roughness < 1
    assert -1 <= record.successive_cosine <= 1
