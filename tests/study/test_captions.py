"""What stands beside verdicts on a task."""

import numpy as np

from heatgrad.study import judge_all
from heatgrad.study.captions import conditions, show_adjusted

GAIN = 0.02 + np.linspace(-0.001, 0.001, 8)


def test_conditions_name_what_all_verdicts_hang_on(make_question):
    """Shared options once, the arms' own side by side; the family where it is one."""
    asked = [
        make_question(GAIN, arm=lr, fixed=(lr, "30 epochs"), family_size=2)
        for lr in ("lr 0.1", "lr 0.3")
    ]
    assert conditions(judge_all(asked)) == (
        "regime as published; K = 1; margin 1.00 points; a gain is positive; "
        "Holm over 2 comparisons; not tuned: lr 0.1 / lr 0.3, 30 epochs"
    )
    alone = judge_all([make_question(GAIN, budget=None, regime="as given")])
    assert conditions(alone) == "regime as given; margin 1.00 points; a gain is positive"
    tuned = judge_all([make_question(GAIN, budget=8, fixed=("30 epochs",))])
    assert "K = 8" in conditions(tuned)
    assert "not tuned: 30 epochs" in conditions(tuned)
    assert conditions([]) == ""


def test_the_adjusted_value_is_that_of_the_claim(make_question):
    """At the margin for HELPS, q for an exploratory arm, none where nothing was tested."""
    near = 0.011 + np.linspace(-0.0005, 0.0005, 8)
    (helps,) = judge_all([make_question(near, family_size=2)])
    assert (helps.word, show_adjusted(helps)) == ("HELPS", "0.016")
    (even,) = judge_all([make_question(GAIN - 0.02)])
    assert even.word == "EQUIVALENT"
    assert even.p == even.comparison.equivalence_p == 1 / 256
    (lead,) = judge_all([make_question(GAIN, role="exploratory")])
    assert show_adjusted(lead) == "q 0.0078"
    others = ({"role": "control"}, {"aa_failed": True}, {"chance": (0.9,) * 8})
    for changes in others:
        (verdict,) = judge_all([make_question(GAIN, **changes)])
        assert show_adjusted(verdict) == "-"
