"""Print the maps of this study's README, and how much is due to what, from the stored records."""

from pathlib import Path

from heatgrad.study import Results, Verdict, noise_areas, parts_of, phase_maps
from heatgrad.study.question import ALPHA

HERE = Path(__file__).resolve().parent


def cell(verdict: Verdict) -> str:
    """Return word and mean difference; a lead with a q value above 0.05 is marked: no finding."""
    is_lead = verdict.word in ("HELPS", "HURTS", "TRIVIAL", "HELPS-NOT-BECAUSE")
    doubt = "?" if is_lead and verdict.q is not None and verdict.q > ALPHA else ""
    return f"{verdict.word}{doubt} {100 * verdict.comparison.mean:+.2f}"


def main() -> None:
    """Print Markdown."""
    for folder in (HERE / "map-spiral", HERE / "map-fragments"):
        results = Results.load(folder)
        verdicts = results.verdicts()
        for found in phase_maps(results.study, verdicts):
            across, up = found.axes
            print(f"\n### {found.arm}: {found.dials[1]} down, {found.dials[0]} across\n")
            print("| |", " | ".join(f"{x:g}" for x in across), "|")
            print("|---" * (len(across) + 1) + "|")
            for y in reversed(up):
                row = (found.cells[x, y] for x in across)
                print(f"| {y:g} |", " | ".join(cell(v) for v in row if v.comparison), "|")
        for parts in parts_of(results):
            print(f"\n### Parts of the variance: {parts.title}\n")
            print("| part | share [%] | 95 % interval |\n|---|---|---|")
            for name, share in parts.shares.items():
                low, high = 100 * share.low, 100 * share.high
                print(f"| {name} | {100 * share.share:.1f} | {low:.1f} to {high:.1f} |")
        for area in noise_areas(results):
            c, mean = area.comparison, sum(area.areas) / len(area.areas)
            lead = "" if c is None else f", {100 * c.mean:+.2f} ({100 * c.low:+.2f} to "
            lead += "" if c is None else f"{100 * c.high:+.2f})"
            print(f"\n{area.sweep}, {area.arm}: area {100 * mean:.2f}{lead}")


if __name__ == "__main__":
    main()
