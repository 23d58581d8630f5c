"""Floor 4: matched comparisons of optimizers: spec, run, store, statistics, verdict."""

from heatgrad.study.areas import NoiseArea, noise_areas
from heatgrad.study.maps import PhaseMap, phase_maps
from heatgrad.study.metric import METRICS, Metric
from heatgrad.study.parts import Parts, parts_of
from heatgrad.study.presets import PRESETS, SMALL, TRAININGS
from heatgrad.study.reading import read_runs
from heatgrad.study.record import Recording, is_recorded, record
from heatgrad.study.results import Results
from heatgrad.study.run import load_study, run_study
from heatgrad.study.spec import StudySpec
from heatgrad.study.statistics import (
    PairedComparison,
    area_under_curve,
    compare_paired,
    equivalence_p,
    fit_boundary,
    sign_flip_interval,
    sign_flip_p,
    split_by_dials,
    variance_shares,
)
from heatgrad.study.store import Record, Store
from heatgrad.study.table import compare_table
from heatgrad.study.train_run import Trained, run_training
from heatgrad.study.train_spec import TrainSpec
from heatgrad.study.trained import TrainedModel, trained_model
from heatgrad.study.tuning import Tuning
from heatgrad.study.verdict import Question, Verdict, judge, judge_all

__all__ = [
    "METRICS",
    "PRESETS",
    "SMALL",
    "TRAININGS",
    "Metric",
    "NoiseArea",
    "PairedComparison",
    "Parts",
    "PhaseMap",
    "Question",
    "Record",
    "Recording",
    "Results",
    "Store",
    "StudySpec",
    "TrainSpec",
    "Trained",
    "TrainedModel",
    "Tuning",
    "Verdict",
    "area_under_curve",
    "compare_paired",
    "compare_table",
    "equivalence_p",
    "fit_boundary",
    "is_recorded",
    "judge",
    "judge_all",
    "load_study",
    "noise_areas",
    "parts_of",
    "phase_maps",
    "read_runs",
    "record",
    "run_study",
    "run_training",
    "sign_flip_interval",
    "sign_flip_p",
    "split_by_dials",
    "trained_model",
    "variance_shares",
]
