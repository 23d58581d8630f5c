"""Folders that cannot be used are refused in one line, and left as they were to the last byte."""

import os
import shutil
import sqlite3
import stat

import pytest

from heatgrad.core.errors import StoreError
from heatgrad.study import Results, Store, StudySpec, run_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a folder with a small finished study (copied, never changed), and its spec."""
    values = {
        "name": "done",
        "seeds": 1,
        "epochs": 1,
        "batch_size": 32,
        "lr": 0.1,
        "metric": "test_accuracy",
        "margin": 0.01,
        "baseline": "SGD",
        "model": {"kind": "SimpleMLP", "width": 4},
        "tasks": {"s": {"kind": "Spiral", "num_samples": 40, "num_test": 20, "sigma": 2.0}},
        "arms": {"SGD": {"kind": "SGD"}, "Adam": {"kind": "Adam"}},
    }
    folder = tmp_path_factory.mktemp("finished") / "a"
    run_study(values, out=folder, workers=0)
    return folder, values


@pytest.fixture
def study(finished):
    """Return the spec of the finished study."""
    return StudySpec.from_dict(finished[1])


@pytest.fixture
def folder(finished, tmp_path):
    """Return a copy of the finished study's folder."""
    return shutil.copytree(finished[0], tmp_path / "copy")


def snapshot(place):
    if place.is_file():
        return place.read_bytes()
    return {path: path.is_dir() or path.read_bytes() for path in place.rglob("*")}


@pytest.fixture
def refused(study):
    """Return a function that asserts that a run is refused in one line and changes nothing."""

    def check(folder, message, study=study):
        before = snapshot(folder)
        for attempt in (
            lambda: run_study(study, out=folder, workers=0),
            lambda: Store.create(folder, study),
        ):
            with pytest.raises(StoreError) as caught:
                attempt()
            assert message in str(caught.value)
            assert str(folder) in str(caught.value)
            assert "\n" not in str(caught.value)
            assert snapshot(folder) == before

    return check


def test_another_study(folder, study, refused):
    """A folder belongs to one study; words may differ, a margin may not."""
    refused(folder, "holds another study ('done'", study.model_copy(update={"margin": 0.5}))
    refused(folder, "give another folder with --out", study.with_seeds(2))
    reworded = study.model_copy(update={"title": "Another title"})
    assert len(run_study(reworded, out=folder, workers=0).records) == 2


def test_foreign_files(tmp_path, refused):
    """A folder with somebody's files is not written to."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    refused(mine, "holds files that are not a study's")


def test_an_empty_folder_is_fine(tmp_path, study):
    """A folder made beforehand, and one in folders not made yet."""
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "deep" / "er"):
        assert len(run_study(study, out=folder, workers=0).records) == 2


def test_a_file_where_the_folder_should_be(tmp_path, refused, study):
    """The file stays; so does one in the middle of the path."""
    file = tmp_path / "file"
    file.write_text("mine")
    refused(file, "is a file; give a folder with --out")
    with pytest.raises(StoreError, match="cannot write to"):
        Store.create(file / "below", study)
    assert file.read_text() == "mine"


def test_a_store_that_is_no_database(tmp_path, refused):
    """A file of that name with other contents: said, and kept, for writing and for reading."""
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "store.sqlite").write_bytes(b"This is not a database, it is a letter. " * 50)
    refused(folder, "file is not a database")
    with pytest.raises(StoreError, match="file is not a database"):
        Store.open(folder)


def test_a_database_that_is_not_ours(tmp_path, refused):
    """Somebody's SQLite file: not a table is added, not even its journal mode changes."""
    folder = tmp_path / "a"
    folder.mkdir()
    with sqlite3.connect(folder / "store.sqlite") as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    refused(folder, "is not a heatgrad store")
    with pytest.raises(StoreError, match="is not a heatgrad store"):
        Store.open(folder)


def test_a_newer_schema(folder, refused):
    """The version in the file is higher than ours: upgrade, and nothing is touched."""
    with sqlite3.connect(folder / "store.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '2' WHERE name = 'schema_version'")
    connection.close()
    refused(folder, "has schema 2, this heatgrad reads up to 1; upgrade heatgrad")
    with pytest.raises(StoreError, match="upgrade heatgrad"):
        Results.load(folder)


@pytest.mark.parametrize("version", ["", "new", "0", "-1"])
def test_a_damaged_schema_version(version, folder, refused):
    with sqlite3.connect(folder / "store.sqlite") as connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", [version])
    connection.close()
    refused(folder, "is damaged: its schema version must be a number from 1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = '{' WHERE name = 'study'",
        "UPDATE trials SET curves = '[1, 2'",
    ],
)
def test_damaged_json(statement, folder):
    """What cannot be read is said in one line, with the file."""
    with sqlite3.connect(folder / "store.sqlite") as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(StoreError, match=rf"the store in '{folder}.*' is damaged") as caught:
        Results.load(folder)
    assert "\n" not in str(caught.value)


def test_a_refusal_names_what_differs(folder, study):
    """The keys, and the tasks and arms by name; words do not count."""
    arms = {**study.arms, "SGD": study.arms["SGD"].model_copy(update={"options": {"lr": 0.5}})}
    other = study.model_copy(update={"seeds": 3, "title": "New", "arms": arms})
    with pytest.raises(StoreError, match=r"it differs in seeds, arms\.SGD\)"):
        Store.create(folder, other)


