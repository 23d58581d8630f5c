"""Spectra against dense eigenvalues, known quadratics and curvlinops."""

import numpy as np
import pytest
import torch
from torch import nn

from heatgrad.landscape.lanczos import lanczos
from heatgrad.landscape.objective import DataLoss
from heatgrad.landscape.product import HessianProduct
from heatgrad.landscape.spectrum import hessian_spectrum


class Point(nn.Module):
    """A network that is a point."""

    def __init__(self, size):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(size, dtype=torch.float64))


def small_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)
    ).double()


def small_data(count=50):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] * x[:, 1] > 0).long()


def dense_hessian(model, loss):
    """By autograd, column by column, in evaluation mode."""
    model.eval()
    params = [p for p in model.parameters() if p.requires_grad]
    shapes = [p.shape for p in params]

    def value(flat):
        parts = flat.split([shape.numel() for shape in shapes])
        named = dict(zip(dict(model.named_parameters()), parts, strict=True))
        state = {
            name: part.view(shape)
            for (name, part), shape in zip(named.items(), shapes, strict=True)
        }
        return torch.func.functional_call(
            _Calling(model, loss), {f"model.{k}": v for k, v in state.items()}
        )

    flat = torch.cat([p.detach().reshape(-1) for p in params])
    return torch.autograd.functional.hessian(value, flat)


class _Calling(nn.Module):
    def __init__(self, model, loss):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self):
        return sum(self.loss.terms(self.model))


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_known_quadratic(at_once):
    """Five eigenvalues: five steps end the method, with the measure of each start exact."""
    values = torch.tensor([-2.0, -2.0, 0.5, 3.0, 7.0], dtype=torch.float64)
    found = hessian_spectrum(
        Point(5), lambda m: (values * m.x**2).sum() / 2, vectors=4, at_once=at_once
    )
    assert all(len(k.nodes) == 4 for k in found.starts)  # -2 is met once
    assert found.trace == pytest.approx(6.5, abs=1e-12)
    assert found.trace_error == pytest.approx(0, abs=1e-12)
    assert found.largest.value == pytest.approx(7, abs=1e-12)
    assert found.smallest.value == pytest.approx(-2, abs=1e-12)
    assert found.largest.residual < 1e-12
    assert found.negative_mass == pytest.approx(0.4, abs=1e-12)
    for k in found.starts:
        np.testing.assert_allclose(k.weights, [0.4, 0.2, 0.2, 0.2], atol=1e-12)


