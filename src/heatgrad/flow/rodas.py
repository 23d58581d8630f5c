"""RODAS: a stiffly accurate Rosenbrock method of order 4, with the Hessian as its Jacobian."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.flow.inner import Inner
from heatgrad.flow.problem import Problem
from heatgrad.flow.stepper import Step, StepFailed, Stepper

__all__ = ["RodasStepper"]

GAMMA = 0.25
# Row i: what stage i + 1 takes of the stages before, in the transformed variables of Hairer and
# Wanner. The last stage starts from the fifth's point plus the fifth; the step adds the last.
ALPHA = (
    (),
    (1.544,),
    (0.9466785280815826, 0.2557011698983284),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 1.0),
)
COUPLING = (
    (),
    (-5.6688,),
    (-2.430093356833875, -0.2063599157091915),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
    (
        8.083246795921522,
        -7.981132988064893,
        -31.52159432874371,
        16.31930543123136,
        -6.058818238834054,
    ),
)
DENSE = (
    (10.12623508344586, -7.487995877610167, -34.80091861555747, -7.992771707568823,
     1.025137723295662, 0.0),
    (-0.6762803392806898, 6.087714651680015, 16.43084320892478, 24.76722511418386,
     -6.594389125716872, 0.0),
)  # fmt: skip

_SAFETY, _LEAST, _MOST = 0.9, 0.2, 6.0  # of the controller: how a step may change
_INNER = 1e-3  # of the step's tolerance, for each inexact solve: a fiftieth costs 7 times the steps
_REFUSALS = 60  # in a row, after which there is no step to be found


class RodasStepper(Stepper):
    r"""RODAS of Hairer and Wanner, with adaptive steps.

    $$\Bigl(\frac{I}{h\gamma} + \nabla^2 L(\theta_n)\Bigr) u_i =
    -\nabla L\Bigl(\theta_n + \sum_{j<i} a_{ij} u_j\Bigr) + \sum_{j<i} \frac{c_{ij}}{h} u_j,
    \qquad \theta_{n+1} = \theta_n + \sum_{j<6} a_{6j} u_j + u_6 \tag{A.6}$$

    $$e = u_6, \qquad \Bigl(\frac1p \sum_k \frac{e_k^2}{(\mathrm{atol} + \mathrm{rtol}
    \max(|\theta_{n,k}|, |\theta_{n+1,k}|))^2}\Bigr)^{1/2} \le 1 \tag{A.7}$$

    The curve through a step has order 3. With inexact solves the method loses its order unless
    their error is far below the step's; each is held to a thousandth of the tolerance.

    Args:
        problem: The loss.
        theta0: Start, shape (p,), float64; all is computed on its device.
        inner: Solves the linear systems.
        t_end: Where it ends, positive.
        rtol: Relative tolerance of a step.
        atol: Absolute tolerance of a step.

    References:
        Hairer and Wanner (1996), Solving Ordinary Differential Equations II, section VI.4.
        Theory page: Eqs. (A.6) to (A.9).
    """

    def __init__(
        self,
        problem: Problem,
        theta0: Tensor,
        *,
        inner: Inner,
        t_end: float,
        rtol: float,
        atol: float,
    ) -> None:
        self._problem, self._inner = problem, inner
        self._t_end, self._rtol, self._atol = t_end, rtol, atol
        self._t, self._theta = 0.0, theta0.detach().clone()
        self._counts = {"steps": 0, "refused": 0, "gradients": 0}
        self._alpha, self._coupling, self._dense = (
            torch.tensor([[*row, *[0.0] * (6 - len(row))] for row in table], dtype=torch.float64)
            for table in (ALPHA, COUPLING, DENSE)
        )
        slope = problem.gradient(self._theta)
        rate = float((slope / self._scale(self._theta, self._theta)).square().mean().sqrt())
        self._width = min(t_end, rtol**0.25 / rate if rate > 0 else t_end)

    def step(self) -> Step:
        """Take one step, of the largest width that the tolerance allows."""
        self._inner.at(self._theta)
        width, grows = self._width, True
        for _ in range(_REFUSALS):
            width = min(width, self._t_end - self._t)
            if not self._t + width > self._t:
                break
            stages = self._stages(width)
            if stages is not None:
                end, error = self._end(stages)
                if error <= 1:
                    change = min(_MOST if grows else 1.0, _SAFETY * max(error, 1e-10) ** -0.25)
                    return self._accept(stages, end, width, width * max(_LEAST, change))
                width *= max(_LEAST, _SAFETY * error**-0.25)
            else:
                width /= 4
            grows = False
            self._counts["refused"] += 1
        raise StepFailed(f"no step is small enough at t = {self._t:.4g}: the last was {width:.3g}")

    def position(self) -> Float[np.ndarray, " p"]:
        """Return where the flow is."""
        return self._theta.cpu().numpy().copy()

    def stats(self) -> Mapping[str, int]:
        """Return the steps, the refused ones and the evaluations so far."""
        return {**self._counts, **self._inner.stats()}

    def _stages(self, width: float) -> Tensor | None:
        if not self._inner.shift(1 / (GAMMA * width)):
            return None
        tolerance = _INNER * float(self._scale(self._theta, self._theta).square().mean().sqrt())
        stages = self._theta.new_empty(len(ALPHA), len(self._theta))
        for number in range(len(ALPHA)):  # Eq. (A.6)
            before = stages[:number]
            at = self._theta + self._alpha[number, :number] @ before
            right = self._coupling[number, :number] @ before / width - self._problem.gradient(at)
            self._counts["gradients"] += 1
            solved = self._inner.solve(right, tolerance) if right.isfinite().all() else None
            if solved is None:
                return None
            stages[number] = solved
        return stages

    def _end(self, stages: Tensor) -> tuple[Tensor, float]:
        end = self._theta + self._alpha[-1, :-1] @ stages[:-1] + stages[-1]
        share = stages[-1] / self._scale(self._theta, end)  # Eq. (A.7)
        error = float(share.square().mean().sqrt())
        return end, error if np.isfinite(error) else np.inf

    def _accept(self, stages: Tensor, end: Tensor, width: float, following: float) -> Step:
        before, start = self._theta.cpu().numpy(), self._t
        after = end.cpu().numpy()
        first, second = (self._dense @ stages).cpu().numpy()
        last = self._t + width >= self._t_end
        self._t = self._t_end if last else self._t + width
        self._theta, self._width = end, following
        self._counts["steps"] += 1

        def position(t: NDArray[np.float64]) -> NDArray[np.float64]:
            s = ((t - start) / width)[:, None]  # Eq. (A.8)
            curve = (1 - s) * before + s * (after + (1 - s) * (first + s * second))
            return np.asarray(curve)

        def velocity(t: NDArray[np.float64]) -> NDArray[np.float64]:
            s = ((t - start) / width)[:, None]
            bend = first + s * second
            slope = after - before + (1 - 2 * s) * bend + s * (1 - s) * second
            return np.asarray(slope / width)

        return Step(start, self._t, position, velocity)

    def _scale(self, before: Tensor, after: Tensor) -> Tensor:
        return self._atol + self._rtol * torch.maximum(before.abs(), after.abs())
