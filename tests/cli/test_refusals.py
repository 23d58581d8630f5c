import gzip
import struct
import sys

import pytest

MNIST = 'kind = "MNIST"\n[tasks.unused]\nkind = "Spiral"'
SPIRAL = 'kind = "Spiral"'


@pytest.fixture
def run(refused, tmp_path):
    """Return the function `(spec, *arguments, naming)`: refused, and no folder was made."""

    def run_(spec, *arguments, naming):
        folder = tmp_path / "out"
        refused("study", "run", spec, "--out", folder, "--workers", 0, *arguments, naming=naming)
        assert not folder.exists()

    return run_


@pytest.mark.parametrize(
    ("old", "new", "naming"),
    [
        ("seeds = 2", "sedes = 2", ["unknown key 'sedes'", "did you mean 'seeds'?"]),
        ("seeds = 2", "", ["missing key 'seeds'"]),
        ("seeds = 2", 'seeds = "two"', ["'seeds'", "got 'two'"]),
        ('"diffusion"]', '"difusion"]', ["unknown arm 'difusion'", "did you mean 'diffusion'?"]),
        ('baseline = "SGD"', 'baseline = "SDG"', ["unknown arm 'SDG'", "did you mean 'SGD'?"]),
        ('"DiffusionSGD"', '"DifusionSGD"', ["arms.diffusion", "did you mean 'DiffusionSGD'?"]),
        ("diffusion = 0.05", "difusion = 0.05", ["'difusion'", "did you mean 'diffusion'?"]),
        ("diffusion = 0.05", "diffusion = -0.1", ["arms.diffusion", "diffusion", "-0.1"]),
        ('"SimpleMLP"', '"SimpelMLP"', ["model", "did you mean 'SimpleMLP'?"]),
        ('"Spiral"', '"Spirall"', ["tasks.spiral", "did you mean 'Spiral'?"]),
        ("num_test = 128", "num_test = 0", ["tasks.spiral", "num_test"]),
        ("num_test = 128", "numtest = 1", ["'numtest'", "did you mean 'num_test'?"]),
        ('"test_accuracy"', '"accuracy"', ["'metric'", "got 'accuracy'"]),
        ("seeds = 2", "seeds = = 2", ["not valid TOML", "spec.toml"]),
        ('"SGD"\n\n[arms.diff', '"os:nothing"\n\n[arms.diff', ["arms.SGD", "os:nothing"]),
    ],
)
def test_a_spec_that_cannot_be_used(run, write_spec, old, new, naming):
    run(write_spec(old, new), naming=naming)


def test_no_such_spec(run, tmp_path):
    run(tmp_path / "none.toml", naming=["no spec file at", str(tmp_path / "none.toml")])
    run("dmo", naming=["no preset and no spec file 'dmo'", "did you mean 'demo'?"])
    run(tmp_path, naming=["cannot read spec file", str(tmp_path)])


@pytest.mark.parametrize(
    ("arguments", "naming"),
    [
        (("--task", "spirla"), ["unknown task 'spirla'", "did you mean 'spiral'?"]),
        (("--seeds", 0), ["seeds must be from 1 to 10000, got 0"]),
        (("--seeds", "two"), ["'--seeds'", "see 'heatgrad study run --help'"]),
        (("--workers", -1), ["'--workers'"]),
        (("--worker", 1), ["no such option", "--worker"]),
        (("more",), ["unexpected extra argument", "more"]),
    ],
)
def test_options_that_cannot_be_used(run, write_spec, arguments, naming):
    run(write_spec(), *arguments, naming=naming)
    run(write_spec(), *arguments, "--dry-run", naming=naming)


def test_commands_that_are_not_there(refused):
    refused("stdy", naming=["no such command 'stdy'", "see 'heatgrad --help'"])
    refused("study", "rnu", naming=["no such command 'rnu'", "see 'heatgrad study --help'"])
    refused("study", "run", naming=["missing argument 'SPEC|PRESET'"])
    refused("--nothing", naming=["no such option", "--nothing"])


@pytest.mark.parametrize("how", [(), ("--dry-run",)])
def test_missing_data_names_the_path(run, write_spec, tmp_path, monkeypatch, how):
    monkeypatch.setenv("HEATGRAD_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    spec = write_spec(f"{SPIRAL}\nnum_samples = 256\nnum_test = 128", MNIST)
    run(spec, *how, naming=[str(path), "HEATGRAD_DATA"])


def test_truncated_data_name_the_file(run, write_spec, tmp_path, monkeypatch):
    monkeypatch.setenv("HEATGRAD_DATA", str(tmp_path / "data"))
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = bytes([0, 0, 8, 3]) + struct.pack(">3I", 5, 28, 28) + bytes(5 * 28 * 28)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images)[:-20])
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    spec = write_spec(f"{SPIRAL}\nnum_samples = 256\nnum_test = 128", MNIST)
    run(spec, naming=[str(raw / "train-images-idx3-ubyte.gz"), "is damaged"])


def test_the_folder_of_another_study(refused, write_spec, finished, fingerprint):
    before = fingerprint(finished)
    spec = write_spec("lr = 0.05", "lr = 0.06")
    naming = [str(finished), "holds another study ('tiny'; it differs in lr)", "--out"]
    refused("study", "run", spec, "--out", finished, "--workers", 0, naming=naming)
    assert fingerprint(finished) == before


