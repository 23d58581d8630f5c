"""The loss that a flow goes down: its value, gradient, Hessian and products with it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["AutogradProblem", "ClosedForm", "ClosedProblem", "Loss", "Problem", "problem_of"]

# Of the parameters, shape (p,), to a scalar.
Loss = Callable[[Tensor], Tensor]
Derivatives = Literal["auto", "autograd"]

_TRACED_FROM = 100  # parameters: below, two backward passes are as fast as a traced graph
_TRACED_TO = 500  # above, the graph's intermediates of all rows at once take too much memory
_ROWS = 128  # of the Hessian that are taken in one batched backward pass


@runtime_checkable
class ClosedForm(Protocol):
    """A loss that brings its own derivatives, as `NetworkFit` does."""

    def __call__(self, theta: Tensor) -> Tensor:
        """Return the loss, differentiable by torch."""

    def value(self, theta: Tensor) -> float:
        """Return the loss."""

    def value_and_gradient(self, theta: Tensor) -> tuple[float, Tensor]:
        """Return the loss and its gradient, shape (p,)."""

    def hessian(self, theta: Tensor) -> Tensor:
        """Return the Hessian, shape (p, p)."""


class Problem(ABC):
    """What an integrator asks of a loss."""

    @abstractmethod
    def value(self, theta: Float[Tensor, " p"]) -> float:
        """Return L."""

    @abstractmethod
    def gradient(self, theta: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Return the gradient of L."""

    @abstractmethod
    def hessian(self, theta: Float[Tensor, " p"]) -> Float[Tensor, "p p"]:
        """Return the Hessian of L."""

    @abstractmethod
    def product(self, theta: Float[Tensor, " p"]) -> Callable[[Tensor], Tensor]:
        """Return the product of the Hessian at `theta` with a vector, as a function of that."""


class AutogradProblem(Problem):
    """The derivatives of any torch function of a vector, by automatic differentiation.

    The Hessian is a batched backward pass through the gradient's graph; from about a hundred
    parameters on it is traced once, which leaves out what the passes cost in Python.

    Args:
        loss: Of the parameters, shape (p,), to a scalar.
        size: p.
    """

    def __init__(self, loss: Loss, size: int) -> None:
        self._loss = loss
        self._size = size
        self._trace: Callable[[Tensor], Tensor] | None = None
        self._may_trace = _TRACED_FROM < size <= _TRACED_TO

    def value(self, theta: Float[Tensor, " p"]) -> float:
        """Return L."""
        with torch.no_grad():
            return float(self._loss(theta))

    def gradient(self, theta: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Return the gradient, by one backward pass."""
        leaf = theta.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self._loss(leaf), leaf)
        return slope

    def hessian(self, theta: Float[Tensor, " p"]) -> Float[Tensor, "p p"]:
        """Return the Hessian, symmetric to the last bit."""
        if self._may_trace and self._trace is None:
            try:
                self._trace = make_fx(torch.func.hessian(self._loss))(theta)
            except Exception:  # the user's function, which may fail to trace in any way
                self._may_trace = False
        full = self._trace(theta) if self._trace is not None else self._batched(theta)
        return (full + full.mT) / 2

    def product(self, theta: Float[Tensor, " p"]) -> Callable[[Tensor], Tensor]:
        """Return the product with the Hessian; the gradient's graph is built once."""
        leaf, slope = self._graph(theta)
        if not slope.requires_grad:  # a linear loss
            return torch.zeros_like

        def times(v: Tensor) -> Tensor:
            (along,) = torch.autograd.grad(
                slope, leaf, v, retain_graph=True, materialize_grads=True
            )
            return along

        return times

    def _graph(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        leaf = theta.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self._loss(leaf), leaf, create_graph=True)
        return leaf, slope

    def _batched(self, theta: Tensor) -> Tensor:
        leaf, slope = self._graph(theta)
        if not slope.requires_grad:
            return theta.new_zeros(self._size, self._size)
        rows: list[Tensor] = []
        eye = torch.eye(self._size, dtype=theta.dtype, device=theta.device)
        for part in torch.split(eye, _ROWS):
            rows += torch.autograd.grad(
                slope, leaf, part, retain_graph=True, is_grads_batched=True, materialize_grads=True
            )
        return torch.cat(rows)


class ClosedProblem(Problem):
    """The derivatives that a loss brings with it; products by torch, without the whole Hessian."""

    def __init__(self, loss: ClosedForm, size: int) -> None:
        self._loss = loss
        self._autograd = AutogradProblem(loss, size)

    def value(self, theta: Float[Tensor, " p"]) -> float:
        """Return L."""
        return self._loss.value(theta)

    def gradient(self, theta: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Return the gradient."""
        return self._loss.value_and_gradient(theta)[1]

    def hessian(self, theta: Float[Tensor, " p"]) -> Float[Tensor, "p p"]:
        """Return the Hessian."""
        return self._loss.hessian(theta)

    def product(self, theta: Float[Tensor, " p"]) -> Callable[[Tensor], Tensor]:
        """Return the product with the Hessian, by torch."""
        return self._autograd.product(theta)


def problem_of(loss: Loss, theta: Float[Tensor, " p"], derivatives: Derivatives) -> Problem:
    """Return a checked problem: the loss is a finite float64 scalar, the same when asked twice.

    Raises:
        TypeError: If the start or the loss is not float64.
        ValueError: If the loss or its gradient at the start is not finite, not a scalar, or not
            the same twice, or the start is not a vector.
    """
    if not isinstance(theta, Tensor) or theta.dim() != 1 or not len(theta):
        raise ValueError(
            f"theta0 must be a vector of at least one parameter, got "
            f"{tuple(theta.shape) if isinstance(theta, Tensor) else type(theta).__name__}; "
            f"flatten it"
        )
    if theta.dtype != torch.float64:
        raise TypeError(
            f"theta0 must be float64, got {theta.dtype}: a flow loses itself in the rounding of "
            f"less; pass theta0.double()"
        )
    if not theta.isfinite().all():
        raise ValueError("theta0 must be finite, got an infinity or NaN")
    with torch.no_grad():
        first, second = loss(theta), loss(theta)
    if not isinstance(first, Tensor) or first.numel() != 1 or first.dim():
        shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise ValueError(f"the loss must be a scalar tensor, shape (), got {shape}")
    if first.dtype != torch.float64:
        raise TypeError(
            f"the loss must be computed in float64, got {first.dtype}; give it data in float64"
        )
    if not first.isfinite():
        raise ValueError(f"the loss must be finite at the start, got {float(first)}")
    if not torch.equal(first, second):
        raise ValueError(
            f"the loss must be the same when asked twice, got {float(first)} and {float(second)}; "
            f"take dropout and random batches out of it"
        )
    closed = derivatives == "auto" and isinstance(loss, ClosedForm)
    made = ClosedProblem if closed else AutogradProblem
    problem: Problem = made(loss, len(theta))  # type: ignore[arg-type]
    try:
        slope = problem.gradient(theta)
    except RuntimeError as error:
        raise ValueError(
            f"the loss must depend on theta in a way torch can differentiate, got: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if not slope.isfinite().all():
        raise ValueError("the gradient must be finite at the start, got an infinity or NaN")
    return problem
