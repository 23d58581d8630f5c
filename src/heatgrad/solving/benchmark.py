"""The benchmark of posteriors: every method on the same cases, kept step by step."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.core.environment import describe_environment
from heatgrad.core.random import stream_generator
from heatgrad.core.steps import Steps, Tell, Values
from heatgrad.solving.answer import Answer
from heatgrad.solving.benchmark_spec import Arm, BenchmarkSpec, Direction, arms_of, benchmark_priors
from heatgrad.solving.cleaning import cleaned, with_noise
from heatgrad.solving.methods import Measured, Options, answering
from heatgrad.solving.priors import Prior, law_prior, trained_as_prior
from heatgrad.solving.problems import Problem, named_problem
from heatgrad.solving.scoring import residuals_of, score_field, wrong_pixels
from heatgrad.solving.sensors import draw_sensors
from heatgrad.solving.trained import load_prior

__all__ = ["BenchmarkRow", "PosteriorBenchmark", "run_benchmark", "write_records"]


_SHOWN = 4  # draws of the gallery
_FIGURES = ("mean_error", "draw_error", "coverage", "crps")


@dataclass(frozen=True)
class BenchmarkRow:
    """One method on all cases of one seed.

    Attributes:
        problem: Name of the problem.
        direction: Which field is observed: the parameter (forward) or the solution.
        arm: Name of the arm.
        title: Of the arm, in words.
        seed: Which mask and cases.
        target: The field that is asked for.
        numbers: Numbers of one sample of the prior.
        calls: Calls of the denoiser for one case, all draws.
        shared: Time of what all cases share [s].
        values: Per case: errors, coverage and CRPS of the target, `residual_mean`,
            `residual_draw`, `seconds`, of Darcy inverse `wrong`, each of shape (cases,).
    """

    problem: str
    direction: str
    arm: str
    title: str
    seed: int
    target: str
    numbers: int
    calls: int
    shared: float
    values: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class PosteriorBenchmark:
    """All that the benchmark found.

    Attributes:
        spec: What was asked.
        rows: One for each problem, direction, arm and seed.
        galleries: By problem and direction: `truth`, `mean`, `std`, `draws` of the target, of the
            first case, by pseudo-inverse guidance; and the sensors' `points` and `values`.
        priors: By problem and source: what the training of a prior took.
        environment: Versions and machine.
    """

    spec: BenchmarkSpec
    rows: tuple[BenchmarkRow, ...]
    galleries: Mapping[tuple[str, str], Values]
    priors: Mapping[tuple[str, str], Mapping[str, Any]]
    environment: Mapping[str, Any]


def run_benchmark(
    spec: BenchmarkSpec,
    out: str | Path,
    *,
    only: Sequence[str] = (),
    tell: Tell = lambda what: None,
) -> PosteriorBenchmark:
    """Run what is left of the benchmark; trained priors must be there.

    Args:
        spec: What is asked.
        out: Folder of the steps.
        only: Beginnings of `problem/direction/arm`; what begins with none of them is left out.
        tell: Called with the name of each step that begins.

    Raises:
        SpecError: If a prior is not trained, with the command that trains it.
        StoreError: If the folder is another's, or cannot be written.
    """
    rows: list[BenchmarkRow] = []
    galleries: dict[tuple[str, str], Values] = {}
    abouts: dict[tuple[str, str], Mapping[str, Any]] = {}
    environment: Mapping[str, Any] = {}
    for name in spec.problems:
        chosen = [
            (direction, arm)
            for direction in get_args(Direction)
            for arm in arms_of(name, direction)
            if _is_chosen(f"{name}/{direction}/{arm.name}", only)
        ]
        if not chosen:
            continue
        runner = _Runner(spec, name, Path(out), {arm.source for _, arm in chosen}, tell)
        environment = runner.environment
        for direction, arm in chosen:
            rows += [runner.row(direction, arm, seed) for seed in range(spec.seeds)]
            if arm.name == _gallery_arm(name, direction):
                galleries[name, direction] = runner.gallery(direction, arm)
        abouts |= {(name, source): about for source, about in runner.abouts.items()}
    return PosteriorBenchmark(spec, tuple(rows), galleries, abouts, environment)


def write_records(found: PosteriorBenchmark, path: str | Path) -> None:
    """Write one line of comma-separated values for each problem, direction, arm and seed.

    Args:
        found: The benchmark.
        path: The file, which is replaced.
    """
    names = ("problem", "direction", "arm", "seed", "target", "cases", "numbers", "calls", "shared")
    figures = (*_FIGURES, "residual_mean", "residual_draw", "seconds", "wrong")
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow((*names, *figures))
        for row in found.rows:
            cases = len(row.values["mean_error"])
            means = (row.values.get(name) for name in figures)
            table.writerow(
                (
                    row.problem,
                    row.direction,
                    row.arm,
                    row.seed,
                    row.target,
                    cases,
                    row.numbers,
                    row.calls,
                    f"{row.shared:.3g}",
                    *("" if v is None else f"{float(np.mean(v)):.6g}" for v in means),
                )
            )


def _gallery_arm(problem: str, direction: str) -> str:
    """Return the arm whose draws are shown: the form that `heatgrad solve` takes by itself."""
    return "jacobian" if (problem, direction) == ("darcy", "inverse") else "pseudo-inverse"


def _is_chosen(name: str, only: Sequence[str]) -> bool:
    return not only or any(name == part or name.startswith(f"{part}/") for part in only)


class _Runner:
    """The benchmark of one problem: its priors, and its cases, made when first asked for."""

    def __init__(
        self, spec: BenchmarkSpec, name: str, out: Path, sources: set[str], tell: Tell
    ) -> None:
        self.spec, self.name = spec, name
        wanted = {k: v for k, v in benchmark_priors(spec, name).items() if k in sources}
        options = benchmark_priors(spec, name)["trained"].options
        self.problem: Problem = named_problem(name, options)
        self.priors: dict[str, Prior] = {}
        self.abouts: dict[str, Mapping[str, Any]] = {}
        for source, prior in wanted.items():
            trained = load_prior(prior, self.problem)
            self.priors[source] = trained_as_prior(trained)
            self.abouts[source] = trained.about
        if "law" in sources:
            self.priors["law"] = law_prior(name, self.problem)
        self.steps = Steps(out / name, spec.id_of(name), tell=lambda step: tell(f"{name}: {step}"))
        self.environment = self.steps.once(
            "environment", lambda: {"about": describe_environment()}
        )["about"]
        self._cases: dict[int, dict[str, Tensor]] = {}

    def cases(self, seed: int) -> dict[str, Tensor]:
        if seed not in self._cases:
            stream = stream_generator(seed, "benchmark-cases")
            self._cases = {seed: self.problem.sample(self.spec.cases, stream)}
        return self._cases[seed]

    def row(self, direction: Direction, arm: Arm, seed: int) -> BenchmarkRow:
        found = self.steps.once(
            f"{direction}-{arm.name}-{seed}", lambda: self._answered(direction, arm, seed)
        )
        return BenchmarkRow(
            self.name, direction, arm.name, arm.title, seed, self._fields(direction)[1],
            int(found["numbers"]), int(found["calls"]), float(found["shared"]),
            {key: value for key, value in found.items() if isinstance(value, np.ndarray)},
        )  # fmt: skip

    def gallery(self, direction: Direction, arm: Arm) -> Values:
        return self.steps.once(f"{direction}-gallery", lambda: self._shown(direction, arm))

    def _fields(self, direction: Direction) -> tuple[str, str]:
        """Return the observed field and the one that is asked for."""
        first, second = self.problem.names[:2]
        return (first, second) if direction == "forward" else (second, first)

    def _options(self, arm: Arm) -> Options:
        spec = self.spec
        return Options(spec.steps, spec.dps_steps, spec.adam_steps, jacobian=arm.jacobian)

    def _measured(self, direction: Direction, prior: Prior, seed: int) -> Measured:
        """Return the sensors of a seed, those on a blind border left out; no values yet."""
        observed = self._fields(direction)[0]
        stream = stream_generator(seed, f"benchmark-sensors-{direction}")
        sensors = draw_sensors(self.problem.grid, {observed: self.spec.sensors}, stream)
        sensors = with_noise(sensors, prior.sizes, 0.0)
        return Measured.of(cleaned(sensors, self.problem, is_drawn=True)[0], self.problem.grid)

    def _answered(self, direction: Direction, arm: Arm, seed: int) -> Values:
        prior = self.priors[arm.source]
        measured = self._measured(direction, prior, seed)
        answerer = answering(arm.method, prior, measured, self._options(arm))
        fields, target = self.cases(seed), self._fields(direction)[1]
        lines: list[dict[str, float]] = []
        calls = 0
        for case in range(arm.cases(self.spec)):
            truth = {name: field[case : case + 1] for name, field in fields.items()}
            stream = stream_generator(seed, "benchmark-draws", case)
            answer = answerer(measured.read(truth), arm.draws(self.spec), stream)
            lines.append(self._line(answer, truth, target, direction))
            calls = answer.calls
        values = {key: np.array([line[key] for line in lines]) for key in lines[0]}
        return {"numbers": answerer.numbers, "calls": calls, "shared": answerer.shared, **values}

    def _line(
        self, answer: Answer, truth: Mapping[str, Tensor], target: str, direction: str
    ) -> dict[str, float]:
        score = score_field(answer, truth, target)
        of_mean, of_draws = residuals_of(self.problem, answer)
        line = {name: getattr(score, name) for name in _FIGURES}
        line |= {"residual_mean": of_mean, "residual_draw": of_draws, "seconds": answer.seconds}
        if self.name == "darcy" and direction == "inverse":
            line["wrong"] = wrong_pixels(answer.mean[target], truth[target])
        return line

    def _shown(self, direction: Direction, arm: Arm) -> Values:
        prior = self.priors[arm.source]
        measured = self._measured(direction, prior, 0)
        truth = {name: field[:1] for name, field in self.cases(0).items()}
        answerer = answering(arm.method, prior, measured, self._options(arm))
        values = measured.read(truth)
        answer = answerer(values, self.spec.draws, stream_generator(0, "benchmark-draws", 0))
        observed, target = self._fields(direction)
        return {
            "observed": observed,
            "target": target,
            "points": measured.points.numpy(),
            "values": values.numpy(),
            "truth": truth[target][0].numpy().astype(np.float32),
            "mean": answer.mean[target][0].numpy().astype(np.float32),
            "std": answer.std()[target].numpy().astype(np.float32),
            "draws": answer.draws[target][:_SHOWN].numpy().astype(np.float32),
        }


def mean_and_error(parts: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the mean over the cases of all seeds, and its standard error.

    With several seeds, from the means of the seeds: their masks differ.

    Example:
        >>> mean_and_error([np.array([1.0, 2.0]), np.array([3.0, 4.0])])
        (2.5, 1.0)
    """
    means = np.array([float(part.mean()) for part in parts])
    if len(means) > 1:
        return float(means.mean()), float(means.std(ddof=1) / math.sqrt(len(means)))
    one = parts[0]
    spread = float(one.std(ddof=1) / math.sqrt(len(one))) if len(one) > 1 else math.nan
    return float(means[0]), spread
