"""Ensembles of a diffusion, by Euler-Maruyama."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.core.steps import Progress
from heatgrad.fokker_planck.processes.ito import check_diffusion
from heatgrad.fokker_planck.processes.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.processes.process import Points, Process
from heatgrad.fokker_planck.processes.root import matrix_root

__all__ = [
    "Ensemble",
    "Euler",
    "check_step",
    "chunk_of",
    "generator_of",
    "normal",
    "room",
    "simulate",
    "start_points",
]

_ROOM = 2**24  # numbers of the noise factors of replicas that go together


@dataclass(frozen=True)
class Ensemble:
    """Paths of an ensemble at some times.

    Attributes:
        times: Shape (times,) [time].
        paths: Shape (times, replicas, p), on the ensemble's device [param].
        status: `"diverged"` if a path ceased to be finite: as it does, by a step, where its drift
            or loss is not finite or its D not positive semidefinite.
    """

    times: tuple[float, ...]
    paths: Float[Tensor, "times replicas p"]

    @property
    def status(self) -> Literal["complete", "diverged"]:
        """Whether all paths are finite at the last time."""
        return "complete" if self.num_diverged == 0 else "diverged"

    @property
    def num_diverged(self) -> int:
        """How many are not finite at the last time."""
        return int((~torch.isfinite(self.paths[-1]).all(1)).sum())

    def mean(self) -> Float[Tensor, "times p"]:
        """Return the mean over the replicas at each time."""
        return self.paths.mean(1)

    def covariance(self) -> Float[Tensor, "times p p"]:
        """Return the unbiased covariance over the replicas at each time."""
        centred = self.paths - self.paths.mean(1, keepdim=True)
        return centred.mT @ centred / (self.paths.shape[1] - 1)


def simulate(
    process: Process,
    x0: Tensor,
    *,
    dt: float,
    times: Sequence[float] | float,
    replicas: int = 1,
    seed: int | torch.Generator = 0,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Ensemble:
    r"""Return an ensemble of a process at some times, by the Euler-Maruyama method.

    $$X_{k+1} = X_k + b(X_k)\,\Delta t + \sqrt{2 \Delta t}\,F(X_k)\,\xi_k, \qquad
    F F^\top = D, \quad \xi_k \sim N(0, I) \tag{F.61}$$

    Its weak order is 1. Every time is met exactly: between two of them the steps are equal and at
    most `dt`. Type and device are those of `x0`; only the times asked for are kept.

    A path that comes to where the drift or, of a `Langevin`, the potential is not finite, or D not
    symmetric and positive semidefinite beyond rounding, is NaN from then on.

    Args:
        process: Which; its drift and noise factor are evaluated at all points at once.
        x0: The start: one point, shape (p,), or one for each replica, shape (replicas, p).
        dt: Longest step, positive [time].
        times: Increasing and not negative, or one number [time].
        replicas: How many paths, where `x0` is one point.
        seed: Of the stream of noise, drawn on the CPU; or a generator, also of a GPU, which is
            faster there.
        chunk: Replicas taken through all times together; bounds the memory. Unless given, as many
            as have noise factors of 128 MB in double precision. It is part of the random stream.
        progress: Called with the steps done and the number of all steps, now and then.

    Raises:
        ValueError: If a number is out of range, shapes do not fit, the drift at the start is not
            finite, or D there no diffusion.

    References:
        Kloeden and Platen (1992), chapter 14. Theory page: Eq. (F.61).

    Example:
        >>> well = Langevin(lambda x: (x**2).sum() / 2, temperature=0.5)
        >>> end = simulate(well, torch.zeros(2), dt=0.05, times=4.0, replicas=4000)
        >>> bool((end.covariance()[0] - 0.5 * torch.eye(2)).abs().max() < 0.05)
        True
    """
    when = [float(t) for t in (times if isinstance(times, Sequence) else [times])]
    if not when or not all(math.isfinite(t) and t >= 0 for t in when) or sorted(when) != when:
        raise ValueError(f"times must be increasing, finite and not negative, got {when}")
    check_step("dt", dt)
    start = start_points(process, x0, replicas)
    generator = generator_of(seed)
    counts = [
        math.ceil((b - a) / dt - 1e-9) if b > a else 0
        for a, b in zip([0.0, *when], when, strict=False)
    ]
    kept = start.new_empty(len(when), *start.shape)
    parts = torch.split(start, chunk_of(chunk, room(process, start)))
    total, done, column = sum(counts) * len(parts), 0, 0
    with torch.no_grad():
        for x in parts:
            euler = Euler(process, x, generator)
            now = 0.0
            for row, (then, count) in enumerate(zip(when, counts, strict=True)):
                for step in range(count):
                    x = x + euler.move(x, (then - now) / count)
                    if progress and (step + 1) % 100 == 0:
                        progress(done + step + 1, total)
                done += count
                now = then
                kept[row, column : column + len(x)] = x
            if total:
                kept[-1, column : column + len(x)][~euler.is_sound(x)] = math.nan
            column += len(x)
    if progress:
        progress(total, total)
    return Ensemble(tuple(when), kept)


class Euler:
    """Steps of Euler-Maruyama of many paths; constant noise is evaluated once.

    Args:
        process: Which.
        x: Where the paths start, for their type and device.
        generator: Of the noise.

    Attributes:
        factor: F, shape (p, r), where it is the same everywhere, else None; of the paths last
            moved, shape (replicas, p, r), in `last_factor`.
    """

    def __init__(self, process: Process, x: Points, generator: torch.Generator) -> None:
        self.process, self.generator = process, generator
        self.factor = _constant_factor(process, x)
        diagonal = None if self.factor is None else _diagonal(self.factor)
        self._diagonal = diagonal
        self.last_factor = self.factor

    def move(self, x: Points, dt: float) -> Points:
        """Return the displacement of one step."""
        root = math.sqrt(2 * dt)
        step = self.process.drift(x) * dt
        if self._diagonal is not None:
            noise: Tensor = self._diagonal * normal(x.shape, self.generator, x)
        elif self.factor is not None:
            noise = normal((len(x), self.factor.shape[1]), self.generator, x) @ self.factor.T
        else:
            self.last_factor = self.process.noise_factor(x)
            xi = normal((len(x), self.last_factor.shape[2], 1), self.generator, x)
            noise = (self.last_factor @ xi).squeeze(2)
        return step.add_(noise, alpha=root)

    def is_sound(self, x: Points) -> Tensor:
        """Return which paths could take a step that is finite, shape (replicas,)."""
        found = torch.isfinite(self.process.drift(x)).all(1)
        if self.factor is None:
            found &= torch.isfinite(self.process.noise_factor(x)).flatten(1).all(1)
        return found

    def spread(self, slopes: Float[Tensor, "n k p"]) -> Float[Tensor, "n k"]:
        """Return n' D n for directions n at the paths last moved."""
        assert self.last_factor is not None
        along: Tensor = (slopes @ self.last_factor).square().sum(2)
        return along


