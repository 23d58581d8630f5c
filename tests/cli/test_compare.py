"""`heatgrad compare` and `heatgrad study calibrate`, as they are typed."""

import pytest

from heatgrad.study import calibrate as calibration
from heatgrad.study import record


@pytest.fixture
def table(tmp_path):
    """Return a CSV of four arms and eight seeds: mine is 3 points better, norm 1, poor 3 worse."""
    lines = ["seed,arm,acc,val_loss"]
    for arm, gain in (("SGD", 0.0), ("mine", 0.03), ("norm", 0.001), ("poor", -0.03)):
        for seed in range(8):
            value = 0.8 + 0.01 * (seed % 3) + gain * (1 + 0.01 * seed)
            lines.append(f"{seed},{arm},{value:.6f},{1 - value:.6f}")
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines))
    return path


def test_compare_prints_verdict_sentence_and_intervals(heatgrad, table):
    options = ("--metric", "acc", "--baseline", "SGD", "--margin", 0.01)
    outcome = heatgrad("compare", table, *options, "--arm", "mine")
    assert (outcome.code, outcome.err) == (0, "")
    assert "acc (higher is better)" in outcome.out
    assert "mine: It beats SGD by 0.0310, and by more than 0.0100 in the whole" in outcome.out
    assert "95 %, primary: it decides" in outcome.out
    names = ("t interval", "BCa interval", "Hodges-Lehmann", "d_z", "P(better)", "correlation")
    for name in (*names, "detectable", "n for this mean"):
        assert name in outcome.out
    assert "HELPS" in outcome.out
    assert "poor" not in outcome.out


def test_compare_takes_arms_controls_and_a_direction(heatgrad, table):
    options = ("--metric", "val_loss", "--lower-is-better", "--baseline", "SGD", "--margin", 0.01)
    outcome = heatgrad(
        "compare", table, *options, "--arm", "mine", "--arm", "poor", "--control", "norm"
    )
    assert outcome.code == 0, outcome.err
    assert "in the whole interval, and its controls norm." in outcome.out
    assert "poor: It falls behind SGD by 0.0310" in outcome.out
    assert "Holm over 2 comparisons" in outcome.out


def test_compare_of_few_runs_gives_the_range(heatgrad, table):
    """The last seeds of every arm left out."""
    lines = [line for line in table.read_text().splitlines() if not line.startswith(("6", "7"))]
    table.write_text("\n".join(lines))
    outcome = heatgrad("compare", table, "--metric", "acc", "--baseline", "SGD", "--margin", 0.01)
    assert outcome.code == 0
    assert "NO VERDICT" in outcome.out
    assert "(range)" in outcome.out
    assert "primary" not in outcome.out


@pytest.mark.parametrize(
    ("changes", "naming"),
    [
        ({"--metric": "ac"}, ["no column 'ac'", "did you mean 'acc'?"]),
        ({"--baseline": "SDG"}, ["baseline 'SDG'", "did you mean 'SGD'?"]),
        ({"--arm": "mien"}, ["arm 'mien'", "did you mean 'mine'?"]),
        ({"--margin": "-1"}, ["margin must be a number greater than 0"]),
        ({"--margin": "small"}, ["'--margin'", "see 'heatgrad compare --help'"]),
        ({"--metric": "val_loss"}, ["--lower-is-better or --higher-is-better"]),
    ],
)
def test_compare_refuses_in_one_line(refused, table, changes, naming):
    options = {"--metric": "acc", "--baseline": "SGD", "--margin": 0.01} | changes
    refused("compare", table, *[word for pair in options.items() for word in pair], naming=naming)


def test_compare_of_no_table(refused, tmp_path):
    options = ("--metric", "acc", "--baseline", "SGD", "--margin", 0.01)
    refused("compare", tmp_path / "none.csv", *options, naming=["cannot read", "none.csv"])


@pytest.fixture
def recorded(tmp_path):
    """Return a recorded table: mine is 3 points better at epoch 0, and worse at its last."""
    path = tmp_path / "recorded.csv"
    for arm, gains in (("SGD", (0.0, 0.0)), ("mine", (0.03, -0.03)), ("other", (0.0, 0.0))):
        for seed in range(8):
            with record(path, arm=arm, seed=seed) as run:
                for gain in gains:
                    run.log(acc=0.8 + 0.01 * (seed % 3) + gain * (1 + 0.01 * seed))
    return path


def test_compare_takes_the_last_epoch_or_the_one_that_is_named(heatgrad, recorded):
    options = ("--metric", "acc", "--baseline", "SGD", "--margin", 0.01, "--arm", "mine")
    assert "falls behind SGD by 0.0311" in heatgrad("compare", recorded, *options).out
    assert "beats SGD by 0.0311" in heatgrad("compare", recorded, *options, "--epoch", 0).out


def test_compare_refuses_a_run_that_did_not_end(heatgrad, refused, recorded):
    """Where it matters: of an arm that is not asked for, it does not."""
    record(recorded, arm="other", seed=3, replace=True).log(acc=0.5)
    options = ("--metric", "acc", "--baseline", "SGD", "--margin", 0.01)
    naming = ["arm 'other', seed 3 did not end (its last epoch is 0)", "record it again"]
    refused("compare", recorded, *options, naming=naming)
    assert heatgrad("compare", recorded, *options, "--arm", "mine").code == 0


@pytest.mark.filterwarnings("default::heatgrad.core.errors.HeatgradWarning")
def test_compare_says_in_one_line_that_runs_end_at_different_epochs(heatgrad, recorded):
    with record(recorded, arm="mine", seed=3, replace=True) as run:
        run.log(acc=0.8)
    options = ("--metric", "acc", "--baseline", "SGD", "--margin", 0.01)
    outcome = heatgrad("compare", recorded, *options)
    assert outcome.code == 0
    assert outcome.err.startswith("heatgrad: warning: runs of")
    assert outcome.err.endswith("--epoch takes the same of all\n")
    assert outcome.err.count("\n") == 1


def test_calibrate_prints_rates_beside_what_they_should_be(heatgrad):
    arguments = ("--studies", 60, "--seeds", 8, "--shape", "normal")
    outcome = heatgrad("study", "calibrate", *arguments)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("60 comparisons of 8 pairs without a difference")
    for words in ("should be", "4.7 %", "HELPS + HURTS", "93 to 97 %", "normal"):
        assert words in outcome.out


def test_calibrate_fails_where_a_promise_is_not_kept(heatgrad, monkeypatch):
    """A power function that promises certainty."""
    monkeypatch.setattr(calibration, "sign_flip_power", lambda *a, **k: 1.0)
    outcome = heatgrad("study", "calibrate", "--studies", 40, "--seeds", 8, "--shape", "normal")
    assert (outcome.code, outcome.err) == (1, "heatgrad: not as promised: normal: power\n")


def test_calibrate_refuses_in_one_line(refused):
    refused("study", "calibrate", "--seeds", 7, naming=["at least 10 studies of 8 seeds"])
    refused("study", "calibrate", "--shape", "nomal", naming=["did you mean 'normal'?"])
