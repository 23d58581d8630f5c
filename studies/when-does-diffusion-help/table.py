"""Print the tables of this study's README from the stored records alone."""

from pathlib import Path

from heatgrad.study import Results, Verdict, sign_flip_interval
from heatgrad.study.verdict import MIN_BLOCKS

HERE = Path(__file__).resolve().parent

# The accuracies that the paper gives, by task and arm.
PAPER = {
    "spiral": {
        "SGD": "55 to 60",
        "SGD momentum": "88.3",
        "Adam": "91.35",
        "diffusion 0.01": "55 to 60",
        "diffusion 0.05": "55 to 60",
        "diffusion 0.1": "55 to 60",
    },
    "fragmented manifold": dict.fromkeys(
        ["SGD", "SGD momentum", "Adam", "diffusion 0.01", "diffusion 0.05", "diffusion 0.1"],
        "about 70.4",
    ),
    "MNIST, MediumMLP": {
        "SGD": "about 96.3",
        "SGD momentum": "98.36",
        "Adam": "98.61",
        "diffusion 0.01": "about 96.3",
        "diffusion 0.05": "about 96.3",
    },
    "MNIST, SimpleCNN": dict.fromkeys(
        ["SGD", "SGD momentum", "Adam", "diffusion 0.01", "diffusion 0.05"], "above 98.7"
    ),
}


def spread(values: list[float]) -> str:
    """Return the 95 % interval of the centre, or the range of fewer than 8 runs."""
    if len(values) >= MIN_BLOCKS:
        low, high = sign_flip_interval(values)
        return f"{100 * low:.2f} to {100 * high:.2f}"
    return f"{100 * min(values):.2f} to {100 * max(values):.2f} (range)"


def against_baseline(verdict: Verdict | None) -> tuple[str, str]:
    """Return the paired difference with its interval, and the verdict."""
    if verdict is None:
        return "", "baseline"
    if verdict.comparison is None:
        low, high = verdict.spread
        return f"{100 * low:+.2f} to {100 * high:+.2f} (range)", verdict.word
    c = verdict.comparison
    return f"{100 * c.mean:+.2f} ({100 * c.low:+.2f} to {100 * c.high:+.2f})", verdict.word


def main() -> None:
    """Print one Markdown table per task."""
    for folder in sorted(path.parent for path in HERE.glob("*/store.sqlite")):
        results = Results.load(folder)
        verdicts = {(v.question.task, v.question.arm): v for v in results.verdicts()}
        for task in results.study.tasks:
            ceilings = [r.ceiling for r in results.records if r.task == task and r.ceiling]
            print(f"\n### {task}\n")
            if ceilings:
                noisy = sorted(100 * c["test_accuracy"] for c in ceilings)
                print(
                    f"Bayes-optimal accuracy over the blocks: {noisy[0]:.2f} to {noisy[-1]:.2f}.\n"
                )
            print(
                "| arm | paper | mean | 95 % interval | n | minus SGD (95 % interval) | verdict |"
            )
            print("|---|---|---|---|---|---|---|")
            for arm in results.study.arms:
                values = list(results.values(task, arm, "test_accuracy").values())
                if not values:
                    continue
                difference, word = against_baseline(verdicts.get((task, arm)))
                mean = 100 * sum(values) / len(values)
                print(
                    f"| {arm} | {PAPER.get(task, {}).get(arm, '')} | {mean:.2f} | "
                    f"{spread(values)} | {len(values)} | {difference} | {word} |"
                )


if __name__ == "__main__":
    main()
