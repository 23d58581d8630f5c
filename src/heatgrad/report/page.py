"""One self-contained HTML page from the results of a study."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heatgrad.core.errors import StoreError
from heatgrad.report.geometry import geometry_blocks
from heatgrad.report.matrix import verdict_matrices
from heatgrad.report.panels import Part
from heatgrad.report.pictures import noise_pictures
from heatgrad.report.rows import regimes_of
from heatgrad.report.sections import summary, task_sections
from heatgrad.report.when import when
from heatgrad.report.writing import write_page
from heatgrad.study import METRICS, Results
from heatgrad.study.verdict import show_value

__all__ = ["write_report"]

# What each verdict means, for the page's key.
KEY = {
    "INVALID": "too many runs diverged, equal arms differ, or the search hit the end of a range",
    "FLOOR": "the arm and the baseline are both at chance",
    "HELPS": "beats the baseline, and every control, by more than the margin",
    "HELPS-NOT-BECAUSE": "beats the baseline, but a control does as well: not the smoothing",
    "HURTS": "falls behind the baseline by more than the margin",
    "CEILING": "the baseline is already within the margin of the best that is possible",
    "TRIVIAL": "differs from the baseline, but by less than the margin",
    "EQUIVALENT": "any difference is shown to be smaller than the margin",
    "INCONCLUSIVE": "these runs do not settle it",
    "NO VERDICT": "fewer than 8 matched runs",
}

CONTROLS = (
    "LRMatchedSGD",
    "LayoutDiffusionSGD",
    "NormMatchedPlaceboSGD",
    "NormMatchedSGD",
    "PlaceboDiffusionSGD",
)


def write_report(results: Results, path: str | Path, *, parts: Sequence[Part] = ()) -> None:
    """Write the page of a study: verdicts first, then figures, data, spec and hardware.

    The file holds everything it shows and asks nothing of a network. An older page at the same
    place is replaced; any other file is left alone.

    Args:
        results: From `run_study` or `Results.load`.
        path: The HTML file to write.
        parts: Further parts with figures, shown after the effects and the reasons.

    Raises:
        StoreError: If there is no record yet, the place is taken by another file, or it cannot
            be written.
    """
    if not results.records:
        raise StoreError(
            f"study '{results.study.name}' has no finished trial to report; "
            f"run it with 'heatgrad study run'"
        )
    study, verdicts = results.study, results.verdicts()
    everything = (*results.records, *results.tuning_records)
    metric = METRICS[study.metric]
    sections, landscape = task_sections(results, verdicts), geometry_blocks(results)
    has_reliefs = any(block.reliefs for block in landscape)
    write_page(
        path,
        "page.html",
        scripts=("page.js", *(["relief.js"] if has_reliefs else [])),
        title=study.title or study.name,
        study=study,
        summary=summary(results, verdicts),
        matrices=verdict_matrices(study, verdicts, {s.name: s.anchor for s in sections}),
        regimes=regimes_of(verdicts),
        sections=sections,
        has_costs=any(block.costs for section in sections for block in section.blocks),
        has_curves=any(block.curves for section in sections for block in section.blocks),
        is_whole=results.is_whole,
        has_runs=not all(section.is_cell for section in sections),
        controls=CONTROLS,
        has_paths=any(block.paths for section in sections for block in section.blocks),
        has_why=any(block.why for section in sections for block in section.blocks),
        landscape=landscape,
        num_unmeasured=results.geometry.num_missing,
        parts=parts,
        noise=noise_pictures(results),
        when=when(results, verdicts),
        num_stored=results.num_planned - results.num_missing,
        num_planned=results.num_planned,
        num_diverged=sum(r.status == "diverged" for r in everything),
        metric=metric.label,
        margin=show_value(study.margin, metric, signed=True).lstrip("+"),
        unit="points" if metric.percent else "",
        key=KEY,
        spec=json.dumps(_resolved(results), indent=2, ensure_ascii=False),
        environments=_environments(results),
        hours=sum(r.seconds for r in everything) / 3600,
    )


def _resolved(results: Results) -> dict[str, Any]:
    """Return the study's spec with the options of its parts as they stand in the records."""
    spec = results.study.model_dump(mode="json")
    for record in results.records:
        task, arm = spec["tasks"][record.task], spec["arms"][record.arm]
        task["options"] = record.spec["task"]["options"]
        task["model"] = record.spec["model"]
        spec["schedule"] = record.spec["schedule"]
        # The rate is the task's where the arm has none of its own.
        options = dict(record.spec["optimizer"]["options"])
        if "lr" not in results.study.arms[record.arm].options:
            options.pop("lr", None)
        arm["options"] = options
    return spec


def _environments(results: Results) -> list[dict[str, str]]:
    """Return the distinct machines and versions of the records, with their number of trials."""
    counts: dict[str, int] = {}
    for record in results.records:
        text = json.dumps(record.environment, sort_keys=True)
        counts[text] = counts.get(text, 0) + 1
    return [{**json.loads(text), "trials": str(count)} for text, count in counts.items()]
