"""Floor 4: matched comparisons of optimizers: spec, run, store, statistics, verdict."""

from heatgrad.study.metric import METRICS, Metric
from heatgrad.study.presets import PRESETS
from heatgrad.study.reading import read_runs
from heatgrad.study.record import Recording, is_recorded, record
from heatgrad.study.results import Results
from heatgrad.study.run import load_study, run_study
from heatgrad.study.spec import StudySpec
from heatgrad.study.statistics import (
    PairedComparison,
    compare_paired,
    equivalence_p,
    sign_flip_interval,
    sign_flip_p,
)
from heatgrad.study.store import Record, Store
from heatgrad.study.table import compare_table
from heatgrad.study.verdict import Question, Verdict, judge, judge_all

__all__ = [
    "METRICS",
    "PRESETS",
    "Metric",
    "PairedComparison",
    "Question",
    "Record",
    "Recording",
    "Results",
    "Store",
    "StudySpec",
    "Verdict",
    "compare_paired",
    "compare_table",
    "equivalence_p",
    "is_recorded",
    "judge",
    "judge_all",
    "load_study",
    "read_runs",
    "record",
    "run_study",
    "sign_flip_interval",
    "sign_flip_p",
]
