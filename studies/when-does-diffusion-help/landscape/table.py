"""Print the tables of this study's README from the stored measurements alone."""

from pathlib import Path

from heatgrad.study import Results, Verdict
from heatgrad.study.wording import show_value

HERE = Path(__file__).resolve().parent
STUDIES = ("spiral", "fragments")
MEASURES = ("path to SGD", "curve to SGD", "raw sharpness", "sharpness", "curvature")
LEADS = ("HELPS", "HURTS", "TRIVIAL", "HELPS-NOT-BECAUSE")  # words that q values qualify


def difference(verdict: Verdict | None) -> str:
    """Return the paired difference with its interval, more being more, and the verdict."""
    if verdict is None or verdict.comparison is None:
        return ""
    c, metric = verdict.comparison, verdict.question.metric
    mean, low, high = (show_value(v, metric, signed=True) for v in (-c.mean, -c.high, -c.low))
    doubt = "?" if verdict.q is not None and verdict.q > 0.05 and verdict.word in LEADS else ""
    return f"; {mean} ({low} to {high}) {verdict.word}{doubt}"


def column(results: Results, name: str, regime: str) -> dict[str, str]:
    """Return the cell of each arm: mean over blocks, difference from SGD, verdict."""
    (task,) = results.study.tasks
    metric = results.study.geometry[name].metric
    verdicts = {
        v.question.arm: v for v in results.geometry.verdicts(name) if v.question.regime == regime
    }
    cells = {}
    for arm in results.study.arms:
        values = list(results.geometry.values(name, task, arm, regime).values())
        mean = show_value(sum(values) / len(values), metric)
        cells[arm] = mean + difference(verdicts.get(arm))
    return cells


def main() -> None:
    """Print Markdown, measure by measure."""
    found = {name: Results.load(HERE.parent / name) for name in STUDIES}
    for name in MEASURES:
        places = [(study, regime) for study, r in found.items() for regime in r.study.regimes]
        columns = [column(found[study], name, regime) for study, regime in places]
        margin = found["spiral"].study.geometry[name].margin
        print(f"\n### {name} (margin {margin:g})\n")
        print("| arm |", " | ".join(f"{study}, {regime}" for study, regime in places), "|")
        print("|---" * (len(places) + 1) + "|")
        for arm in columns[0]:
            print(f"| {arm} |", " | ".join(cells[arm] for cells in columns), "|")


if __name__ == "__main__":
    main()
