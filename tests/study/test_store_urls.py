"""A store by URL, without any server: SQLite by URL, and what is refused in one line."""

import os
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy as sa
from safetensors.torch import load

from heatgrad.core.environment import describe_environment
from heatgrad.core.errors import RunError, SpecError, StoreError
from heatgrad.study import Results, Store, StudySpec, run_study
from heatgrad.study.plan import plan
from heatgrad.study.ray_pool import Run, own_paths, prepare_node
from heatgrad.study.store import is_url, place_of, shown_place
from heatgrad.study.store.database import Database


def tables_of(path):
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        return sorted(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_results_are_those_of_a_folder(workers, spec, bits, tmp_path):
    """One file holds records and weights; read back by SQLAlchemy alone they are the folder's."""
    path, url = tmp_path / "new" / "a.db", f"sqlite:///{tmp_path}/new/a.db"
    here = run_study(spec(), out=tmp_path / "here", workers=0)
    there = run_study(spec(), out=tmp_path / "there", store=url, workers=workers)
    assert bits(there) == bits(here)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.db"]
    assert not (tmp_path / "there").exists()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = dict(connection.execute(sa.text("SELECT key, safetensors FROM weights")).all())
    engine.dispose()
    files = {r.key: (tmp_path / "here" / f"weights/{r.key}.safetensors") for r in here.records}
    assert rows == {key: file.read_bytes() for key, file in files.items()}
    for store in (Store.open(url), Store.open(tmp_path / "here")):
        weights = store.weights(here.records[0].key)
        assert weights.keys() == load(rows[here.records[0].key]).keys()
        with pytest.raises(StoreError, match="no weights of trial 'none'"):
            store.weights("none")
        store.close()
    assert tables_of(path) == ["geometry", "meta", "trials", "weights"]
    assert tables_of(tmp_path / "here" / "store.sqlite") == ["geometry", "meta", "trials"]


def test_a_run_resumes_and_another_study_is_refused(spec, tmp_path):
    """As in a folder; the remedy names --store."""
    url = f"sqlite:///{tmp_path}/a.db"
    first = run_study(spec(), store=url, workers=0)
    again = run_study(spec(), store=url, workers=0, on_progress=lambda *_: pytest.fail("run again"))
    assert again.records == first.records == Results.load(url).records
    with pytest.raises(StoreError, match=r"another study.*give another database with --store"):
        run_study(spec(seeds=3), store=url, workers=0)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://me:secret@host/a", r"must be postgresql\+psycopg://.* got 'mysql://\.\.\.'"),
        ("postgresql://me:secret@host", "must name a database"),
        ("sqlite://", "must name a database"),
        ("sqlite:///:memory:", "must name a database"),
        ("postgresql://me:secret@host:port/a", "cannot read the URL"),
        ("sqlite:///runs/a/store.sqlite", "is the store of a folder; give the folder 'runs/a'"),
    ],
)
def test_urls_that_cannot_be_used(url, message, spec, tmp_path, monkeypatch):
    """Refused before anything is made; a password is never shown."""
    monkeypatch.chdir(tmp_path)
    for attempt in (
        lambda: run_study(spec(), store=url, workers=0),
        lambda: Results.load(url),
        lambda: shown_place(url),
    ):
        with pytest.raises(StoreError, match=message) as caught:
            attempt()
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_is_shown_of_a_url():
    """User, host and database; neither a password nor options, which may hold one."""
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        url = f"{scheme}://me:secret@host:5433/a?password=secret&sslmode=require"
        assert shown_place(url) == "postgresql+psycopg://me:***@host:5433/a"
    assert shown_place("runs/demo") == "runs/demo"
    assert not is_url("runs/demo")


def test_options_of_a_url_go_before_ours():
    """`connect_timeout` of the URL is the one that the driver is handed."""
    pytest.importorskip("psycopg")
    place = place_of("postgresql://host/a?connect_timeout=3")
    handed = {}

    def refuse(*arguments, **options):
        handed.update(options)
        raise sa.exc.OperationalError("", {}, Exception("no server"))

    engine = place.engine(read_only=True)
    sa.event.listen(engine, "do_connect", lambda d, r, a, options: refuse(**options))
    with pytest.raises(sa.exc.OperationalError):
        engine.connect()
    assert int(handed["connect_timeout"]) == 3
    assert handed["application_name"] == "heatgrad"


def test_a_store_that_is_not_there(spec, tmp_path):
    """Reading makes no file; a run without one is told to make it."""
    with pytest.raises(StoreError, match=r"no study in 'sqlite:.*heatgrad study run"):
        Results.load(f"sqlite:///{tmp_path}/a.db")
    assert not list(tmp_path.iterdir())
    with pytest.raises(SpecError, match=r"must be the URL of a database.*folder with --out"):
        run_study(spec(), store=str(tmp_path / "a"), workers=0)


@pytest.mark.parametrize(("module", "extra"), [("psycopg", "postgres"), ("ray", "ray")])
def test_a_package_that_is_not_installed(module, extra, spec, tmp_path, monkeypatch):
    """The extra to install is named, and nothing is made."""
    monkeypatch.setitem(sys.modules, module, None)
    how = {"store": "postgresql://host/a"} if module == "psycopg" else {"ray": "auto"}
    with pytest.raises((StoreError, SpecError), match=rf"pip install 'heatgrad\[{extra}\]'"):
        run_study(spec(), out=tmp_path / "a", workers=1, **how)
    assert not list(tmp_path.iterdir())


