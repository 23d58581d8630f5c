"""Floor 4: matched comparisons of optimizers: spec, run, store, statistics, verdict."""

from heatgrad.study.presets import PRESETS
from heatgrad.study.results import Results
from heatgrad.study.run import load_study, run_study
from heatgrad.study.spec import METRICS, StudySpec
from heatgrad.study.statistics import (
    PairedComparison,
    compare_paired,
    equivalence_p,
    sign_flip_interval,
    sign_flip_p,
)
from heatgrad.study.store import Record, Store
from heatgrad.study.verdict import Verdict, judge

__all__ = [
    "METRICS",
    "PRESETS",
    "PairedComparison",
    "Record",
    "Results",
    "Store",
    "StudySpec",
    "Verdict",
    "compare_paired",
    "equivalence_p",
    "judge",
    "load_study",
    "run_study",
    "sign_flip_interval",
    "sign_flip_p",
]
