"""When the paths of a diffusion first leave a region."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heatgrad.core.steps import Progress
from heatgrad.fokker_planck.ensembles.bridge import (
    Faces,
    crossing_probability,
    crossing_share,
    faces_of,
)
from heatgrad.fokker_planck.ensembles.simulate import (
    Euler,
    check_step,
    chunk_of,
    generator_of,
    normal,
    room,
    start_points,
)
from heatgrad.fokker_planck.ensembles.survival import FirstExits
from heatgrad.fokker_planck.processes.process import Points, Process
from heatgrad.fokker_planck.processes.region import Region

__all__ = ["Watch", "check_inside", "exit_times"]


def exit_times(
    process: Process,
    x0: Tensor,
    region: Region,
    *,
    dt: float,
    t_max: float,
    replicas: int = 1000,
    bridge: bool = True,
    seed: int | torch.Generator = 0,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> FirstExits:
    r"""Return times of first exit from a region, by an ensemble of Euler-Maruyama paths.

    A path that is inside before and after a step may have been outside between. Looking at the
    steps alone makes exits late by $O(\sqrt{\Delta t})$, the most common error of such ensembles;
    the Brownian bridge of Eqs. (F.62) and (F.63) removes it, up to the error of order one of the
    steps themselves. Exact for constant drift zero and a plane.

    A path's place of exit is on the line of its step, moved onto the boundary along its normal.
    Paths that left are dropped from the computation; those that never do are cut off. Those that
    meet a drift, loss or D as `simulate` refuses have diverged.

    Args:
        process: Which.
        x0: The start: one point, shape (p,), or one for each replica, shape (replicas, p).
        region: A function of one point, positive inside.
        dt: Longest step, positive [time].
        t_max: How long the paths are watched, positive [time].
        replicas: How many paths, where `x0` is one point.
        bridge: Whether to ask what happened between steps.
        seed: Of the stream of noise, drawn on the CPU; or a generator, also of a GPU.
        chunk: As of `simulate`.
        progress: Called with the steps done and the most that can be, now and then.

    Raises:
        ValueError: If a number is out of range, shapes do not fit, a start is not inside the
            region, the drift there is not finite, or D there no diffusion.

    References:
        Gobet (2000), doi:10.1016/S0304-4149(99)00109-X. Theory page: Eqs. (F.60) to (F.63).

    Example:
        >>> from heatgrad.fokker_planck.processes.ito import Ito
        >>> from heatgrad.fokker_planck.processes.region import Ball
        >>> brownian = Ito(lambda x: 0 * x, torch.eye(2))
        >>> left = exit_times(brownian, torch.zeros(2), Ball((0.0, 0.0), 1.0), dt=0.01, t_max=9.0)
        >>> left.status, abs(left.value - 1 / 4) < 4 * left.error
        ('complete', True)
    """
    check_step("dt", dt)
    check_step("t_max", t_max)
    start = start_points(process, x0, replicas)
    faces = faces_of(region)
    check_inside(faces, start)
    generator = generator_of(seed)
    steps = math.ceil(t_max / dt - 1e-9)
    watch = Watch(start, t_max)
    everyone = torch.arange(len(start), device=start.device)
    parts = torch.split(everyone, chunk_of(chunk, room(process, start)))
    with torch.no_grad():
        for part, who in enumerate(parts):
            run = _Run(Euler(process, start, generator), faces, t_max / steps, bridge)
            x, h = start[who], faces.heights(start[who])
            for step in range(steps):
                x, h, who = run.step(step, x, h, who, watch)
                if not len(who):
                    break
                if progress and (step + 1) % 100 == 0:
                    progress(part * steps + step + 1, len(parts) * steps)
            watch.places[who] = x
            if len(who):
                watch.diverge(who[~run.euler.is_sound(x)], t_max)
    if progress:
        progress(len(parts) * steps, len(parts) * steps)
    return watch.result()


class Watch:
    """What is known of each path: when and where it left, or that it diverged.

    Args:
        start: Where the paths start.
        t_max: How long they are watched.
    """

    def __init__(self, start: Points, t_max: float) -> None:
        count, device = len(start), start.device
        self.times = torch.full((count,), t_max, dtype=torch.float64, device=device)
        self.exited = torch.zeros(count, dtype=torch.bool, device=device)
        self.places = start.clone()
        self.num_diverged, self.t_max = 0, t_max

    def leave(self, who: Tensor, times: Tensor | float, places: Points) -> None:
        """Note that paths left."""
        self.times[who] = times.double() if isinstance(times, Tensor) else times
        self.exited[who] = True
        self.places[who] = places

    def diverge(self, who: Tensor, time: float) -> None:
        """Note that paths ceased to be finite, or are where no step is."""
        self.times[who] = time
        self.num_diverged += len(who)

    def result(self) -> FirstExits:
        """Return what is known at the end."""
        return FirstExits(
            self.times.cpu().numpy(),
            self.exited.cpu().numpy(),
            self.places.cpu().numpy().astype(np.float64),
            self.t_max,
            self.num_diverged,
        )


@dataclass(frozen=True)
class _Run:
    euler: Euler
    faces: Faces
    dt: float
    bridge: bool

    def step(
        self, number: int, x: Points, h: Tensor, who: Tensor, watch: Watch
    ) -> tuple[Points, Tensor, Tensor]:
        """Move the paths inside by one step; return those that stay, their heights and names."""
        new = x + self.euler.move(x, self.dt)
        after = self.faces.heights(new)
        lost = ~(torch.isfinite(new).all(1) & torch.isfinite(after).all(1))
        if self.bridge:
            spread = self._spread(x)
            chance = crossing_probability(h, after, spread, self.dt)
            draws = torch.rand(
                chance.shape,
                generator=self.euler.generator,
                dtype=x.dtype,
                device=self.euler.generator.device,
            )
            crossed = draws.to(x.device) < chance
        else:
            spread, crossed = torch.zeros_like(h), after <= 0
        left = crossed.any(1) & ~lost
        gone = left | lost
        if not bool(gone.any()):
            return new, after, who
        if bool(lost.any()):
            watch.diverge(who[lost], (number + 1) * self.dt)
        if bool(left.any()):
            share, places = self._exits(
                x[left], new[left], h[left], after[left], spread[left], crossed[left]
            )
            watch.leave(who[left], (number + share) * self.dt, places)
        return new[~gone], after[~gone], who[~gone]

    def _spread(self, x: Points) -> Tensor:
        """Return the diffusion across each face; planes in constant noise need one point."""
        if self.faces.is_plane and self.euler.factor is not None:
            return self.euler.spread(self.faces.slopes(x[:1])).expand(len(x), -1)
        return self.euler.spread(self.faces.slopes(x))

    def _exits(
        self, x: Points, new: Points, h: Tensor, after: Tensor, spread: Tensor, crossed: Tensor
    ) -> tuple[Tensor, Points]:
        """Return at which share of the step each path left, and where."""
        generator = self.euler.generator
        if not self.bridge:
            return torch.ones(len(x), dtype=x.dtype, device=x.device), new
        xi = normal(h.shape, generator, h)
        uniform = torch.rand(
            h.shape, generator=generator, dtype=h.dtype, device=generator.device
        ).to(h.device)
        shares = crossing_share(h, after, spread, self.dt, xi, uniform)
        share, face = shares.masked_fill(~crossed, math.inf).min(1)
        places = x + share.unsqueeze(1) * (new - x)
        rows = torch.arange(len(x), device=x.device)
        slope = self.faces.slopes(places)[rows, face]
        height = self.faces.heights(places)[rows, face]
        tiny = torch.finfo(x.dtype).tiny
        onto = height / slope.square().sum(1).clamp(min=tiny)
        return share, places - onto.unsqueeze(1) * slope


def check_inside(faces: Faces, start: Points) -> None:
    """Refuse starts outside a region.

    Raises:
        ValueError: If one is not inside.
    """
    heights = faces.heights(start).min(1).values
    if not bool((heights > 0).all()):
        worst = int(heights.nan_to_num(nan=-math.inf).argmin())
        raise ValueError(
            f"x0 must be inside the region, where its function is positive, got "
            f"{float(heights[worst])} at {start[worst].tolist()}"
        )
