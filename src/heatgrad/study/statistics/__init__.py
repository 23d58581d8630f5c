"""Paired statistics: tests, intervals, effect sizes, multiplicity, power.

Differences are paired by block. Under the null hypothesis that their distribution is symmetric
about theta, every sign pattern of `d - theta` is equally likely; the sign-flip test, from which
every verdict follows, assumes nothing else.
"""

from heatgrad.study.statistics.area import area_under_curve
from heatgrad.study.statistics.boundary import Boundary, Prediction, fit_boundary
from heatgrad.study.statistics.effects import (
    EffectSizes,
    effect_sizes,
    hodges_lehmann,
    jeffreys_interval,
    pairing_factor,
    probability_better,
    standardized_mean,
)
from heatgrad.study.statistics.intervals import bca_interval, t_interval
from heatgrad.study.statistics.multiplicity import (
    benjamini_hochberg,
    blocks_for_family,
    holm,
    largest_family,
)
from heatgrad.study.statistics.paired import PairedComparison, compare_paired
from heatgrad.study.statistics.power import (
    attainable_level,
    blocks_to_detect,
    blocks_to_settle,
    detectable_difference,
    sign_flip_power,
)
from heatgrad.study.statistics.shares import Share
from heatgrad.study.statistics.signflip import (
    EXACT_UP_TO,
    beyond_p,
    equivalence_p,
    sign_flip_interval,
    sign_flip_p,
    smallest_p,
)
from heatgrad.study.statistics.smoothness import path_over_chord, total_variation
from heatgrad.study.statistics.variance import (
    DialShares,
    VarianceShares,
    split_by_dials,
    variance_shares,
)

__all__ = [
    "EXACT_UP_TO",
    "Boundary",
    "DialShares",
    "EffectSizes",
    "PairedComparison",
    "Prediction",
    "Share",
    "VarianceShares",
    "area_under_curve",
    "attainable_level",
    "bca_interval",
    "benjamini_hochberg",
    "beyond_p",
    "blocks_for_family",
    "blocks_to_detect",
    "blocks_to_settle",
    "compare_paired",
    "detectable_difference",
    "effect_sizes",
    "equivalence_p",
    "fit_boundary",
    "hodges_lehmann",
    "holm",
    "jeffreys_interval",
    "largest_family",
    "pairing_factor",
    "path_over_chord",
    "probability_better",
    "sign_flip_interval",
    "sign_flip_p",
    "sign_flip_power",
    "smallest_p",
    "split_by_dials",
    "standardized_mean",
    "t_interval",
    "total_variation",
    "variance_shares",
]
