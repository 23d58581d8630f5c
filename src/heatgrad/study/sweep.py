"""Tasks with dials: one entry of a specification becomes one task for each cell of a grid."""

from itertools import product
from typing import Any

__all__ = ["expanded"]

# As dials stand in the names of tasks.
_SHORT = {"label_noise": "noise", "num_samples": "samples", "num_clusters": "clusters"}


def expanded(tasks: dict[str, Any]) -> dict[str, Any]:
    """Return the tasks, one with a `sweep` (or a list of label-noise rates) for each of its cells.

    Args:
        tasks: Plain values by name. `sweep` holds a list of numbers for each dial: an option of
            the task, or what else a task may set, such as `batch_size`.

    Raises:
        ValueError: If a list is empty, holds something else than numbers or one of them twice, or
            two tasks would have one name.
    """
    found: dict[str, Any] = {}
    for name, task in tasks.items():
        dials = _dials(name, task)
        if not dials:
            found[name] = task
            continue
        fixed = {key: value for key, value in task.items() if key not in ("sweep", *dials)}
        for values in product(*dials.values()):
            cell = dict(zip(dials, values, strict=True))
            title = ", ".join([name, *(f"{_SHORT.get(d, d)} {v:g}" for d, v in cell.items())])
            if title in tasks or title in found:
                raise ValueError(f"tasks.{name} gives two tasks of one name, '{title}'")
            marks = {"sweep_of": name, "dials": {d: float(v) for d, v in cell.items()}}
            found[title] = fixed | cell | marks
    return found


def _dials(name: str, task: Any) -> dict[str, list[float]]:
    if not isinstance(task, dict):
        return {}
    sweep = task.get("sweep", {})
    if not isinstance(sweep, dict):
        raise ValueError(
            f"tasks.{name}.sweep must be a table of lists, such as {{ turns = [1, 2] }}, got "
            f"{sweep!r}"
        )
    dials = dict(sweep)
    rates = task.get("label_noise")
    if isinstance(rates, list):
        dials["label_noise"] = [float(r) if type(r) in (int, float) else r for r in rates]
    for dial, values in dials.items():
        where = f"tasks.{name}.{dial if dial not in sweep else f'sweep.{dial}'}"
        if not isinstance(values, list) or not all(type(v) in (int, float) for v in values):
            raise ValueError(f"{where} must hold numbers, got {values!r}")
        if not values:
            noun = "rate" if dial == "label_noise" else "value"
            raise ValueError(f"{where} must hold at least one {noun}")
        if len({f"{v:g}" for v in values}) < len(values):
            raise ValueError(f"{where} gives two tasks of one name")
        if dial in task and dial in sweep:
            raise ValueError(f"{where} is set outside the sweep too; leave one of them out")
    return dials
