"""The record of a flow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from heatgrad.flow.verdict import Verdict, classify

__all__ = ["Status", "Trajectory"]

Status = Literal["done", "stopped", "interrupted", "failed"]


@dataclass(frozen=True)
class Trajectory:
    r"""A gradient flow, at times spaced evenly in log t; the first is 0.

    $$\frac{dL}{dt} = -|\dot\theta|^2, \qquad E(t) = \int_0^t |\dot\theta|^2 ds, \qquad
    \text{defect} = \frac{L(0) - L(t) - E(t)}{\max_s (L(0) - L(s))} \tag{A.2}$$

    $$\text{length}(t) = \int_0^t |\dot\theta| ds \tag{A.3}$$

    with $\dot\theta$ the derivative of the integrator's own curve, summed over each of its steps,
    never the gradient at its points: that is swamped by the errors in stiff directions.

    Attributes:
        t: Times, shape (n,) [time].
        loss: L(θ(t)) [loss].
        norm: |θ(t)| [param].
        speed: |dθ/dt| [param / time].
        length: Of the path so far [param].
        energy: E so far [loss].
        energy_defect: See above [1]; large values mean that the integration is not to be trusted.
        theta: Parameters at each time, shape (n, p), if they were asked for.
        end: Parameters where the flow ended, shape (p,).
        status: `"done"` at `t_end`; `"stopped"` by the callback or by `max_seconds`;
            `"interrupted"` from the keyboard; `"failed"` if the integrator could not go on.
        message: Why it ended.
        rtol: Relative tolerance of the integrator.
        atol: Absolute tolerance of the integrator.
        stats: The method, its steps and evaluations, and the seconds it took.
    """

    t: Float[np.ndarray, " n"]
    loss: Float[np.ndarray, " n"]
    norm: Float[np.ndarray, " n"]
    speed: Float[np.ndarray, " n"]
    length: Float[np.ndarray, " n"]
    energy: Float[np.ndarray, " n"]
    end: Tensor
    status: Status
    message: str = ""
    theta: Float[np.ndarray, "n p"] | None = None
    rtol: float = 1e-6
    atol: float = 1e-9
    stats: Mapping[str, int | float | str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def energy_defect(self) -> Float[np.ndarray, " n"]:
        """How far the energy identity is missed, relative to the largest fall of the loss [1]."""
        fall = self.loss[0] - self.loss
        # A fall within rounding of the loss is none.
        scale = max(float(fall.max()), 1e-14 * abs(float(self.loss[0])), 1e-300)
        return np.asarray((fall - self.energy) / scale)

    def verdict(self, *, decades: float = 3.0) -> Verdict:
        """Return where the flow goes, as `classify` does.

        Args:
            decades: Of time, at the end, that it is judged by.
        """
        return classify(
            self.t,
            self.loss,
            self.norm,
            self.speed,
            length=self.length,
            energy=self.energy,
            resolution=self.atol * len(self.end) ** 0.5 + self.rtol * float(self.norm[-1]),
            ended="" if self.status == "done" else f"{self.status}: {self.message}",
            failed=self.status == "failed",
            decades=decades,
        )
