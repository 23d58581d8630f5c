"""What a verdict is asked about."""

from dataclasses import dataclass

from heatgrad.study.metric import Metric

__all__ = ["ALPHA", "AS_PUBLISHED", "EACH_TUNED", "MIN_BLOCKS", "Question"]

MIN_BLOCKS = 8
ALPHA = 0.05
AS_PUBLISHED, EACH_TUNED = "as published", "each tuned"  # regimes


@dataclass(frozen=True)
class Question:
    """What a verdict is asked about: one arm against its baseline on one task.

    All values are those of the primary metric, one per block, the blocks in the same order;
    a diverged run stands at the metric's worst value.

    Attributes:
        task: Name of the task.
        arm: Name of the arm.
        baseline: Name of the baseline.
        role: `"confirmatory"`, `"control"` or `"exploratory"`.
        metric: What the values are.
        margin: Smallest difference that matters [metric].
        values: The arm's.
        baseline_values: The baseline's.
        controls: The values of each of the arm's controls, by name.
        needs_control: Whether the arm claims a mechanism that only a control can show.
        ceiling: Best possible value in each block, or None.
        diverged: Number of the arm's runs that diverged.
        chance: What guessing gives in each block, or None.
        max_diverged: Largest share of diverged runs, of the arm or its baseline, that leaves a
            comparison valid [1].
        search_boundary: Tuned options, of the arm, its baseline or a control, whose best value
            lies at the end of its range, in words.
        aa_failed: Whether two arms with the same options gave different results on this task.
        regime: How options were chosen: `"as published"`, or another name.
        budget: K, the number of settings tried for each arm; 1 where nothing was tuned; None
            where that is not known.
        fixed: Options that were set and not tuned, in words.
        tuned: Options that were tuned, with the values chosen for the arm, in words.
        family_size: Number of comparisons in the confirmatory family of the regime.
    """

    task: str
    arm: str
    baseline: str
    role: str
    metric: Metric
    margin: float
    values: tuple[float, ...]
    baseline_values: tuple[float, ...]
    controls: dict[str, tuple[float, ...]]
    needs_control: bool
    ceiling: tuple[float, ...] | None
    diverged: int
    chance: tuple[float, ...] | None = None
    max_diverged: float = 0.5
    search_boundary: tuple[str, ...] = ()
    aa_failed: bool = False
    regime: str = AS_PUBLISHED
    budget: int | None = 1
    fixed: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    family_size: int = 1

    @property
    def num_blocks(self) -> int:
        """Number of matched runs."""
        return len(self.values)

    @property
    def gains(self) -> tuple[float, ...]:
        """Arm minus baseline in each block, signed so that a gain is positive [metric]."""
        pairs = zip(self.values, self.baseline_values, strict=True)
        return tuple(self.metric.sign * (value - baseline) for value, baseline in pairs)

    @property
    def baseline_diverged(self) -> int:
        """Number of the baseline's runs that diverged."""
        return self.baseline_values.count(self.metric.worst)

    @property
    def alpha(self) -> float:
        """Level at which the claim is tested in the worst case: Holm's first step in a family."""
        return ALPHA / self.family_size if self.role == "confirmatory" else ALPHA