def test_words_are_those_of_the_latest_run(folder, study):
    """A title may be mended; it is then the one shown."""
    run_study(study.model_copy(update={"title": "Better words"}), out=folder, workers=0)
    assert Results.load(folder).study.title == "Better words"


def read_only(place):
    mode = place.stat().st_mode
    place.chmod(mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    return mode


@pytest.mark.parametrize("which", ["folder", "store"])
def test_what_is_marked_read_only_is_not_written(which, folder, refused):
    """The bits count for a superuser, too; the records can still be read, and no file appears."""
    place = folder if which == "folder" else folder / "store.sqlite"
    mode = read_only(place)
    try:
        refused(folder, "is read-only; make it writable or give another folder with --out")
        before = snapshot(folder)
        assert len(Results.load(folder).records) == 2
        assert snapshot(folder) == before
    finally:
        place.chmod(mode)


def test_opening_what_is_not_there(tmp_path):
    """No folder, or no store in it: what to do is said, and nothing is made."""
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(StoreError, match=r"no study in '.*'heatgrad study run'"):
            Store.open(folder)
    assert not list(tmp_path.iterdir())


def test_reading_changes_nothing(folder, study):
    """Records and spec come back as they were stored, and the files stay as they are."""
    before = snapshot(folder)
    store = Store.open(folder)
    assert store.study == study
    assert store.keys() == {record.key for record in store.records()}
    store.close()
    assert snapshot(folder) == before


@pytest.mark.parametrize("leftover", ["nothing", "an empty file", "an empty database"])
def test_a_folder_whose_making_was_cut_off_is_taken_up(leftover, tmp_path, study):
    """A run killed in its first milliseconds leaves nothing that stops the next one."""
    folder = tmp_path / "a"
    folder.mkdir()
    if leftover != "nothing":
        connection = sqlite3.connect(folder / "store.sqlite")
        if leftover == "an empty database":
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        (folder / "store.sqlite").touch()
    assert len(run_study(study, out=folder, workers=0).records) == 2


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("reads_first", [True, False])
def test_a_store_cut_off_in_a_transaction_is_mended(journal, reads_first, folder, study, tmp_path):
    """Copied in the middle of a write, as a power cut leaves it: SQLite rolls back, all is there.

    With a cache of one page the half-done transaction has reached the file already.
    """
    connection = sqlite3.connect(folder / "store.sqlite", isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute("PRAGMA cache_size=1")
    connection.execute("BEGIN")
    rows = ((f"junk {k}", "x" * 5000) for k in range(50))
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
    cut = shutil.copytree(
        folder, tmp_path / "cut", ignore=shutil.ignore_patterns("store.sqlite-shm")
    )
    connection.close()
    side = "store.sqlite-wal" if journal == "wal" else "store.sqlite-journal"
    assert (cut / side).stat().st_size > 5_000
    if reads_first:
        assert len(Results.load(cut).records) == 2
    assert len(run_study(study, out=cut, workers=0).records) == 2
    with sqlite3.connect(cut / "store.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM meta").fetchone() == (3,)
    connection.close()
    assert sorted(os.listdir(cut)) == ["store.sqlite", "weights"]


def test_half_written_weights_are_cleared_away(folder, study):
    """What a killed worker left beside the weights is removed by the next run."""
    part = folder / "weights" / f"{'0' * 64}.99999.part"
    part.write_bytes(b"half")
    run_study(study, out=folder, workers=0)
    assert not part.exists()
    assert len(os.listdir(folder / "weights")) == 2


def test_readers_see_what_a_writer_has_stored(folder, study):
    """While a store is open for writing it can be read, and the reader does not lock it."""
    writer = Store.create(folder, study)
    reader = Store.open(folder)
    assert reader.keys() == writer.keys()
    reader.close()
    assert len(writer.records()) == 2
    writer.close()
    assert sorted(os.listdir(folder)) == ["store.sqlite", "weights"]


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "é ü"])
def test_any_folder_name_can_be_read_back(name, tmp_path, spec):
    """What SQLite and URLs take for syntax is only a name here."""
    folder = tmp_path / name
    study = StudySpec.from_dict(spec())
    Store.create(folder, study).close()
    assert Store.open(folder).study == study


def test_a_store_of_an_older_table_is_read_and_added_to(folder, study):
    """A column that came later is not known there; the next run adds it and keeps the records."""
    connection = sqlite3.connect(folder / "store.sqlite")
    with connection:
        connection.execute("ALTER TABLE trials DROP COLUMN chance")
        connection.execute("ALTER TABLE trials DROP COLUMN memory")
        connection.execute("DELETE FROM trials WHERE arm = 'Adam'")
    connection.close()
    before = snapshot(folder)
    (old,) = Results.load(folder).records
    assert (old.arm, old.chance, old.memory) == ("SGD", None, None)
    assert snapshot(folder) == before
    first, second = run_study(study, out=folder, workers=0).records
    assert first == old
    assert second.chance.keys() == {"test_accuracy", "test_accuracy_clean"}
    assert second.memory["kept"] == 4 * (2 * second.num_parameters + 10)  # tensors count steps
    assert [record.chance is None for record in Results.load(folder).records] == [True, False]
