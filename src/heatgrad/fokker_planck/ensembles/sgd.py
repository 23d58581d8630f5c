"""Ensembles of true minibatch SGD: every replica its own batches, none of them a surrogate."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.core.steps import Progress
from heatgrad.fokker_planck.ensembles.batches import Indices, draw_batches
from heatgrad.fokker_planck.ensembles.bridge import Faces, faces_of
from heatgrad.fokker_planck.ensembles.exits import Watch, check_inside
from heatgrad.fokker_planck.ensembles.simulate import (
    Ensemble,
    chunk_of,
    generator_of,
    normal,
    start_points,
)
from heatgrad.fokker_planck.ensembles.survival import FirstExits
from heatgrad.fokker_planck.processes.process import Points, scalar_valued
from heatgrad.fokker_planck.processes.region import Region
from heatgrad.fokker_planck.processes.sgd import LOSS_OF, SampleLoss, batch_share, check_sgd

__all__ = ["sgd_exit_times", "simulate_sgd"]

_ROOM = 2**20  # numbers of the batches of the replicas that go together: they stay in cache


def simulate_sgd(
    loss: SampleLoss,
    data: Sequence[Tensor],
    theta0: Tensor,
    *,
    lr: float,
    batch_size: int,
    steps: int,
    replicas: int = 1,
    replacement: bool = True,
    epochs: bool = False,
    momentum: float = 0.0,
    extra_noise: float = 0.0,
    record: Sequence[int] | None = None,
    seed: int | torch.Generator = 0,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Ensemble:
    r"""Return an ensemble of runs of minibatch SGD, all at once.

    $$v_{k+1} = \mu v_k + \nabla L_{B_k}(\theta_k) + \sqrt{\epsilon}\,\xi_k, \qquad
    \theta_{k+1} = \theta_k - \eta v_{k+1} \tag{F.64}$$

    as `torch.optim.SGD` steps. Each replica draws its own batches. Times are on the clock η k of
    `SGDDiffusion`, also with momentum. Type and device are those of `theta0`. A run whose batch
    has a loss that is not finite is NaN from then on.

    Args:
        loss: Of the parameters, shape (p,), and one sample, to a scalar [loss].
        data: Tensors whose first axis counts the samples, handed on to `loss` one by one.
        theta0: The start: shape (p,), or one for each replica, shape (replicas, p).
        lr: η, positive [time].
        batch_size: B, at least 1; without replacement and in passes at most N.
        steps: How many, at least 1.
        replicas: How many runs, where `theta0` is one point.
        replacement: Whether the batches are drawn with replacement.
        epochs: Whether each replica goes through shuffled passes; `replacement` is not used then.
        momentum: μ, from 0 up to but not 1.
        extra_noise: ε, the variance of noise added to every gradient, at least 0.
        record: Increasing numbers of steps after which to keep the parameters; the last only,
            unless given.
        seed: Of the stream of batches and noise, drawn on the CPU; or a generator.
        chunk: Replicas taken through all steps together; as many as stay in cache, unless given.
            It is part of the random stream.
        progress: Called with the steps done and the number of all steps, now and then.

    Raises:
        ValueError: If a number is out of range, shapes do not fit, the loss is not a scalar, or it
            or its gradient at the start is not finite.

    References:
        Theory page: Eq. (F.64).

    Example:
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> y = torch.tensor([1.0, 3.0])
        >>> loss = lambda theta, x, y: (x @ theta - y) ** 2 / 2
        >>> runs = simulate_sgd(loss, (x, y), torch.zeros(1), lr=0.1, batch_size=1, steps=200,
        ...                     replicas=5000)
        >>> runs.paths.shape, bool((runs.mean() - 1.4).abs() < 0.02)  # the least squares
        (torch.Size([1, 5000, 1]), True)
    """
    rule = _rule(loss, data, theta0, lr, batch_size, replacement, epochs, momentum, extra_noise)
    _check_count("steps", steps)
    kept_at = [steps] if record is None else [int(k) for k in record]
    if (
        not kept_at
        or sorted(set(kept_at)) != kept_at
        or not 0 <= kept_at[0] <= kept_at[-1] <= steps
    ):
        raise ValueError(f"record must be increasing, from 0 to {steps}, got {kept_at}")
    start = start_points(None, theta0, replicas)
    generator = generator_of(seed)
    kept = start.new_empty(len(kept_at), *start.shape)
    parts = torch.split(start, chunk_of(chunk, rule.room(start)))
    rows, column = {k: row for row, k in enumerate(kept_at)}, 0
    with torch.no_grad():
        for part, theta in enumerate(parts):
            runs = _Runs(rule, theta, generator)
            for step in range(steps + 1):
                if step in rows:
                    kept[rows[step], column : column + len(theta)] = runs.theta
                if step == kept_at[-1]:
                    break
                runs.step()
                if progress and (step + 1) % 100 == 0:
                    progress(part * steps + step + 1, steps * len(parts))
            kept[-1, column : column + len(theta), 0] += runs.defect()
            column += len(theta)
    if progress:
        progress(steps * len(parts), steps * len(parts))
    kept[~torch.isfinite(kept).all(2)] = math.nan
    return Ensemble(tuple(lr * k for k in kept_at), kept)


def sgd_exit_times(
    loss: SampleLoss,
    data: Sequence[Tensor],
    theta0: Tensor,
    region: Region,
    *,
    lr: float,
    batch_size: int,
    steps: int,
    replicas: int = 1000,
    replacement: bool = True,
    epochs: bool = False,
    momentum: float = 0.0,
    extra_noise: float = 0.0,
    seed: int | torch.Generator = 0,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> FirstExits:
    """Return times of first exit of minibatch SGD from a region, on the clock η k.

    SGD jumps: there is nothing between its steps, and it has left when a step ends outside.

    Args:
        loss: As of `simulate_sgd`.
        data: As of `simulate_sgd`.
        theta0: As of `simulate_sgd`, inside the region.
        region: A function of the parameters, positive inside.
        lr: As of `simulate_sgd`.
        batch_size: As of `simulate_sgd`.
        steps: For how many the runs are watched, at least 1.
        replicas: As of `simulate_sgd`.
        replacement: As of `simulate_sgd`.
        epochs: As of `simulate_sgd`.
        momentum: As of `simulate_sgd`.
        extra_noise: As of `simulate_sgd`.
        seed: As of `simulate_sgd`.
        chunk: As of `simulate_sgd`.
        progress: As of `simulate_sgd`.

    Raises:
        ValueError: As `simulate_sgd`, or if a start is not inside the region.

    References:
        Theory page: Eqs. (F.60) and (F.64).

    Example:
        >>> from heatgrad.fokker_planck.processes.region import HalfSpace
        >>> sign = torch.tensor([-1.0, 1.0])
        >>> slope = lambda theta, s: (theta * s).sum()  # steps of +1 or -1
        >>> left = sgd_exit_times(slope, (sign,), torch.zeros(1), HalfSpace((1.0,), 0.5), lr=1.0,
        ...                       batch_size=1, steps=1, replicas=4000)
        >>> left.status, bool(abs(left.exited.mean() - 0.5) < 0.04)
        ('censored', True)
    """
    rule = _rule(loss, data, theta0, lr, batch_size, replacement, epochs, momentum, extra_noise)
    _check_count("steps", steps)
    start = start_points(None, theta0, replicas)
    faces = faces_of(region)
    check_inside(faces, start)
    generator = generator_of(seed)
    watch = Watch(start, lr * steps)
    who = torch.arange(len(start), device=start.device)
    parts = torch.split(who, chunk_of(chunk, rule.room(start)))
    with torch.no_grad():
        for part, names in enumerate(parts):
            runs = _Runs(rule, start[names], generator)
            _watch(runs, faces, names, steps, watch)
            if progress:
                progress((part + 1) * steps, len(parts) * steps)
    return watch.result()


def _watch(runs: "_Runs", faces: Faces, names: Tensor, steps: int, watch: Watch) -> None:
    """Take runs until all have left, and note when."""
    for step in range(1, steps + 1):
        runs.step()
        heights = faces.heights(runs.theta)
        lost = ~(torch.isfinite(runs.theta).all(1) & torch.isfinite(heights).all(1))
        gone = (heights <= 0).any(1) | lost
        if not bool(gone.any()):
            continue
        left = gone & ~lost
        time = runs.rule.lr * step
        if bool(lost.any()):
            watch.diverge(names[lost], time)
        watch.leave(names[left], time, runs.theta[left])
        names = names[~gone]
        runs.keep(~gone)
        if not len(names):
            return
    watch.places[names] = runs.theta


@dataclass(frozen=True)
class _Rule:
    """How every run steps."""

    loss: SampleLoss
    data: tuple[Tensor, ...]
    lr: float
    batch_size: int
    replacement: bool
    epochs: bool
    momentum: float
    extra_noise: float

    def room(self, start: Points) -> int:
        """Return how many replicas go together, by default."""
        each = sum(part[0].numel() for part in self.data) * self.batch_size + start.shape[1]
        if self.epochs:
            each += len(self.data[0])
        return max(1, min(len(start), _ROOM // each))

    def batches(self, replicas: int, generator: torch.Generator) -> Iterator[Indices]:
        """Return the batches of some replicas."""
        return draw_batches(
            len(self.data[0]),
            self.batch_size,
            replicas,
            replacement=self.replacement,
            epochs=self.epochs,
            generator=generator,
        )


class _Runs:
    """Runs that step together; those that are not kept step no more."""

    def __init__(self, rule: _Rule, theta: Points, generator: torch.Generator) -> None:
        self.rule, self.theta, self.generator = rule, theta.clone(), generator
        self._velocity: Tensor | None = None
        self._alive: Tensor | None = None
        self._batches = rule.batches(len(theta), generator)
        self._last: Tensor | None = None
        samples = (None, *[0] * len(rule.data))

        def batch_loss(theta: Float[Tensor, " p"], *batch: Tensor) -> Tensor:
            each: Tensor = torch.func.vmap(rule.loss, in_dims=samples)(theta, *batch)
            return each.mean()

        self._loss = torch.func.vmap(batch_loss)
        self._slope = torch.func.vmap(torch.func.grad_and_value(batch_loss))
        all_samples = [part.unsqueeze(0) for part in rule.data]
        if not all(bool(torch.isfinite(x).all()) for x in self._slope(theta[:1], *all_samples)):
            raise ValueError(
                "the loss and its gradient at theta0 must be finite, got NaN or infinity; start "
                "where they are"
            )

    def step(self) -> None:
        """Take one step of each run."""
        indices = next(self._batches)
        if self._alive is not None:
            indices = indices[self._alive.to(indices.device)]
        self._last = indices.to(self.theta.device)
        slope, loss = self._slope(self.theta, *self._batch(self._last))
        if self.rule.extra_noise:
            xi = normal(self.theta.shape, self.generator, self.theta)
            slope = slope.add(xi, alpha=math.sqrt(self.rule.extra_noise))
        if self.rule.momentum:
            if self._velocity is not None:
                slope = slope.add(self._velocity, alpha=self.rule.momentum)
            self._velocity = slope
        self.theta.add_(slope, alpha=-self.rule.lr)
        self.theta[:, 0].add_(0 * loss)  # one coordinate that is NaN ends a run

    def defect(self) -> Float[Tensor, " replicas"]:
        """Return 0 of each run, NaN if the loss of its last batch is not finite where it is now."""
        if self._last is None:
            return torch.zeros_like(self.theta[:, 0])
        loss: Tensor = self._loss(self.theta, *self._batch(self._last))
        return (0 * loss).to(self.theta)

    def keep(self, mask: Tensor) -> None:
        """Let the others go. Their batches are still drawn, so that no run's depend on it."""
        old = self._alive
        self._alive = mask.nonzero().squeeze(1) if old is None else old[mask]
        self.theta = self.theta[mask]
        if self._velocity is not None:
            self._velocity = self._velocity[mask]

    def _batch(self, indices: Indices) -> list[Tensor]:
        flat = indices.flatten()
        # index_select is several times faster than indexing with a matrix.
        return [
            part.index_select(0, flat).view(*indices.shape, *part.shape[1:])
            for part in self.rule.data
        ]


def _rule(
    loss: SampleLoss,
    data: Sequence[Tensor],
    theta0: Tensor,
    lr: float,
    batch_size: int,
    replacement: bool,
    epochs: bool,
    momentum: float,
    extra_noise: float,
) -> _Rule:
    count = check_sgd(data, lr, extra_noise)
    batch_share(count, batch_size, replacement=replacement and not epochs)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be at least 0 and below 1, got {momentum!r}")
    own = [part.to(theta0) if part.is_floating_point() else part.to(theta0.device) for part in data]
    loss = scalar_valued("loss", loss, LOSS_OF)
    return _Rule(
        loss, tuple(own), float(lr), batch_size, replacement, epochs, momentum, extra_noise
    )


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
