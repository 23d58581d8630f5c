"""From steps to a trajectory: outputs, path length and energy, and every way to end."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.flow.problem import Problem
from heatgrad.flow.stepper import Step, StepFailed, Stepper
from heatgrad.flow.trajectory import Status, Trajectory

__all__ = ["Callback", "follow"]

# Of the time, the loss and the norm at each output; True ends the flow.
Callback = Callable[[float, float, float], bool | None]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)


@dataclass
class _Record:
    """What has been written down so far."""

    keeps: bool
    rows: list[tuple[float, ...]] = field(default_factory=list)
    places: list[NDArray[np.float64]] = field(default_factory=list)
    length: float = 0.0
    energy: float = 0.0

    def add(self, t: float, loss: float, theta: NDArray[np.float64], speed: float) -> None:
        with np.errstate(over="ignore"):  # of a flow that blows up
            norm = float(np.linalg.norm(theta))
        self.rows.append((t, loss, norm, speed, self.length, self.energy))
        if self.keeps:
            self.places.append(theta)

    def travel(self, step: Step, start: float, end: float) -> None:
        """Add a piece of a step to the length and the energy: Eqs. (A.2) and (A.3)."""
        half = (end - start) / 2
        with np.errstate(over="ignore"):
            squares = (step.velocity(start + half * (1 + _NODES)) ** 2).sum(axis=1)
            self.energy += half * float(_WEIGHTS @ squares)
            self.length += half * float(_WEIGHTS @ np.sqrt(squares))


def follow(
    problem: Problem,
    stepper: Stepper,
    theta0: Tensor,
    times: Float[np.ndarray, " n"],
    *,
    rtol: float,
    atol: float,
    method: str,
    keep_theta: bool = False,
    callback: Callback | None = None,
    max_seconds: float | None = None,
) -> Trajectory:
    """Follow a flow to the last of some times, or as far as it goes.

    Args:
        problem: The loss.
        stepper: The integrator, at the start.
        theta0: The start.
        times: Of output, increasing, positive.
        rtol: Of the integrator, for the record.
        atol: Of the integrator, for the record.
        method: Its name, for the record.
        keep_theta: Whether the parameters at each output are kept.
        callback: Called at each output.
        max_seconds: After which the flow ends, between two steps; None for no limit.
    """
    began = time.perf_counter()
    record = _Record(keep_theta)
    slope = float(problem.gradient(theta0).norm())
    record.add(0.0, problem.value(theta0), theta0.cpu().numpy().copy(), slope)
    status: Status = "done"
    message = ""
    try:
        for step in _steps(stepper, times[-1]):
            if _outputs(record, problem, step, times, theta0, callback):
                status, message = "stopped", f"the callback ended it at t = {step.end:.4g}"
                break
            if max_seconds is not None and time.perf_counter() - began > max_seconds:
                if step.end < times[-1]:
                    status = "stopped"
                    message = f"after {max_seconds:g} seconds, at t = {step.end:.4g}"
                    _close(record, problem, step, theta0)
                break
    except KeyboardInterrupt:
        status, message = "interrupted", f"from the keyboard, after t = {record.rows[-1][0]:.4g}"
    except StepFailed as error:
        status, message = "failed", str(error)
    t, loss, norm, speed, length, energy = np.array(record.rows).T
    return Trajectory(
        t=t,
        loss=loss,
        norm=norm,
        speed=speed,
        length=length,
        energy=energy,
        end=torch.from_numpy(stepper.position()),
        status=status,
        message=message,
        theta=np.array(record.places) if keep_theta else None,
        rtol=rtol,
        atol=atol,
        stats=MappingProxyType(
            {"method": method, **stepper.stats(), "seconds": time.perf_counter() - began}
        ),
    )


def _steps(stepper: Stepper, t_end: float) -> Iterator[Step]:
    end = 0.0
    while end < t_end:
        step = stepper.step()
        end = step.end
        yield step


def _outputs(
    record: _Record,
    problem: Problem,
    step: Step,
    times: NDArray[np.float64],
    theta0: Tensor,
    callback: Callback | None,
) -> bool:
    """Write down the outputs within a step; True if the callback ends the flow."""
    first, last = np.searchsorted(times, [step.start, step.end], side="right")
    at = step.start
    for t in times[first:last]:
        record.travel(step, at, t)
        at = t
        _write(record, problem, step, t, theta0)
        if callback is not None and callback(*record.rows[-1][:3]):
            return True
    if at < step.end:
        record.travel(step, at, step.end)
    return False


def _write(record: _Record, problem: Problem, step: Step, t: float, theta0: Tensor) -> None:
    place = step.position(np.array([t]))[0]
    speed = float(np.linalg.norm(step.velocity(np.array([t]))[0]))
    loss = problem.value(torch.from_numpy(place).to(theta0.device))
    if not np.isfinite(loss):
        raise StepFailed(f"the loss is {loss} at t = {t:.4g}")
    record.add(float(t), loss, place, speed)


def _close(record: _Record, problem: Problem, step: Step, theta0: Tensor) -> None:
    """Write down where an unfinished flow is, unless an output was just there."""
    if record.rows[-1][0] < step.end:
        _write(record, problem, step, step.end, theta0)
