import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import pytest

from heatgrad.core.errors import StoreError
from heatgrad.report import (
    Part,
    PhaseCell,
    arm_styles,
    phase_map,
    tuning_picture,
    variance_bars,
    write_report,
)
from heatgrad.report.writing import _templates
from heatgrad.study import METRICS, Results

HOSTILE = """<script>alert("x")</script> & '"><img src=x onerror=alert(1)> $\\x$"""
SPIRAL = {"s": {"kind": "Spiral", "num_samples": 100, "num_test": 50}}
TWO_ARMS = {"SGD": {"kind": "SGD"}, "diffusion": {"kind": "DiffusionSGD", "diffusion": 0.1}}


class Reader(HTMLParser):
    """Collect tags, attributes, ids and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):  # noqa: D102
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data):  # noqa: D102
        self.text.append(data)


@pytest.fixture
def write(tmp_path):
    """Return the function `results -> text of its page`."""

    def write_(results):
        write_report(results, tmp_path / "page.html")
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    return write_


def test_the_page_needs_nothing_else(page):
    """The only addresses are names of XML vocabularies, which nobody fetches."""
    addresses = set(re.findall(r"https?://[^\"'\s<>)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    reader = Reader(page)
    assert not {"iframe", "object", "base", "link rel"} & set(reader.tags)
    for name, value in reader.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:")), (name, value)
        assert not name.startswith("on")
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_only_our_script_may_run(page):
    """A content security policy names a script by its SHA-256, and refuses all else."""
    assert Reader(page).tags.count("script") == 1
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{allowed}'"
    )


def test_ids_are_unique_and_links_resolve(page):
    ids = [value for name, value in Reader(page).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = re.findall(r'(?:url\(#|href="#|aria-labelledby=")([^")]+)', page)
    assert set(links) <= set(ids)


def test_the_verdicts_come_before_the_figures(page):
    assert page.index("<table") < page.index("<figure")
    words = " ".join(Reader(page).text)
    assert "A study by hand" in words
    assert "A question?" in words
    assert "A note." in words
    assert "Unfinished" not in words
    assert "HELPS" in words


def test_every_part_is_there(page):
    """Figures against noise, of curves, data and effects of four tasks, and of two divisions."""
    assert page.count('aria-label="Final test accuracy (labels as scored) on ') == 4
    assert page.count('aria-label="Final test accuracy (clean labels) on ') == 1
    assert page.count('aria-label="Training data of ') == 4
    assert page.count(' against label noise"') == 3
    assert page.count("<svg") == 3 + 4 * 4 + 4 + 1 + 4 + 4 + 2
    assert page.count('aria-label="Differences from SGD on ') == 4
    for title in ("Effects", "Why", "Costs"):
        assert f">{title}</h2>" in page
    assert "Training points of block 0" in page
    assert "The first training images of block 0" in page
    assert "No classifier can expect more than 97.0 % here" in page
    assert "more than 68.8 % on the noisy test labels, or 97.0 % on the clean ones" in page


def test_what_users_write_is_text(write, make_results):
    arms = {
        HOSTILE: {"kind": "SGD"},
        f"d {HOSTILE}": {"kind": "DiffusionSGD", "diffusion": 0.1},
        f"c {HOSTILE}": {
            "kind": "NormMatchedSGD",
            "diffusion": 0.1,
            "control_of": f"d {HOSTILE}",
        },
    }
    task = SPIRAL["s"] | {"note": HOSTILE, "label_noise": [0.0, 0.1]}
    results = make_results(
        tasks={HOSTILE: task}, arms=arms, title=HOSTILE, question=HOSTILE, notes=[HOSTILE]
    )
    text = write(results)
    reader = Reader(text)
    assert "img" not in reader.tags
    assert reader.tags.count("script") == 1
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert sum(HOSTILE in part for part in reader.text) >= 10
    assert "\x1b" not in text


def test_the_matrix_comes_first(page, write, make_results):
    assert page.index('class="matrix"') < page.index('class="summary"')
    assert 'class="matrix"' not in write(make_results(tasks=SPIRAL, arms=TWO_ARMS))


def test_regimes_stand_side_by_side(write, make_results, monkeypatch):
    """Each has a column of the matrix, a table and a forest plot, "as published" first."""
    results = make_results(tasks=SPIRAL, arms=TWO_ARMS)
    published = results.verdicts()
    tuned = [
        dataclasses.replace(v, question=dataclasses.replace(v.question, regime="each tuned"))
        for v in published
    ]
    monkeypatch.setattr(Results, "verdicts", lambda self: [*tuned, *published])
    text = write(results)
    assert text.count('class="matrix"') == 1
    assert [text.count(f">{r}</a></th>") for r in ("as published", "each tuned")] == [1, 1]
    assert text.count('aria-label="Differences from SGD on s"') == 2
    first, second = (text.index(f"Verdicts on s, {r}") for r in ("as published", "each tuned"))
    assert first < second
    assert "s, each tuned:" in text
    assert text.index("s, as published:") < text.index("s, each tuned:")


def test_further_parts_have_a_place_of_their_own(make_results, tmp_path):
    """Phase maps, tuning curves and shares of the variance, as a study may have them."""
    results = make_results(tasks=SPIRAL, arms=TWO_ARMS, seeds=1)
    cells = {"diffusion": {(1.0, 0.0): PhaseCell("HELPS", 0.02, 8)}}
    metric = METRICS["test_accuracy"]
    tuning = tuning_picture({"SGD": [[0.5, 0.6]]}, metric, arm_styles(results.study))
    parts = [
        Part("Phase map", "<b>", (("", phase_map(cells, "turns", "noise", metric=metric)),)),
        Part("Tuning", "", (("s", tuning),)),
        Part("Variance", "Of all.", (("", variance_bars({"seed": (0.1, 0.0, 0.2)})),)),
    ]
    write_report(results, tmp_path / "page.html", parts=parts)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    for number, part in enumerate(parts, start=1):
        assert f'<h2 id="part-{number}">{part.title}</h2>' in text
        assert f'href="#part-{number}"' in text
        for _, picture in part.pictures:
            assert picture.svgs[0] in text
    assert "&lt;b&gt;" in text
    ids = [value for name, value in Reader(text).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_details_of_many_tasks_are_folded():
    """A sweep has dozens of tasks: what lies below is opened one by one."""
    source = (
        '{% from "parts.html" import folded %}'
        '{% call folded("a task", range(count) | list) %}inside{% endcall %}'
    )
    template = _templates().from_string(source)
    assert "<h3>a task</h3>" in template.render(count=6)
    assert "<details>" not in template.render(count=6)
    assert "<details><summary>a task</summary>" in template.render(count=7)


def test_the_same_results_give_the_same_bytes(write, make_results):
    first, again = (write(make_results(tasks=SPIRAL, arms=TWO_ARMS)) for _ in range(2))
    assert first == again


def test_fewer_than_eight_runs_give_a_range_and_no_verdict(write, make_results):
    text = write(make_results(tasks=SPIRAL, arms=TWO_ARMS, seeds=3))
    assert "NO VERDICT" in text
    assert "(range)" in text
    assert "n = 3." in text
    assert "have too few" not in text
    assert "diffusion has too few runs for a verdict." in text


@pytest.mark.parametrize("num_stored", [1, 7])
def test_an_unfinished_study_says_so(write, make_results, num_stored):
    tasks = {"s": SPIRAL["s"] | {"label_noise": [0.0, 0.2]}}
    text = write(make_results(tasks=tasks, arms=TWO_ARMS, seeds=3, num_stored=num_stored))
    assert f"Unfinished: {num_stored} of 12 trials are stored. Verdicts may change." in text


def test_diverged_runs_are_shown(write, make_results):
    diverged = {("diffusion", block) for block in range(8)}
    text = write(make_results(tasks=SPIRAL, arms=TWO_ARMS, diverged=diverged))
    assert "16 trials, 8 diverged (kept, and ranked worst)" in text
    assert "8 of the 8 runs of diffusion diverged, more than the declared share of 50 %." in text
    assert "0.00 %" in text


def test_data_that_are_gone_leave_a_sentence(write, make_results, tmp_path):
    tasks = {"images": {"kind": "MNIST", "root": str(tmp_path), "note": "Real images."}}
    text = write(make_results(tasks=tasks, arms=TWO_ARMS, seeds=2))
    assert "Real images. The data could not be loaded when this page was written." in text


def test_controls_are_explained_where_there_are_any(page, write, make_results):
    assert "A norm-matched arm follows the plain gradient" in page
    assert "norm-matched" not in write(make_results(tasks=SPIRAL, arms=TWO_ARMS, seeds=1))


def test_learning_rates_of_arms_are_not_called_shared(page, write, make_results):
    assert "learning rate 0.1 (shared by the arms, not tuned)" in page
    arms = TWO_ARMS | {"Adam": {"kind": "Adam", "lr": 0.001}}
    assert "learning rates 0.001 and 0.1 (by arm, not tuned)" in write(
        make_results(tasks=SPIRAL, arms=arms, seeds=1)
    )


@pytest.mark.parametrize("metric", ["train_loss", "test_accuracy_clean"])
def test_any_metric_may_be_primary(write, make_results, metric):
    text = write(make_results(tasks=SPIRAL, arms=TWO_ARMS, metric=metric, margin=0.01))
    assert ("[points]" in text) == metric.startswith("test_acc")


def test_no_page_without_records(make_results, tmp_path):
    with pytest.raises(StoreError, match="no finished trial to report"):
        write_report(make_results(num_stored=0), tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
