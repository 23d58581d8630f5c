"""Verdicts over two dials of a task: when does an arm help?"""

from collections.abc import Sequence
from dataclasses import dataclass

from heatgrad.study.spec import StudySpec
from heatgrad.study.verdict import Verdict

__all__ = ["PhaseMap", "phase_maps", "varied_dials"]


@dataclass(frozen=True)
class PhaseMap:
    """The verdicts on one arm over a grid of two dials.

    Attributes:
        sweep: The task that was swept.
        arm: Name of the arm.
        regime: How options were chosen.
        dials: Names of the two dials, across and up.
        cells: The verdict at each pair of values; a cell without runs is missing.
    """

    sweep: str
    arm: str
    regime: str
    dials: tuple[str, str]
    cells: dict[tuple[float, float], Verdict]


def phase_maps(study: StudySpec, verdicts: Sequence[Verdict]) -> list[PhaseMap]:
    """Return a map for each arm and regime of each task that was swept over two dials.

    A dial is one that takes at least two values; sweeps over one dial, or more than two, have no
    map.

    Args:
        study: The study.
        verdicts: Its verdicts.
    """
    maps: dict[tuple[str, str, str], PhaseMap] = {}
    varied = {
        sweep: varied_dials(study, sweep)
        for sweep in dict.fromkeys(task.sweep_of for task in study.tasks.values())
        if sweep
    }
    for verdict in verdicts:
        question = verdict.question
        task = study.tasks[question.task]
        dials = varied.get(task.sweep_of, [])
        if len(dials) != 2:
            continue
        place = (task.sweep_of, question.arm, question.regime)
        found = maps.setdefault(place, PhaseMap(*place, (dials[0], dials[1]), {}))
        found.cells[task.dials[dials[0]], task.dials[dials[1]]] = verdict
    return list(maps.values())


def varied_dials(study: StudySpec, sweep: str) -> list[str]:
    """Return the dials of a swept task that take at least two values.

    Args:
        study: The study.
        sweep: Name of the task's entry in the file.
    """
    cells = [task.dials for task in study.tasks.values() if task.sweep_of == sweep]
    return [dial for dial in cells[0] if len({cell[dial] for cell in cells}) > 1]
