"""Print the tables of this study's README from the stored measurements alone."""

from pathlib import Path

from heatgrad.study import Results, Verdict
from heatgrad.study.wording import show_value

HERE = Path(__file__).resolve().parent
STUDIES = ("spiral", "fragments")


def difference(verdict: Verdict | None) -> str:
    """Return the paired difference with its interval, more being more, and the verdict."""
    if verdict is None or verdict.comparison is None:
        return " | baseline"
    c, metric = verdict.comparison, verdict.question.metric
    mean, low, high = (show_value(v, metric, signed=True) for v in (-c.mean, -c.high, -c.low))
    return f"{mean} ({low} to {high}) | {verdict.word}"


def print_measure(results: Results, name: str, task: str, regime: str) -> None:
    """Print one measurement of all arms."""
    metric = results.study.geometry[name].metric
    verdicts = {
        v.question.arm: v
        for v in results.geometry.verdicts(name)
        if (v.question.task, v.question.regime) == (task, regime)
    }
    print(f"\n### {name}, {task}, {regime}\n")
    print("| arm | mean | minus SGD (95 % interval) | verdict |\n|---|---|---|---|")
    for arm in results.study.arms:
        values = list(results.geometry.values(name, task, arm, regime).values())
        mean = show_value(sum(values) / len(values), metric)
        print(f"| {arm} | {mean} | {difference(verdicts.get(arm))} |")


def main() -> None:
    """Print Markdown, study by study."""
    for study in STUDIES:
        results = Results.load(HERE.parent / study)
        for name, spec in results.study.geometry.items():
            for regime in results.study.regimes:
                for task in results.study.tasks:
                    if spec.is_compared and results.geometry.found(name, task, "SGD", regime):
                        print_measure(results, name, task, regime)


if __name__ == "__main__":
    main()
