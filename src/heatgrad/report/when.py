"""When an arm helps, and how much of the outcome it decides: maps, parts of the variance, areas."""

from collections.abc import Sequence
from dataclasses import dataclass

from heatgrad.report.panels import Picture
from heatgrad.report.phase import PhaseCell, phase_map
from heatgrad.report.rows import EMPTY, Cell
from heatgrad.report.style import arm_styles
from heatgrad.report.variance import variance_bars
from heatgrad.study import METRICS, Results, Verdict, noise_areas, parts_of, phase_maps
from heatgrad.study.maps import PhaseMap, boundary_of, varied_dials
from heatgrad.study.wording import listed, show_difference, show_value

__all__ = ["AreaRow", "AreaTable", "When", "is_cell", "when"]

# Dials in words.
_WORDS = {"label_noise": "label noise", "num_clusters": "clusters", "batch_size": "batch size"}


@dataclass(frozen=True)
class AreaRow:
    """The area of one arm under its accuracy-noise curve.

    Attributes:
        arm: Name of the arm.
        color: The arm's colour.
        area: Mean over the blocks.
        difference: Mean paired difference from the baseline.
        interval: Its interval.
    """

    arm: str
    color: str
    area: Cell
    difference: Cell
    interval: Cell


@dataclass(frozen=True)
class AreaTable:
    """The areas of all arms on one task.

    Attributes:
        title: The task, with its other dials and the regime.
        rates: The noise rates, in words.
        ceiling: The area under the best possible values, or empty.
        rows: One for each arm.
    """

    title: str
    rates: str
    ceiling: str
    rows: list[AreaRow]


@dataclass(frozen=True)
class When:
    """What the page says about dials.

    Attributes:
        maps: A title and a figure for each sweep over two dials and regime.
        parts: A title and a figure for each division of the variance.
        areas: The areas under the accuracy-noise curves.
    """

    maps: list[tuple[str, Picture]]
    parts: list[tuple[str, Picture]]
    areas: list[AreaTable]

    def __bool__(self) -> bool:
        return bool(self.maps or self.parts or self.areas)


def is_cell(results: Results, task: str) -> bool:
    """Whether a task is one of many cells, of which a map says what there is to say."""
    sweep = results.study.tasks[task].sweep_of
    return bool(sweep) and len(varied_dials(results.study, sweep)) > 1


def when(results: Results, verdicts: Sequence[Verdict]) -> When:
    """Return what the page says about dials; empty in a study that has none."""
    return When(_maps(results, verdicts), _parts(results), _areas(results))


def _maps(results: Results, verdicts: Sequence[Verdict]) -> list[tuple[str, Picture]]:
    study = results.study
    groups: dict[tuple[object, ...], list[PhaseMap]] = {}
    for found in phase_maps(study, verdicts):
        groups.setdefault((found.sweep, found.regime, *found.at.values()), []).append(found)
    pictures = []
    for number, maps in enumerate(groups.values()):
        x, y = maps[0].dials
        cells = {
            found.arm: {place: PhaseCell.of(verdict) for place, verdict in found.cells.items()}
            for found in maps
        }
        picture = phase_map(
            cells,
            _WORDS.get(x, x),
            _WORDS.get(y, y),
            metric=METRICS[study.metric],
            name=f"phase-{number}",
            boundaries={found.arm: b for found in maps if (b := boundary_of(found))},
        )
        at = [f"{_WORDS.get(dial, dial)} {value:g}" for dial, value in maps[0].at.items()]
        title = ", ".join([maps[0].sweep, *at])
        pictures.append((_titled(results, title, maps[0].regime), picture))
    return pictures


def _parts(results: Results) -> list[tuple[str, Picture]]:
    pictures = []
    for number, found in enumerate(parts_of(results)):
        shares = {
            _worded(name): (share.share, share.low, share.high)
            for name, share in found.shares.items()
        }
        ranks = "Ranks in place of values, since runs diverged. " if found.is_ranks else ""
        note = (
            f"{ranks}{len(found.tasks)} data set{'s' if len(found.tasks) > 1 else ''}, "
            f"{found.num_blocks} blocks of the arms {listed(found.arms)}."
        )
        title = _titled(results, found.title, found.regime)
        picture = variance_bars(
            shares, name=f"parts-{number}", title=f"Parts of the variance, {title}", note=note
        )
        pictures.append((title, picture))
    return pictures


def _areas(results: Results) -> list[AreaTable]:
    metric, styles = METRICS[results.study.metric], arm_styles(results.study)
    tables: dict[tuple[str, str], AreaTable] = {}
    for found in noise_areas(results):
        mean = sum(found.areas) / len(found.areas)
        c, n = found.comparison, len(found.areas)
        difference = interval = EMPTY
        if c is not None:
            ends = [show_difference(end, metric, n, unit=False) for end in (c.low, c.high)]
            difference = Cell(show_difference(c.mean, metric, n, unit=False), c.mean)
            interval = Cell(" to ".join(ends), c.low)
        row = AreaRow(
            arm=found.arm,
            color=styles[found.arm].color,
            area=Cell(show_value(mean, metric), mean),
            difference=difference,
            interval=interval,
        )
        rates = (
            f"noise {found.rates[0]:g} to {found.rates[-1]:g}, {len(found.rates)} rates, n = {n}"
        )
        ceiling = "" if found.ceiling is None else show_value(found.ceiling, metric)
        title = _titled(results, found.sweep, found.regime)
        place = (found.sweep, found.regime)
        tables.setdefault(place, AreaTable(title, rates, ceiling, [])).rows.append(row)
    return list(tables.values())


def _titled(results: Results, name: str, regime: str) -> str:
    return f"{name}, {regime}" if len(results.study.regimes) > 1 else name


def _worded(part: str) -> str:
    for dial, word in _WORDS.items():
        part = part.replace(dial, word)
    return part