def normal(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    """Return standard normal numbers, drawn where the generator lives."""
    drawn = torch.randn(shape, generator=generator, dtype=like.dtype, device=generator.device)
    return drawn.to(like.device)


def generator_of(seed: int | torch.Generator) -> torch.Generator:
    """Return the generator of the stream of noise of a seed, or the one that was given."""
    return seed if isinstance(seed, torch.Generator) else stream_generator(seed, "noise")


def check_step(name: str, value: float) -> None:
    """Refuse a length of time that is not positive and finite.

    Raises:
        ValueError: If it is not.
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")


def chunk_of(chunk: int | None, replicas: int) -> int:
    """Return how many replicas go together.

    Raises:
        ValueError: If it is below 1.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    return replicas if chunk is None else chunk


def room(process: Process, start: Points) -> int:
    """Return how many replicas go together, by default: their noise factors fill the memory."""
    if _constant_factor(process, start) is not None:
        return max(1, min(len(start), _ROOM // start.shape[1]))
    return max(1, min(len(start), _ROOM // max(1, process.noise_factor(start[:1]).numel())))


def start_points(process: Process | None, x0: Tensor, replicas: int) -> Points:
    """Return one start for each replica.

    Raises:
        ValueError: If shapes do not fit, the start or the drift there is not finite, or D there
            not symmetric and positive semidefinite.
    """
    if not isinstance(x0, Tensor):
        raise ValueError(f"x0 must be a tensor, got {type(x0).__name__}; use torch.tensor(...)")
    if not x0.is_floating_point() or x0.dim() not in (1, 2) or not x0.numel():
        raise ValueError(
            f"x0 must be a floating-point tensor of shape (p,) or (replicas, p), got "
            f"{x0.dtype} of shape {tuple(x0.shape)}"
        )
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
        raise ValueError(f"replicas must be an integer of at least 1, got {replicas!r}")
    if x0.dim() == 2 and replicas not in (1, len(x0)):
        raise ValueError(f"x0 has {len(x0)} points for {replicas} replicas; leave replicas out")
    start = x0.expand(replicas, -1) if x0.dim() == 1 else x0
    start = start.detach().clone()
    if not bool(torch.isfinite(start).all()):
        raise ValueError("x0 must be finite, got NaN or infinity in it")
    if process is not None:
        if process.dim is not None and process.dim != start.shape[1]:
            raise ValueError(f"x0 must have {process.dim} coordinates, got {start.shape[1]}")
        points = start if x0.dim() == 2 else start[:1]
        if not bool(torch.isfinite(process.drift(points)).all()):
            raise ValueError(
                "the drift at x0 must be finite, and the potential if there is one, got NaN or "
                "infinity; start where they are"
            )
        _check_noise(process, points)
    return start


def _check_noise(process: Process, points: Points) -> None:
    """Refuse points whose D is no diffusion; a process with a factor of its own has none such.

    Raises:
        ValueError: If D is of another shape, not finite, not symmetric or not positive
            semidefinite.
    """
    if type(process).noise_factor is not Process.noise_factor:
        return
    if process.constant_diffusion() is not None:
        points = points[:1]
    p = points.shape[1]
    for part in torch.split(points, max(1, _ROOM // p**2)):
        matrices = process.diffusion(part)
        if matrices.shape != (len(part), p, p):
            raise ValueError(
                f"diffusion at x0 must be of shape {(p, p)}, got {tuple(matrices.shape[1:])}"
            )
        is_bad = ~torch.isfinite(matrix_root(matrices)).flatten(1).all(1)
        if bool(is_bad.any()):
            check_diffusion(matrices[is_bad][0].double(), "diffusion at x0")


def _constant_factor(process: Process, x: Points) -> Float[Tensor, "p r"] | None:
    matrix = process.constant_diffusion()
    if matrix is not None or isinstance(process, Langevin | Kinetic):
        return process.noise_factor(x[:1])[0]
    return None


def _diagonal(factor: Float[Tensor, "p r"]) -> Tensor | None:
    """Return the diagonal of a factor, one number (which is faster) if all agree, or None."""
    if factor.shape[0] != factor.shape[1] or not torch.equal(factor, factor.diag().diag()):
        return None
    diagonal = factor.diag()
    return diagonal[0] if bool((diagonal == diagonal[0]).all()) else diagonal
