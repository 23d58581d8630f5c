"""How the commands show verdicts: a table, the reasons, and what they hang on."""

from collections.abc import Sequence

from rich.table import Table

from heatgrad.cli.console import text_console
from heatgrad.study.captions import conditions, show_adjusted
from heatgrad.study.question import EACH_TUNED
from heatgrad.study.results import Results
from heatgrad.study.statistics import blocks_to_detect
from heatgrad.study.verdict import Verdict
from heatgrad.study.wording import show_difference, show_p, show_value

__all__ = ["print_details", "print_task", "print_verdicts"]


def print_verdicts(results: Results) -> None:
    """Print the verdict of every arm, task by task, and what all of them hang on."""
    console, verdicts = text_console(), results.verdicts()
    for regime in results.study.regimes:
        for task in results.study.tasks:
            mine = [v for v in verdicts if v.question.task == task and v.question.regime == regime]
            print_task(mine)
    if results.num_missing:
        console.print(
            f"{results.num_missing} trials are missing; verdicts may change", style="bold"
        )


def print_task(verdicts: Sequence[Verdict]) -> None:
    """Print the verdicts on one task."""
    if not verdicts:
        return
    console, first = text_console(), verdicts[0].question
    columns = ("arm", f"vs {first.baseline}", "95 % interval", "p", "adjusted", "n", "detectable")
    title = f"{first.task}: {first.metric.label}" if first.task else first.metric.label
    title += f", {first.regime}" if first.regime == EACH_TUNED else ""
    table = Table(*columns, "verdict", title=title, title_justify="left")
    for verdict in verdicts:
        table.add_row(*_cells(verdict))
    console.print(table)
    for verdict in verdicts:
        if verdict.question.role != "control":
            tuned = [note for note in verdict.caveats if note.startswith("chosen of")]
            more = f" ({'; '.join(tuned)})" if tuned else ""
            console.print(f"  {verdict.question.arm}: {verdict.sentence}{more}")
    console.print(f"  ({conditions(verdicts)})", style="dim")


def print_details(verdict: Verdict) -> None:
    """Print every number of one verdict, the primary interval first."""
    c, q = verdict.comparison, verdict.question
    if c is None:
        return
    console, effects = text_console(), verdict.effects
    table = Table("what", "value", "note", title=f"{q.arm} vs {q.baseline}", title_justify="left")

    def interval(low: float, high: float) -> str:
        ends = [show_difference(end, q.metric, c.num_blocks, unit=False) for end in (low, high)]
        return " to ".join(ends)

    table.add_row("sign-flip interval", interval(c.low, c.high), "95 %, primary: it decides")
    table.add_row("t interval", interval(*verdict.t_interval), "95 %, secondary: normal")
    bca = "95 %, secondary: bootstrap, covers less for few runs"
    table.add_row("BCa interval", interval(*verdict.bca_interval), bca)
    centre = show_difference(effects.hodges_lehmann, q.metric, c.num_blocks)
    table.add_row("Hodges-Lehmann", centre, "robust centre of the differences")
    table.add_row("p of no difference", show_p(c.p), "exact sign-flip test")
    table.add_row("p of equivalence", show_p(c.equivalence_p), "two one-sided tests, unadjusted")
    table.add_row("d_z", f"{effects.d_z:.2f}", "mean over sd of the differences")
    share = f"{effects.prob_better:.2f} ({effects.prob_better_low:.2f} to "
    share += f"{effects.prob_better_high:.2f})"
    table.add_row("P(better)", share, "95 % Jeffreys interval; ties count half")
    gain = f"of the arms; unpaired, {effects.pairing_factor:.3g} times the runs were needed"
    table.add_row("correlation", f"{effects.correlation:.3f}", gain)
    if verdict.detectable is not None:
        size = show_value(verdict.detectable, q.metric, signed=True).lstrip("+")
        table.add_row("detectable", size, f"difference that {c.num_blocks} runs find, power 0.8")
        count = blocks_to_detect(c.mean, c.sd, alpha=q.alpha)
        shown = "more than 10,000" if count is None else f"{count:,}"
        table.add_row("n for this mean", shown, "to tell such a mean from 0, power 0.8")
    if verdict.needed is not None:
        table.add_row("n needed", f"{verdict.needed:,}", "to settle the question, power 0.8")
    console.print(table)


def _cells(verdict: Verdict) -> tuple[str, ...]:
    question, comparison = verdict.question, verdict.comparison
    metric, n = question.metric, question.num_blocks
    name = question.arm + (f" ({question.role})" if question.role != "confirmatory" else "")
    ends = verdict.spread if comparison is None else (comparison.low, comparison.high)
    interval = " to ".join(show_difference(end, metric, n, unit=False) for end in ends)
    if comparison is None:
        return name, f"{interval} (range)", "-", "-", "-", str(n), "-", verdict.word
    mean = show_difference(comparison.mean, metric, n)
    size = "-" if verdict.detectable is None else show_value(verdict.detectable, metric, unit=False)
    p = show_p(comparison.p)
    return name, mean, interval, p, show_adjusted(verdict), str(n), size, verdict.word