def test_the_density_is_that_of_the_eigenvalues():
    """With as many steps as eigenvalues it is their normal curves; the band holds it."""
    values = torch.linspace(-1, 4, 30, dtype=torch.float64)
    found = hessian_spectrum(Point(30), lambda m: (values * m.x**2).sum() / 2, vectors=12)
    at = np.linspace(-2, 5, 50)
    curves = np.exp(-(((at[:, None] - values.numpy()) / 0.3) ** 2) / 2) / (0.3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(found.density(at, width=0.3), curves.mean(1), atol=1e-9)
    low, high = found.band(at, width=0.3)
    assert (low <= high + 1e-12).all()
    fine = np.linspace(-4, 7, 4000)
    assert np.trapezoid(found.density(fine), fine) == pytest.approx(1, abs=1e-6)


def test_a_network_against_its_dense_hessian():
    """Batch norm at fixed statistics, dropout off, a data set in batches: 58 parameters."""
    model, data = small_net(), small_data()
    with torch.no_grad():
        model.train()(data[0])
    loss = DataLoss(nn.functional.cross_entropy, data, batch_size=16)
    modes = [module.training for module in model.modules()]
    found = hessian_spectrum(model, loss, vectors=6, steps=200)
    assert [module.training for module in model.modules()] == modes
    values = torch.linalg.eigvalsh(dense_hessian(model, loss)).numpy()
    assert found.size == len(values)
    assert found.largest.value == pytest.approx(values[-1], abs=1e-10)
    assert found.smallest.value == pytest.approx(values[0], abs=1e-10)
    # Rademacher starts: the estimates scatter, their mean is the trace.
    assert abs(found.trace - values.sum()) < 4 * found.trace_error
    many = hessian_spectrum(model, loss, vectors=400, steps=1, at_once=50, seed=1)
    assert abs(many.trace - values.sum()) < 4 * many.trace_error
    assert many.trace_error < abs(values).sum()


def test_products_agree_with_curvlinops():
    """Another library's Hessian of the same loss, over the same batches."""
    curvlinops = pytest.importorskip(
        "curvlinops",
        reason="needs curvlinops, without torchvision",
    )
    model, data = small_net(), small_data()
    with torch.no_grad():
        model.train()(data[0])
    model.eval()
    loss = DataLoss(nn.functional.cross_entropy, data, batch_size=16)
    theirs = curvlinops.HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()), list(loss.batches())
    )
    product = HessianProduct(model, loss)
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(4, product.size, generator=generator, dtype=torch.float64)
    for vector, mine in zip(vectors, product(vectors), strict=True):
        torch.testing.assert_close(theirs @ vector, mine, rtol=1e-10, atol=1e-12)
    dense = torch.stack([theirs @ row for row in torch.eye(product.size, dtype=torch.float64)])
    found = hessian_spectrum(model, loss, vectors=1, steps=200)
    assert found.largest.value == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), abs=1e-9)


def test_lanczos_keeps_its_basis_orthogonal():
    """A matrix with a huge gap, where the plain method loses it: 100 steps, the whole spectrum."""
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(120, 120, generator=generator, dtype=torch.float64))
    values = torch.cat([torch.linspace(-1, 1, 118, dtype=torch.float64), torch.tensor([50.0, 1e4])])
    matrix = q * values @ q.T
    starts = torch.randn(2, 120, generator=generator, dtype=torch.float64)
    for found in lanczos(lambda v: v @ matrix, starts, 120):
        np.testing.assert_allclose(found.nodes, values.numpy(), atol=1e-8)
        assert found.weights.sum() == pytest.approx(1)


def test_the_residual_knows_of_rounding():
    """In float32 a product is off by about 1e-7 of it; that stands in the residual."""
    torch.manual_seed(0)
    model = nn.Linear(40, 1, bias=False)
    scale = torch.linspace(1, 9, 40)
    found = hessian_spectrum(model, lambda m: (scale * m.weight**2).sum() / 2, steps=40)
    assert abs(found.largest.value - 9) < 1e-4
    assert 1e-9 < found.largest.residual < 1e-5


def test_the_residual_bounds_the_error():
    """After few steps the largest Ritz value is off by less than its residual says."""
    values = torch.linspace(0, 1, 200, dtype=torch.float64)
    found = hessian_spectrum(Point(200), lambda m: (values * m.x**2).sum() / 2, vectors=1, steps=8)
    error = 1 - found.largest.value
    assert 0 < error < found.largest.residual * found.largest.value


@pytest.mark.parametrize("name", ["vectors", "steps", "at_once"])
def test_numbers_out_of_range(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        hessian_spectrum(Point(2), lambda m: m.x.sum(), **{name: 0})


def test_what_is_not_repeatable_is_refused():
    model, (x, y) = small_net(), small_data()

    def noisy(net):
        return nn.functional.cross_entropy(net.train()(x), y)

    with pytest.raises(ValueError, match="the same when it is asked twice, batch by batch, got"):
        hessian_spectrum(model, noisy)
    with pytest.raises(ValueError, match="loss must be a DataLoss, or a function"):
        hessian_spectrum(model, 3)


def test_a_linear_loss_has_no_curvature():
    found = hessian_spectrum(Point(4), lambda m: m.x.sum(), vectors=2)
    assert found.trace == found.largest.value == found.smallest.value == 0