def test_a_folder_of_other_files(refused, write_spec, tmp_path, fingerprint):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    before = fingerprint(folder)
    naming = [str(folder), "not a study's", "--out"]
    refused("study", "run", write_spec(), "--out", folder, naming=naming)
    naming = [str(folder / "thesis.tex"), "is a file"]
    refused("study", "run", write_spec(), "--out", folder / "thesis.tex", naming=naming)
    assert fingerprint(folder) == before


@pytest.mark.parametrize("locked", ["", "store.sqlite"])
def test_a_read_only_store(refused, heatgrad, write_spec, finished, tmp_path, locked):
    place = finished / locked
    place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        naming = [f"'{place}' is read-only", "--out"]
        refused("study", "run", write_spec(), "--out", finished, naming=naming)
        assert heatgrad("study", "status", finished).code == 0
        assert heatgrad("study", "verdict", finished).code == 0
        table = tmp_path / "all.csv"
        assert heatgrad("study", "export", finished, "--out", table).code == 0
    finally:
        place.chmod(0o755)


@pytest.mark.parametrize("command", ["run", "status", "verdict", "report", "export"])
def test_a_store_of_a_newer_schema(
    refused, write_spec, finished, alter_store, fingerprint, command
):
    alter_store(finished, "UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    arguments = (write_spec(), "--out", finished) if command == "run" else (finished,)
    refused("study", command, *arguments, naming=["has schema 99", "upgrade heatgrad"])
    assert not {"report.html", "trials.csv"} & set(fingerprint(finished))


@pytest.mark.parametrize("command", ["status", "verdict", "report", "export"])
def test_a_folder_without_a_study(refused, tmp_path, command):
    naming = [f"no study in '{tmp_path}'", "heatgrad study run"]
    refused("study", command, tmp_path, naming=naming)
    (tmp_path / "store.sqlite").write_bytes(b"this is no database, whatever it is called")
    refused("study", command, tmp_path, naming=[str(tmp_path / "store.sqlite")])
    assert [path.name for path in tmp_path.iterdir()] == ["store.sqlite"]


def test_outputs_that_cannot_be_written(refused, heatgrad, finished, tmp_path):
    """An export never overwrites; neither an export nor a page makes folders."""
    taken = tmp_path / "taken.csv"
    taken.write_text("precious")
    naming = [f"'{taken}' is there already", "--out"]
    refused("study", "export", finished, "--out", taken, naming=naming)
    assert taken.read_text() == "precious"
    naming = ["no format 'parkett'", "did you mean 'parquet'?"]
    refused("study", "export", finished, "--format", "parkett", naming=naming)
    for command in ("export", "report"):
        path = tmp_path / "missing" / "file"
        naming = ["cannot write", str(path), "No such file"]
        refused("study", command, finished, "--out", path, naming=naming)


def test_a_page_replaces_pages_only(refused, heatgrad, finished, tmp_path):
    """An older page is replaced; a file of anything else is left as it is."""
    page, thesis = tmp_path / "page.html", tmp_path / "thesis.html"
    assert heatgrad("study", "report", finished, "--out", page).code == 0
    assert heatgrad("study", "report", finished, "--out", page).code == 0
    thesis.write_text("<!doctype html> precious")
    naming = [f"'{thesis}' is not a page of heatgrad", "--out"]
    refused("study", "report", finished, "--out", thesis, naming=naming)
    assert thesis.read_text() == "<!doctype html> precious"


@pytest.mark.filterwarnings("default::heatgrad.core.errors.HeatgradWarning")
def test_a_warning_is_one_line_and_said_once(heatgrad, write_spec, tmp_path, no_page):
    """The arm is named; two workers and four trials say nothing more."""
    spec = write_spec("diffusion = 0.05\n\n", "diffusion = 0.3\n\n")
    outcome = heatgrad("study", "run", spec, "--out", tmp_path / "out", "--workers", 0)
    assert outcome.code == 0
    (line,) = [line for line in outcome.err.splitlines() if "warning" in line]
    assert line.startswith("heatgrad: warning: arms.diffusion: diffusion 0.3 in mode 'global'")


def test_parts_of_ones_own_lie_beside_the_spec(heatgrad, write_spec, tmp_path, monkeypatch):
    """A module next to the spec file is found, from any working directory."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside.py").write_text(
        "import torch\nclass MySGD(torch.optim.SGD):\n    pass\n", encoding="utf-8"
    )
    spec = write_spec('kind = "SGD"', 'kind = "beside:MySGD"')
    assert heatgrad("study", "run", spec, "--out", tmp_path / "out", "--dry-run").code == 0


def test_a_page_without_records(refused, finished, alter_store):
    alter_store(finished, "DELETE FROM trials")
    refused("study", "report", finished, naming=["no finished trial", "heatgrad study run"])


def test_an_interrupted_run_says_how_to_go_on(heatgrad, write_spec, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("heatgrad.study.run.run_study", interrupt)
    outcome = heatgrad("study", "run", write_spec(), "--out", tmp_path / "out")
    assert outcome.code == 1
    assert outcome.err.startswith("heatgrad: interrupted; finished trials are stored in")
    assert outcome.err.count("\n") == 1