def test_a_cluster_needs_a_store_that_its_nodes_reach(spec, tmp_path, monkeypatch):
    """A file of SQLite by URL is refused; so are no workers, and an address of no form."""
    monkeypatch.setattr("heatgrad.study.run.check_address", lambda address: None)
    with pytest.raises(SpecError, match="cannot be the store of a cluster"):
        run_study(spec(), store=f"sqlite:///{tmp_path}/a.db", ray="auto")
    with pytest.raises(SpecError, match="workers must be at least 1, got 0"):
        run_study(spec(), out=tmp_path / "a", ray="auto", workers=0)
    assert not list(tmp_path.iterdir())


def test_a_shared_folder_has_no_memory_to_share(spec, tmp_path):
    """WAL keeps an index in memory, which machines do not share: it has side files."""
    folder = tmp_path / "a"
    Store.create(folder, StudySpec.from_dict(spec())).close()
    for is_shared, files in ((True, 1), (False, 3)):
        store = Store.attach(folder, is_shared=is_shared)
        assert store.keys() == set()
        assert len(list(folder.glob("store.sqlite*"))) == files
        store.close()
    assert len(list(folder.glob("store.sqlite*"))) == 1


@pytest.mark.parametrize("address", ["here", "ray://host:10001", "host:99999"])
def test_an_address_of_no_form(address, spec, tmp_path):
    """The two that there are are said, with or without Ray."""
    with pytest.raises(SpecError, match="ray must be 'auto' or the HOST"):
        run_study(spec(), out=tmp_path / "a", ray=address)
    assert not list(tmp_path.iterdir())


def node(**changes):
    options = {"place": "", "mark": None, "environment": describe_environment(), "paths": ()}
    return Run(**(options | {"data": None} | changes))


def test_a_node_that_cannot_take_part(tmp_path, monkeypatch):
    """Other versions, or a folder of that name without the driver's mark: who, what, what to do."""
    other = node().environment | {"torch": "1.0"}
    with pytest.raises(RunError, match=r"node '.*' has torch .*, the driver has 1\.0"):
        prepare_node(node(environment=other))
    with pytest.raises(RunError, match=r"does not see the folder .*--store postgresql"):
        prepare_node(node(place=str(tmp_path), mark=".reached-1"))
    (tmp_path / ".reached-1").touch()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("HEATGRAD_DATA", raising=False)
    prepare_node(node(place=str(tmp_path), mark=".reached-1", paths=("/own",), data="/data"))
    assert sys.path[-1] == "/own"


def test_own_paths_are_those_that_are_not_installed(tmp_path, monkeypatch):
    """A folder put on the path is told to the nodes; site-packages and zip files are not."""
    monkeypatch.syspath_prepend(tmp_path)
    paths = own_paths()
    assert str(tmp_path.resolve()) in paths
    assert not any("site-packages" in path or path.endswith(".zip") for path in paths)


class Unsteady(Database):
    """A database whose connection breaks at the first attempts to store a trial."""

    breaks = 2
    patience = 30.0
    tried: ClassVar[list[str]] = []

    def put(self, connection, key, weights):
        """Keep the weights, and break, as long as breaks are left."""
        super().put(connection, key, weights)
        self.tried.append(key)
        if len(self.tried) <= self.breaks:
            raise sa.exc.OperationalError("", {}, Exception("connection lost"))


@pytest.mark.parametrize("patience", [30.0, 0.0])
def test_a_lost_connection_is_tried_again(patience, spec, tmp_path, monkeypatch):
    """Two breaks cost a second and no trial; without patience, one line, and half of nothing."""
    monkeypatch.setattr(Unsteady, "patience", patience)
    monkeypatch.setattr(Unsteady, "tried", [])
    place = Unsteady(sa.make_url(f"sqlite:///{tmp_path}/a.db"))
    monkeypatch.setattr("heatgrad.study.store.store.place_of", lambda where: place)
    values = spec(seeds=1)
    url = f"sqlite:///{tmp_path}/a.db"
    if patience:
        assert len(run_study(values, store=url, workers=0).records) == 3
        assert len(Unsteady.tried) == 2 + 3
        return
    with pytest.raises(RunError, match=r"connection lost; finished trials are stored, the same"):
        run_study(values, store=url, workers=0)
    store = Store.open(url)
    assert store.keys() == set()
    with pytest.raises(StoreError, match="no weights of trial"):
        store.weights(Unsteady.tried[0])
    store.close()


def test_a_disk_that_is_full_of_records(spec, bits, tmp_path):
    """SQLite may not grow: one line with what to do; with room the same command goes on."""
    study = StudySpec.from_dict(spec(backend="loop"))
    folder = tmp_path / "a"
    Store.create(folder, study).close()
    pages = (folder / "store.sqlite").stat().st_size // 4096

    def limit(connection, record):
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    sa.event.listen(sa.Engine, "connect", limit)
    try:
        with pytest.raises(RunError, match=r"disk is full; make room there; finished") as caught:
            run_study(study, out=folder, workers=0)
    finally:
        sa.event.remove(sa.Engine, "connect", limit)
    assert "\n" not in str(caught.value)
    assert bits(run_study(study, out=folder, workers=0)) == bits(
        run_study(study, out=tmp_path / "whole", workers=0)
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_of_weights(spec, tmp_path):
    """Writing to /dev/full fails as on a full disk: one line, no half file, no record."""
    study = StudySpec.from_dict(spec(seeds=1, backend="loop"))
    folder = tmp_path / "a"
    Store.create(folder, study).close()
    key = plan(study)[1].key
    (folder / "weights").mkdir()
    (folder / "weights" / f"{key}.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"No space left on device; make room there; finished"):
        run_study(study, out=folder, workers=0)
    assert len(Results.load(folder).records) == len(list((folder / "weights").iterdir())) == 1
    assert run_study(study, out=folder, workers=0).num_missing == 0
