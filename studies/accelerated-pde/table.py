"""Print the tables of this folder's README from the stored records alone."""

from pathlib import Path

from heatgrad.study import Results, Verdict, sign_flip_interval

HERE = Path(__file__).resolve().parent
STUDIES = ("directions", "stability", "schedule")


def reached(results: Results, task: str, arm: str) -> str:
    """Return the mean final accuracy with its interval, or how many runs diverged."""
    records = results.select(task, arm)
    diverged = sum(record.status == "diverged" for record in records)
    if diverged:
        return f"{diverged} of {len(records)} diverged"
    values = list(results.values(task, arm).values())
    low, high = sign_flip_interval(values)
    return f"{100 * sum(values) / len(values):.1f} ({100 * low:.1f} to {100 * high:.1f})"


def difference(verdict: Verdict | None) -> str:
    """Return the paired difference from the baseline with its interval, and the word."""
    if verdict is None:
        return " | baseline"
    c = verdict.comparison
    gain = "" if c is None else f"{100 * c.mean:+.2f} ({100 * c.low:+.2f} to {100 * c.high:+.2f})"
    return f"{gain} | {verdict.word}"


def show(results: Results) -> None:
    """Print one study, task by task."""
    verdicts = {(v.question.task, v.question.arm): v for v in results.verdicts()}
    for task in results.study.tasks:
        print(f"\n### {results.study.name}: {task}, n = {results.study.blocks_of(task)}\n")
        print(f"| arm | accuracy [%] | minus {results.study.baseline} [points] | |")
        print("|---|---|---|---|")
        for arm in results.study.arms:
            cells = difference(verdicts.get((task, arm)))
            print(f"| {arm} | {reached(results, task, arm)} | {cells} |")


def against_controls(results: Results) -> None:
    """Print each diffused arm less each of its controls, block by block."""
    study = results.study
    pairs = [(arm, control) for arm in study.arms for control in study.controls_of(arm)]
    pairs = [(a, c) for a, c in pairs if "diffusion" in study.arms[a].options]
    if not pairs:
        return
    print("\n| arm less its control | difference [points] |")
    print("|---|---|")
    for task in study.tasks:
        for arm, control in pairs:
            ours, theirs = (results.values(task, name) for name in (arm, control))
            if any(r.status == "diverged" for n in (arm, control) for r in results.select(task, n)):
                continue
            gains = [ours[block] - theirs[block] for block in ours]
            low, high = sign_flip_interval(gains)
            mean = 100 * sum(gains) / len(gains)
            where = f"{task}: " if len(study.tasks) > 1 else ""
            print(
                f"| {where}{arm}, less {control} | {mean:+.2f} "
                f"({100 * low:+.2f} to {100 * high:+.2f}) |"
            )


def main() -> None:
    """Print Markdown, study by study."""
    for name in STUDIES:
        if (HERE / name / "store.sqlite").exists():
            results = Results.load(HERE / name)
            show(results)
            against_controls(results)


if __name__ == "__main__":
    main()
