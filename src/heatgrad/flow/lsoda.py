"""LSODA with an exact Hessian: the integrator for small networks."""

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.integrate import LSODA
from torch import Tensor

from heatgrad.flow.problem import Problem
from heatgrad.flow.stepper import Step, StepFailed, Stepper

__all__ = ["LsodaStepper"]

Vector = NDArray[np.float64]


class LsodaStepper(Stepper):
    """Adams and backward differentiation formulas of variable order, as LSODA chooses.

    Args:
        problem: The loss.
        theta0: Start, shape (p,), float64.
        t_end: Where it ends, positive.
        rtol: Relative tolerance of each parameter and step.
        atol: Absolute tolerance of each parameter and step.

    References:
        Hindmarsh (1983), ODEPACK; Petzold (1983). `scipy.integrate.LSODA` is used one step at a
        time. Theory page: Eq. (A.1).
    """

    def __init__(
        self, problem: Problem, theta0: Tensor, *, t_end: float, rtol: float, atol: float
    ) -> None:
        self._problem = problem
        self._counts = {"steps": 0, "gradients": 0, "hessians": 0}
        start = theta0.detach().cpu().numpy().copy()
        self._solver = LSODA(self._velocity, 0.0, start, t_end, rtol=rtol, atol=atol, jac=self._jac)

    def step(self) -> Step:
        """Take one step; its curve is the solver's own, from its Nordsieck array."""
        with warnings.catch_warnings(record=True) as caught:  # the solver's reason comes as one
            warnings.simplefilter("always")
            message = self._solver.step()
        if self._solver.status == "failed":
            reason = str(caught[-1].message) if caught else str(message)
            raise StepFailed(f"LSODA stopped at t = {self._solver.t:.4g}: {reason}")
        if not self._solver.t > self._solver.t_old:
            raise StepFailed(f"the steps fell below rounding at t = {self._solver.t:.4g}")
        self._counts["steps"] += 1
        curve = self._solver.dense_output()
        table, width, end = curve.yh, curve.h, float(self._solver.t)
        powers = np.arange(table.shape[1])

        def position(t: Vector) -> Vector:
            x = (t - end) / width
            return np.asarray((table @ x ** powers[:, None]).T)

        def velocity(t: Vector) -> Vector:
            x = (t - end) / width
            slopes = powers[1:, None] * x ** powers[:-1, None] / width
            return np.asarray((table[:, 1:] @ slopes).T)

        return Step(float(self._solver.t_old), end, position, velocity)

    def position(self) -> Float[np.ndarray, " p"]:
        """Return where the flow is."""
        return np.array(self._solver.y)

    def stats(self) -> Mapping[str, int]:
        """Return the steps and evaluations so far."""
        return dict(self._counts)

    def _velocity(self, t: float, theta: Vector) -> Vector:
        self._counts["gradients"] += 1
        slope = -self._problem.gradient(torch.from_numpy(np.array(theta))).numpy()  # Eq. (A.1)
        if not np.isfinite(slope).all():
            raise StepFailed(f"the gradient is not finite at t = {t:.4g}")
        return slope

    def _jac(self, t: float, theta: Vector) -> Vector:
        self._counts["hessians"] += 1
        full = -self._problem.hessian(torch.from_numpy(np.array(theta))).numpy()
        if not np.isfinite(full).all():
            raise StepFailed(f"the Hessian is not finite at t = {t:.4g}")
        return full
