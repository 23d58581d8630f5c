"""Print the tables of this study's README from the stored records alone."""

from pathlib import Path

from heatgrad.study import Results, Verdict, noise_areas, parts_of, sign_flip_interval
from heatgrad.study.question import MIN_BLOCKS

HERE = Path(__file__).resolve().parent
STUDIES = ("spiral", "fragments", "mnist", "noise-spiral", "noise-fragments")

# The accuracies that the paper gives, by task and arm; those of diffusion whatever its strength.
_PLAIN = dict.fromkeys(["SGD", "diffusion"], "55 to 60")
PAPER = {
    "spiral": _PLAIN | {"SGD momentum": "88.3", "Adam": "91.35"},
    "fragmented manifold": dict.fromkeys(
        ["SGD", "SGD momentum", "Adam", "diffusion"], "about 70.4"
    ),
    "MNIST, MediumMLP": dict.fromkeys(["SGD", "diffusion"], "about 96.3")
    | {"SGD momentum": "98.36", "Adam": "98.61"},
    "MNIST, SimpleCNN": dict.fromkeys(["SGD", "SGD momentum", "Adam", "diffusion"], "above 98.7"),
}


def spread(values: list[float]) -> str:
    """Return the 95 % interval of the centre, or the range of fewer than 8 runs."""
    if len(values) < MIN_BLOCKS:
        return f"{100 * min(values):.2f} to {100 * max(values):.2f}, range"
    low, high = sign_flip_interval(values)
    return f"{100 * low:.2f} to {100 * high:.2f}"


def against_baseline(verdict: Verdict | None) -> str:
    """Return the paired difference with its interval, and the verdict."""
    if verdict is None:
        return " | baseline"
    c = verdict.comparison
    if c is None:
        low, high = verdict.spread
        return f"{100 * low:+.2f} to {100 * high:+.2f}, range | {verdict.word}"
    return f"{100 * c.mean:+.2f} ({100 * c.low:+.2f} to {100 * c.high:+.2f}) | {verdict.word}"


def options(results: Results, task: str, arm: str, regime: str) -> str:
    """Return the learning rate of an arm, to three digits."""
    record = results.select(task, arm, regime)[0]
    return f"{record.spec['optimizer']['options']['lr']:.3g}"


def print_task(results: Results, task: str, regime: str) -> None:
    """Print the accuracies, differences and verdicts of one task in one regime."""
    verdicts = {
        v.question.arm: v
        for v in results.verdicts()
        if (v.question.task, v.question.regime) == (task, regime)
    }
    paper = PAPER.get(task, {}) if regime == "as published" else {}
    print(f"\n### {task}, {regime}\n")
    names = ["arm", "lr", *(["paper"] if paper else []), "mean (95 % interval)"]
    names += ["minus SGD (95 % interval)", "verdict"]
    print("|", " | ".join(names), "|\n" + "|---" * len(names) + "|")
    for arm in results.study.arms:
        values = list(results.values(task, arm, regime=regime).values())
        mean = sum(values) / len(values)
        cells = [arm, options(results, task, arm, regime)]
        kind = "diffusion" if arm.startswith("diffusion ") else arm
        cells += [paper.get(kind, "")] if paper else []
        cells += [f"{100 * mean:.2f} ({spread(values)})"]
        cells += [against_baseline(verdicts.get(arm))]
        print("|", " | ".join(cells), "|")


def print_noise(results: Results) -> None:
    """Print the differences from the baseline at every rate, and of the area under the curve."""
    tasks = results.study.tasks
    rates = [task.dials["label_noise"] for task in tasks.values()]
    for regime in results.study.regimes:
        verdicts = {
            (v.question.arm, v.question.task): v
            for v in results.verdicts()
            if v.question.regime == regime
        }
        areas = {a.arm: a for a in noise_areas(results) if a.regime == regime}
        print(f"\n### {results.study.name}, {regime}\n")
        print("| arm |", " | ".join(f"noise {rate:g}" for rate in rates), "| area |")
        print("|---" * (len(rates) + 2) + "|")
        for arm in results.study.arms:
            found = [verdicts.get((arm, task)) for task in tasks]
            cells = [
                f"{v.word} {100 * v.comparison.mean:+.2f}" if v and v.comparison else ""
                for v in found
            ]
            if arm == results.study.baseline:
                means = [list(results.values(task, arm, regime=regime).values()) for task in tasks]
                cells = [f"{100 * sum(m) / len(m):.2f}" for m in means]
            c = areas[arm].comparison
            area = f"{100 * sum(areas[arm].areas) / len(areas[arm].areas):.2f}"
            if c is not None:
                area = f"{100 * c.mean:+.2f} ({100 * c.low:+.2f} to {100 * c.high:+.2f})"
            print("|", " | ".join([arm, *cells, area]), "|")


def print_parts(results: Results) -> None:
    """Print how much of the variance is due to what, regime by regime."""
    for parts in parts_of(results):
        print(f"\nParts of the variance, {parts.regime} [%]:")
        for name, share in parts.shares.items():
            ends = f"{100 * share.low:.1f} to {100 * share.high:.1f}"
            print(f"{name} {100 * share.share:.1f} ({ends})")


def main() -> None:
    """Print Markdown, study by study."""
    for name in STUDIES:
        if not (HERE / name / "store.sqlite").exists():
            continue
        results = Results.load(HERE / name)
        print(f"\n## {name}: n = {results.study.seeds}")
        if any("label_noise" in task.dials for task in results.study.tasks.values()):
            print_noise(results)
            print_parts(results)
            continue
        for task in results.study.tasks:
            ceilings = [
                r.ceiling["test_accuracy"] for r in results.records if r.task == task and r.ceiling
            ]
            if ceilings:
                low, high = 100 * min(ceilings), 100 * max(ceilings)
                print(f"\nBayes-optimal accuracy over the blocks: {low:.2f} to {high:.2f}.")
            for regime in results.study.regimes:
                print_task(results, task, regime)


if __name__ == "__main__":
    main()
