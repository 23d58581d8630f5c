"""Conjugate gradients for many media at once, preconditioned by the constant-coefficient solve."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian import Laplacian
from heatgrad.pde.darcy.faces import apply_faces, face_products

__all__ = ["conjugate_gradients", "solve_faces"]

_CHECK_EVERY = 4
_LAPLACIAN = Laplacian(dims=(-2, -1), boundary="dirichlet")


def conjugate_gradients(
    across_x: Float[Tensor, "*batch l m"],
    across_y: Float[Tensor, "*batch m l"],
    f: Float[Tensor, "*batch m m"],
    *,
    rtol: float,
    max_iterations: int = 500,
) -> Float[Tensor, "*batch m m"]:
    r"""Return the u with `apply_faces(across_x, across_y, u)` = f, for a batch of media.

    The preconditioner is the 5-point Laplacian, two sine transforms. The preconditioned operator
    has its eigenvalues between the least and the largest conductivity, so the iterations depend
    on their ratio kappa alone, not on the grid:

    $$\frac{\|e_i\|_A}{\|e_0\|_A} \le 2
    \Bigl(\frac{\sqrt\kappa - 1}{\sqrt\kappa + 1}\Bigr)^i. \tag{P.12}$$

    The host looks at the residual once in four iterations.

    Args:
        across_x: Conductivities, positive.
        across_y: The same across y.
        f: Right-hand side times h^2, of the same batch.
        rtol: Of the residual, relative in the norm of the preconditioner, for each medium.
        max_iterations: Of conjugate gradients.

    Returns:
        The solution, as `f`.

    Raises:
        RuntimeError: If a medium has not converged.

    References:
        Theory page: Eq. (P.12).

    Example:
        >>> conjugate_gradients(torch.ones(2, 1), torch.ones(1, 2), torch.ones(1, 1), rtol=1e-6)
        tensor([[0.2500]])
    """
    gain = -1 / _LAPLACIAN.eigenvalues(f.shape[-2:], dtype=f.dtype, device=f.device)
    u, r = torch.zeros_like(f), f
    z = _LAPLACIAN.inverse_transform(gain * _LAPLACIAN.transform(r))
    p, rz = z, _dot(r, z)
    limit = rtol**2 * rz
    for iteration in range(max_iterations):
        if iteration % _CHECK_EVERY == 0 and bool((rz <= limit).all()):
            return u
        product = apply_faces(across_x, across_y, p)
        # A medium that is solved to the last digit, or whose f is 0, stands still.
        step = _share(rz, _dot(p, product))
        u = u + step * p
        r = r - step * product
        z = _LAPLACIAN.inverse_transform(gain * _LAPLACIAN.transform(r))
        before, rz = rz, _dot(r, z)
        p = z + _share(rz, before) * p
    if bool((rz <= limit).all()):
        return u
    worst = float((rz / limit).max().sqrt()) * rtol
    raise RuntimeError(
        f"the relative residual must fall to {rtol:.1e}, got {worst:.1e} after {max_iterations} "
        f"iterations; use float64, or a smaller ratio of conductivities"
    )


def solve_faces(
    across_x: Float[Tensor, "*batch l m"],
    across_y: Float[Tensor, "*batch m l"],
    f: Float[Tensor, "*batch m m"],
    *,
    rtol: float,
) -> Float[Tensor, "*batch m m"]:
    r"""Return the same, differentiable in the conductivities and f by adjoint solves.

    With $A(c) u = f$ and $A \lambda = g$ for an incoming gradient g, the gradient in f is
    $\lambda$ and in c the product of the differences of $-\lambda$ and u across each face. No
    iteration is kept; second derivatives are exact too.

    References:
        Theory page: Eq. (P.13).

    Example:
        >>> c = torch.ones(2, 1, requires_grad=True)
        >>> u = solve_faces(c, torch.ones(1, 2), torch.ones(1, 1), rtol=1e-6)
        >>> torch.autograd.grad(u.sum(), c)[0].flatten().tolist()
        [-0.0625, -0.0625]
    """
    found: Tensor = _Solve.apply(across_x, across_y, f, rtol)  # type: ignore[no-untyped-call]
    return found


class _Solve(torch.autograd.Function):
    """The solve and its adjoint, Eq. (P.13)."""

    @staticmethod
    def forward(ctx: Any, across_x: Tensor, across_y: Tensor, f: Tensor, rtol: float) -> Tensor:
        u = conjugate_gradients(across_x, across_y, f, rtol=rtol)
        ctx.save_for_backward(across_x, across_y, u)
        ctx.rtol = rtol
        return u

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        across_x, across_y, u = ctx.saved_tensors
        adjoint = solve_faces(across_x, across_y, g, rtol=ctx.rtol)
        by_x, by_y = face_products(-adjoint, u)
        return by_x, by_y, adjoint, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


def _share(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / torch.where(below > 0, below, 1), 0)
