"""Closed forms of networks against torch's automatic differentiation, and the divergent valley."""

import pytest
import torch
from torch.nn.functional import mse_loss

from heatgrad.core.errors import SpecError
from heatgrad.flow import ACTIVATIONS, NetworkFit, polynomial_fit, random_start, valley_start
from heatgrad.flow.problem import AutogradProblem

SHAPES = [(1,), (2,), (10,), (3, 4), (5, 2)]


def drawn(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_jets_are_derivatives(name):
    """Value and two derivatives as torch finds them, far out too, where nothing overflows."""
    unit = ACTIVATIONS[name]
    z = torch.tensor([-800.0, -30, -3, -0.5, 0.3, 2, 30, 800], dtype=torch.float64)
    z.requires_grad_()
    value = unit.torch(z)
    (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), z)
    for ours, theirs in zip(unit.jet(z.detach().numpy()), (value, slope, bend), strict=True):
        assert torch.allclose(torch.from_numpy(ours), theirs.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("hidden", SHAPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_closed_forms_equal_autograd(name, hidden):
    """Gradient and Hessian to rounding, for one and two hidden layers."""
    fit = polynomial_fit((0.5, -1, 0, 2), activation=name, hidden=hidden, points=7)
    theta = drawn(fit.size)
    value, slope = fit.value_and_gradient(theta)
    hessian = torch.func.hessian(fit)(theta)
    assert value == pytest.approx(float(fit(theta)), rel=1e-14) == fit.value(theta)
    assert torch.allclose(slope, torch.func.grad(fit)(theta), rtol=1e-12, atol=1e-13)
    assert torch.allclose(fit.hessian(theta), hessian, rtol=1e-12, atol=1e-12)


def test_several_inputs():
    """Points need not lie on a line: two inputs, against autograd."""
    x = drawn(18).view(9, 2)
    for hidden in [(3,), (3, 2)]:
        fit = NetworkFit(ACTIVATIONS["gelu"], hidden, x, x[:, 0] * x[:, 1])
        theta = drawn(fit.size, 1)
        assert torch.allclose(fit.hessian(theta), torch.func.hessian(fit)(theta), atol=1e-12)


def test_the_module_is_the_same_network():
    """A torch module with the same weights gives the same loss."""
    fit = polynomial_fit(activation="swish", hidden=(3, 2))
    theta = drawn(fit.size)
    loss = mse_loss(fit.module(theta)(fit.x)[:, 0], fit.y)
    assert float(loss.detach()) == pytest.approx(fit.value(theta), rel=1e-14)


def test_float32_stays_float32():
    """The closed forms follow the precision of theta, as the paper's optimizers need."""
    fit = polynomial_fit(activation="gelu", hidden=(4,))
    theta = drawn(fit.size)
    value, slope = fit.value_and_gradient(theta.float())
    assert slope.dtype == torch.float32
    assert value == pytest.approx(fit.value(theta), rel=1e-5)
    assert torch.allclose(slope.double(), fit.value_and_gradient(theta)[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [31, 151])
def test_every_way_to_a_hessian_agrees(size):
    """Two backward passes, traced ones (above 100 parameters) and products, against closed form."""
    fit = polynomial_fit(activation="tanh", hidden=((size - 1) // 3,))
    theta = drawn(fit.size)
    problem = AutogradProblem(fit, fit.size)
    hessian = fit.hessian(theta)
    assert torch.allclose(problem.hessian(theta), hessian, rtol=1e-11, atol=1e-12)
    assert (problem._trace is not None) == (size > 100)
    other = drawn(fit.size, 5)
    assert torch.allclose(problem.hessian(other), fit.hessian(other), rtol=1e-11, atol=1e-12)
    v = drawn(fit.size, 2)
    assert torch.allclose(problem.product(theta)(v), hessian @ v, rtol=1e-11, atol=1e-12)


def test_a_loss_that_branches_on_values_is_not_traced():
    """A graph would freeze the branch that was taken: a silent wrong Hessian."""

    def loss(theta):
        return (theta**4).sum() if float(theta[0]) > 0 else (theta**2).sum()

    problem = AutogradProblem(loss, 120)
    here = torch.ones(120, dtype=torch.float64)
    eye = torch.eye(120, dtype=torch.float64)
    assert torch.equal(problem.hessian(here), 12 * eye)
    assert torch.equal(problem.hessian(-here), 2 * eye)


def test_a_linear_loss_has_a_zero_hessian():
    problem = AutogradProblem(lambda theta: theta.sum(), 3)
    theta = torch.ones(3, dtype=torch.float64)
    assert not problem.hessian(theta).any()
    assert not problem.product(theta)(theta).any()


@pytest.mark.parametrize("hidden", [(2,), (5,), (3, 2)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_valley_approaches_the_square(name, hidden):
    """The fit's error is O(step^2), or O(step) about a lopsided center: the loss falls to 0.

    The second difference has error O(step^2), so the loss falls 16 times for each half step.
    """
    fit = polynomial_fit(activation=name, hidden=hidden)
    losses = [fit.value(valley_start(fit, step)) for step in (0.2, 0.1, 0.05)]
    assert losses[0] / losses[1] == pytest.approx(16, rel=0.25)
    assert losses[1] / losses[2] == pytest.approx(16, rel=0.1)


def test_valley_of_the_reference():
    """For x^2 and two units the outer weights are 1 / (step^2 s''(b)), the inner ones +- step."""
    fit = polynomial_fit(activation="softplus", hidden=(2,))
    theta = valley_start(fit, 0.1, center=0.0)
    assert theta[:2].abs().tolist() == [0.1, 0.1]
    assert theta[2:4].tolist() == [0, 0]
    assert theta[4:6].tolist() == pytest.approx([400, 400])


def test_valley_of_a_cubic():
    """A cubic needs three units, and its error falls with the step too."""
    fit = polynomial_fit((1, -2, 0.5, 1), activation="logistic", hidden=(4,))
    losses = [fit.value(valley_start(fit, step)) for step in (0.4, 0.2, 0.1)]
    assert losses[0] > 3 * losses[1] > 9 * losses[2]


def test_random_starts_come_from_their_seed():
    fit = polynomial_fit(activation="tanh", hidden=(3, 3))
    assert torch.equal(random_start(fit, seed=1), random_start(fit, seed=1))
    assert not torch.equal(random_start(fit, seed=1), random_start(fit, seed=2))
    assert random_start(fit, seed=1, gain=2).abs().max() <= 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: polynomial_fit(activation="tanh", hidden=()), "one or two positive widths"),
        (lambda: polynomial_fit(activation="tanh", hidden=(2, 2, 2)), "one or two positive"),
        (lambda: polynomial_fit(activation="tanh", hidden=(2,), points=1), "points must be"),
        (lambda: polynomial_fit(activation="tanh", hidden=(2,), interval=(1, 1)), "interval"),
        (lambda: polynomial_fit((), activation="tanh", hidden=(2,)), "coefficients"),
        (
            lambda: NetworkFit(ACTIVATIONS["elu"], (2,), torch.ones(3, 1), torch.ones(3)),
            "must be float64",
        ),
        (lambda: polynomial_fit(activation="elu", hidden=(2,))(torch.ones(6)), "shape"),
        (lambda: valley_start(polynomial_fit(activation="elu", hidden=(1,)), 0.1), "a degree"),
        (lambda: valley_start(polynomial_fit(activation="elu", hidden=(2,)), 0.0), "step must"),
        (
            lambda: valley_start(polynomial_fit(activation="tanh", hidden=(2,)), 0.1, center=0.0),
            "must not vanish",
        ),
        (lambda: random_start(polynomial_fit(activation="elu", hidden=(1,)), seed=0, gain=0),
         "gain"),
    ],
)  # fmt: skip
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_activation():
    with pytest.raises(SpecError, match="did you mean 'tanh'"):
        polynomial_fit(activation="tanhh", hidden=(2,))
