"""Gradient flows of a specification, kept one by one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.core.environment import describe_environment
from heatgrad.core.errors import SpecError
from heatgrad.core.random import stream_generator
from heatgrad.core.spec import digest
from heatgrad.core.steps import Steps, Tell, Values
from heatgrad.dynamics.flow_spec import FlowSpec, SweepSpec, check_start
from heatgrad.flow import (
    DivergenceByStart,
    NetworkFit,
    Trajectory,
    descend,
    divergence_by_start,
    gradient_flow,
    valley_start,
)

__all__ = ["DescentFinding", "FlowFinding", "FlowFindings", "run_flow"]


_CURVES = ("t", "loss", "norm", "speed", "length", "energy")


@dataclass(frozen=True)
class FlowFinding:
    """One flow.

    Attributes:
        net: Its network.
        seed: Of its start.
        trajectory: Its record.
    """

    net: str
    seed: int
    trajectory: Trajectory


@dataclass(frozen=True)
class DescentFinding:
    """One training beside the flow.

    Attributes:
        net: Its network.
        optimizer: Its optimizer.
        steps: Numbers of steps.
        loss: Loss at each.
        norm: Norm at each.
    """

    net: str
    optimizer: str
    steps: NDArray[np.float64]
    loss: NDArray[np.float64]
    norm: NDArray[np.float64]


@dataclass(frozen=True)
class FlowFindings:
    """All that the flows of a specification told.

    Attributes:
        spec: What was asked.
        flows: In order.
        descents: Trainings beside them.
        sweep: Verdicts by start, or None.
        environment: Versions and machine.
    """

    spec: FlowSpec
    flows: tuple[FlowFinding, ...]
    descents: tuple[DescentFinding, ...]
    sweep: DivergenceByStart | None
    environment: Mapping[str, Any]


def run_flow(spec: FlowSpec, out: str | Path, *, tell: Tell = lambda what: None) -> FlowFindings:
    """Follow every flow; those that are done already are not followed again.

    Args:
        spec: What is asked.
        out: Folder of the results.
        tell: Called with the name of each step that begins.

    Raises:
        SpecError: If a loss is not finite at a start, or a start cannot be made.
        StoreError: If the folder is another's, or cannot be written.
    """
    steps = Steps(out, spec.id, tell=tell)

    environment = steps.once("environment", lambda: {"about": describe_environment()})["about"]
    problems = {name: _built(name, net.problem) for name, net in spec.nets.items()}
    flows = []
    for name, net in spec.nets.items():
        for seed in range(net.seeds):
            start = _built(name, lambda: net.start_of(problems[name], seed))  # noqa: B023
            check_start(problems[name], start, name)
            kept = steps.once(
                f"flow-{_plain(name)}-{seed}",
                lambda: _built(name, lambda: _followed(spec, problems[name], start)),  # noqa: B023
            )
            flows.append(FlowFinding(name, seed, _trajectory(kept)))
    descents = []
    if spec.descent is not None:
        for name in spec.descent.nets or spec.nets:
            start = spec.nets[name].start_of(problems[name], 0)
            for optimizer in spec.descent.optimizers:
                if optimizer == "sgd" and spec.nets[name].loss is not None:
                    continue
                kept = steps.once(
                    f"descent-{_plain(name)}-{optimizer}",
                    lambda: _built(
                        name,  # noqa: B023
                        lambda: _descended(spec, problems[name], start, optimizer),  # noqa: B023
                    ),
                )
                curves = (kept[key] for key in ("steps", "loss", "norm"))
                descents.append(DescentFinding(name, optimizer, *curves))
    sweep = None
    if spec.sweep is not None:
        fit = problems[spec.sweep.net]
        sweep = _sweep_of(steps.once("sweep", lambda: _swept(spec.sweep, fit)))  # type: ignore[arg-type]
    return FlowFindings(spec, tuple(flows), tuple(descents), sweep, environment)


def _built(name: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except SpecError:
        raise
    except (ValueError, TypeError) as error:
        raise SpecError(f"nets.{name}: {error}") from error
    except Exception as error:  # a function of the user's own may raise anything
        raise SpecError(f"nets.{name}: {type(error).__name__}: {error}") from error


def _plain(name: str) -> str:
    """Return a name as part of a file's, another for another name."""
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
    return plain if plain == name.lower() else f"{plain}-{digest(name)[:8]}"


def _followed(spec: FlowSpec, problem: Any, start: Tensor) -> Values:
    flow = gradient_flow(
        problem,
        start,
        t_end=spec.t_end,
        method=spec.method,
        rtol=spec.rtol,
        max_seconds=spec.max_seconds,
    )
    if flow.status == "interrupted":
        raise KeyboardInterrupt
    curves: dict[str, Any] = {name: getattr(flow, name) for name in _CURVES}
    about = ("status", "message", "rtol", "atol")
    plain = {name: getattr(flow, name) for name in about} | {"stats": dict(flow.stats)}
    return curves | plain | {"end": flow.end.numpy()}


def _trajectory(kept: Values) -> Trajectory:
    return Trajectory(
        **{name: kept[name] for name in (*_CURVES, "status", "message", "rtol", "atol", "stats")},
        end=torch.from_numpy(kept["end"]),
    )


def _descended(spec: FlowSpec, problem: Any, start: Tensor, optimizer: Any) -> Values:
    assert spec.descent is not None
    run = descend(problem, start, optimizer=optimizer, lr=spec.descent.lr, steps=spec.descent.steps)
    return {"steps": run.steps, "loss": run.loss, "norm": run.norm}


def _swept(sweep: SweepSpec, fit: NetworkFit) -> Values:
    """Follow starts in the valley, each pushed off it at random."""
    generator = stream_generator(0, "init", 1)
    starts = []
    for number in range(sweep.starts):
        good = valley_start(fit, sweep.steps[number % len(sweep.steps)], seed=number)
        push = torch.randn(good.shape, generator=generator, dtype=good.dtype)
        # From none to twice the noise, so that starts of all qualities are there.
        share = sweep.noise * 2 * number / max(1, sweep.starts - 1)
        starts.append(good * (1 + share * push))
    found = divergence_by_start(fit, starts, t_end=sweep.t_end, bins=sweep.bins)
    names = ("excess", "final_loss", "final_norm", "edges", "counts", "low", "high")
    return {
        **{name: np.asarray(getattr(found, name)) for name in names},
        "words": list(found.words),
        "statuses": list(found.statuses),
        "confidence": found.confidence,
    }


def _sweep_of(kept: Values) -> DivergenceByStart:
    arrays = {k: v for k, v in kept.items() if k not in ("words", "statuses")}
    return DivergenceByStart(**arrays, words=tuple(kept["words"]), statuses=tuple(kept["statuses"]))
