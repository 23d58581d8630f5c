"""Verdicts over two dials of a task: when does an arm help?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from heatgrad.study.spec import StudySpec
from heatgrad.study.statistics import Boundary, fit_boundary
from heatgrad.study.verdict import Verdict

__all__ = ["PhaseMap", "boundary_of", "phase_maps", "varied_dials"]


@dataclass(frozen=True)
class PhaseMap:
    """The verdicts on one arm over a grid of two dials.

    Attributes:
        sweep: The task that was swept.
        arm: Name of the arm.
        regime: How options were chosen.
        dials: Names of the two dials, across and up.
        cells: The verdict at each pair of values; a cell without runs is missing.
        at: The values of the other dials that were varied, by name.
    """

    sweep: str
    arm: str
    regime: str
    dials: tuple[str, str]
    cells: dict[tuple[float, float], Verdict]
    at: dict[str, float] = field(default_factory=dict)

    @property
    def axes(self) -> tuple[list[float], list[float]]:
        """The values of both dials, ascending."""
        across, up = (sorted({place[axis] for place in self.cells}) for axis in (0, 1))
        return across, up


def phase_maps(study: StudySpec, verdicts: Sequence[Verdict]) -> list[PhaseMap]:
    """Return a map for each arm and regime of each task that was swept over at least two dials.

    A dial is one that takes at least two values. The first two are the axes, and there is a map
    for each setting of the others.

    Args:
        study: The study.
        verdicts: Its verdicts.
    """
    maps: dict[tuple[object, ...], PhaseMap] = {}
    varied = {
        sweep: varied_dials(study, sweep)
        for sweep in dict.fromkeys(task.sweep_of for task in study.tasks.values())
        if sweep
    }
    for verdict in verdicts:
        question = verdict.question
        task = study.tasks[question.task]
        dials = varied.get(task.sweep_of, [])
        if len(dials) < 2:
            continue
        x, y, *others = dials
        at = {dial: task.dials[dial] for dial in others}
        whose = task.sweep_of, question.arm, question.regime
        found = maps.setdefault((*whose, *at.values()), PhaseMap(*whose, (x, y), {}, at))
        found.cells[task.dials[x], task.dials[y]] = verdict
    return list(maps.values())


def boundary_of(found: PhaseMap) -> Boundary | None:
    """Return where on a map even odds lie that a run gains more than the margin, Eq. (S.18).

    The dials are counted as the map draws them: 0, 1, 2 for the first three values of each.

    Args:
        found: A map.

    Returns:
        None where nothing can be fitted: fewer than five cells, a dial of one value.
    """
    across, up = found.axes
    questions = {place: verdict.question for place, verdict in found.cells.items()}
    dials = np.array([(across.index(x), up.index(y)) for x, y in questions], dtype=np.float64)
    gains = np.full((len(questions), max(q.num_blocks for q in questions.values())), np.nan)
    for row, question in zip(gains, questions.values(), strict=True):
        row[: question.num_blocks] = question.gains
    first = next(iter(questions.values()))
    try:
        return fit_boundary(dials, gains, margin=first.margin, resolution=first.metric.resolution)
    except ValueError:
        return None


def varied_dials(study: StudySpec, sweep: str) -> list[str]:
    """Return the dials of a swept task that take at least two values.

    Args:
        study: The study.
        sweep: Name of the task's entry in the file.
    """
    cells = [task.dials for task in study.tasks.values() if task.sweep_of == sweep]
    return [dial for dial in cells[0] if len({cell[dial] for cell in cells}) > 1]
