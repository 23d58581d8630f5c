"""One solution from sensors, kept step by step."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatgrad.core.environment import describe_environment
from heatgrad.core.errors import HeatgradWarning, SpecError
from heatgrad.core.random import stream_generator
from heatgrad.core.steps import Steps, Tell, Values
from heatgrad.solving.answer import Answer
from heatgrad.solving.cleaning import cleaned, doubted, with_noise
from heatgrad.solving.methods import Measured, answering, has_exact
from heatgrad.solving.priors import Prior, prior_of
from heatgrad.solving.problems import Problem, named_problem
from heatgrad.solving.scoring import FieldScore, residuals_of, score_field
from heatgrad.solving.sensors import Sensors, check_counts, draw_sensors, read_sensors
from heatgrad.solving.solve_spec import SolveSpec

__all__ = ["SolveFindings", "run_solve"]

Fields = Mapping[str, Tensor]


@dataclass(frozen=True)
class SolveFindings:
    """All that one solution told.

    Attributes:
        spec: What was asked.
        problem: The equation.
        prior: Words on the prior.
        sensors: Those that were used, with values and noise.
        truth: The fields, each of shape (1, n, n), where they are known.
        answers: By method: the one asked for and, where there is one, the exact.
        scores: By method and field, where the truth is known.
        residuals: By method, relative residual of the mean and of the draws; "truth" too.
        shared: By method, seconds for what cases of the same sensors share [s].
        notes: Sentences on what was left out or chosen.
        warnings: What makes the answer doubtful.
        environment: Versions and machine.
    """

    spec: SolveSpec
    problem: Problem
    prior: str
    sensors: Sensors
    truth: Fields | None
    answers: Mapping[str, Answer]
    scores: Mapping[str, Mapping[str, FieldScore]]
    residuals: Mapping[str, tuple[float, float]]
    shared: Mapping[str, float]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    environment: Mapping[str, Any]


def run_solve(
    spec: SolveSpec,
    out: str | Path,
    *,
    problem: Problem | None = None,
    tell: Tell = lambda what: None,
) -> SolveFindings:
    """Find the fields that agree with sensors; what is done already is not done again.

    Args:
        spec: What is asked.
        out: Folder of the results.
        problem: The problem that the specification names, if it is made already.
        tell: Called with the name of each step that begins.

    Raises:
        SpecError: If the problem or an option is unknown, a prior is not trained, or a method does
            not apply.
        DataError: If sensors cannot be used.
        StoreError: If the folder is another's, or cannot be written.
    """
    if problem is None:
        problem = named_problem(spec.problem, spec.options)
    given = None if spec.data is None else read_sensors(spec.data, problem.names)
    for field in spec.observe:
        if field not in problem.names:
            raise SpecError(f"unknown field '{field}'; fields are {', '.join(problem.names)}")
    check_counts(problem.grid, spec.observe)
    prior = prior_of(spec.problem, problem, spec.options, method=spec.method)
    steps = Steps(out, f"{spec.id}-{prior.id}", tell=tell)
    environment = steps.once("environment", lambda: {"about": describe_environment()})["about"]
    if given is None:
        drawn = steps.once("truth", lambda: _drawn(problem, spec))
        truth: Fields | None = {k: torch.from_numpy(drawn[f"field-{k}"]) for k in problem.names}
        given = _sensors(drawn)
    else:
        truth = None
    sensors = with_noise(given, prior.sizes, spec.relative_noise)
    sensors, notes, doubts = cleaned(sensors, problem, is_drawn=truth is not None)
    doubts += doubted(sensors, prior.sizes)
    for words in doubts:
        warnings.warn(words, HeatgradWarning, stacklevel=2)
    methods = dict.fromkeys([spec.method, *(["exact"] if has_exact(prior, sensors) else [])])
    answers, shared = {}, {}
    for method in methods:
        found = steps.once(f"answer-{method}", lambda m=method: _answer(m, prior, sensors, spec))  # type: ignore[misc]
        answers[method], shared[method] = _read(found, problem), float(found["shared"])
    scores = (
        {}
        if truth is None
        else {
            method: {name: score_field(answer, truth, name) for name in problem.names}
            for method, answer in answers.items()
        }
    )
    residuals = {method: residuals_of(problem, answer) for method, answer in answers.items()}
    if truth is not None:
        exact = float(problem.residual(truth).mean())
        residuals["truth"] = (exact, math.nan)
    return SolveFindings(
        spec, problem, prior.words, sensors, truth, answers, scores, residuals, shared,
        notes, doubts, environment,
    )  # fmt: skip


def _drawn(problem: Problem, spec: SolveSpec) -> Values:
    """Return a solution of the law, sensors at random points, and what they measure."""
    fields = problem.sample(1, stream_generator(spec.seed, "truth"))
    sensors = draw_sensors(problem.grid, spec.observe, stream_generator(spec.seed, "sensors"))
    values = np.empty(len(sensors))
    axis = problem.grid.axis().numpy()
    for name in sensors.fields:
        own = sensors.of(name)
        rows, columns = (
            np.rint((sensors.points[own, k] - axis[0]) / problem.grid.h) for k in (0, 1)
        )
        values[own] = fields[name][0].numpy()[rows.astype(int), columns.astype(int)]
    return {
        **{f"field-{name}": field.numpy() for name, field in fields.items()},
        "names": list(sensors.field),
        "points": sensors.points,
        "values": values,
    }


def _sensors(drawn: Values) -> Sensors:
    values = np.asarray(drawn["values"])
    return Sensors(tuple(drawn["names"]), drawn["points"], values, np.full(len(values), math.nan))


def _answer(method: str, prior: Prior, sensors: Sensors, spec: SolveSpec) -> Values:
    measured = Measured.of(sensors, prior.problem.grid)
    answerer = answering(method, prior, measured)
    values = torch.from_numpy(measured.values)
    if spec.data is None and spec.relative_noise > 0:
        noise = torch.randn(len(values), generator=stream_generator(spec.seed, "noise")).double()
        values = values + torch.from_numpy(measured.noise) * noise
    found = answerer(values, spec.draws, stream_generator(spec.seed, "draws"))
    return {
        **{f"mean-{name}": field.numpy() for name, field in found.mean.items()},
        **{f"draws-{name}": field.numpy() for name, field in found.draws.items()},
        "calls": found.calls,
        "seconds": found.seconds,
        "pairs": found.pairs,
        "shared": answerer.shared,
    }


def _read(found: Values, problem: Problem) -> Answer:
    mean, draws = (
        {name: torch.from_numpy(found[f"{part}-{name}"]) for name in problem.names}
        for part in ("mean", "draws")
    )
    return Answer(mean, draws, int(found["calls"]), float(found["seconds"]), bool(found["pairs"]))
