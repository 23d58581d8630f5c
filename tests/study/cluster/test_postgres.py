"""A study whose store is PostgreSQL: the same results, whatever happens to the server."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from heatgrad.core.errors import RunError, StoreError
from heatgrad.study import Results, Store, StudySpec, run_study
from heatgrad.study.store.database import Database

pytestmark = pytest.mark.cluster


def test_the_table_equals_that_of_one_process(
    spec, server, database, bits, stored_weights, tmp_path
):
    """Two processes write to the server, one to a folder: equal records, table and weights."""
    url = server.url(database)
    here = run_study(spec(), out=tmp_path / "here", workers=0)
    there = run_study(spec(), out=tmp_path / "there", store=url, workers=2)
    assert there.num_missing == 0
    assert bits(there) == bits(here)
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in r.table()]
            for r in (here, there)]  # fmt: skip
    assert rows[0] == rows[1]
    first = stored_weights(Store.open(tmp_path / "here"), here)
    assert first == stored_weights(Store.open(url), there)
    for key, data in server.execute(database, "SELECT key, safetensors FROM weights"):
        assert data == (tmp_path / "here" / "weights" / f"{key}.safetensors").read_bytes()
    assert not (tmp_path / "there").exists()
    again = run_study(spec(), store=url, workers=0, on_progress=lambda *_: pytest.fail("run again"))
    assert again.records == there.records


def test_what_is_not_this_study_is_left_alone(spec, server, database, tmp_path):
    """Another study, somebody's tables, a newer schema: refused in one line, without a password."""
    url = server.url(database)
    server.execute(database, "CREATE TABLE recipes (name TEXT)")
    study = StudySpec.from_dict(spec())
    with pytest.raises(StoreError, match="is not a heatgrad store"):
        Store.create(url, study)
    assert server.execute(database, "SELECT tablename FROM pg_tables "
                          "WHERE schemaname = 'public'") == [("recipes",)]  # fmt: skip
    server.execute(database, "DROP TABLE recipes")
    with pytest.raises(StoreError, match=r"no study in 'postgresql\+psycopg://me:\*\*\*@127"):
        Results.load(url)
    Store.create(url, study).close()
    with pytest.raises(StoreError, match=r"it differs in seeds.*another database with --store"):
        Store.create(url, study.with_seeds(9))
    server.execute(database, "UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    with pytest.raises(StoreError, match=r"has schema 99.*upgrade heatgrad"):
        Results.load(url)


def test_many_may_make_the_same_store(spec, server, database):
    """Eight at once: each finds the tables made, by itself or by another."""
    study = StudySpec.from_dict(spec())
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: Store.create(server.url(database), study), range(8)))
    assert all(store.study == study for store in stores)
    assert server.execute(database, "SELECT count(*) FROM meta") == [(3,)]


def test_a_server_that_is_gone_and_comes_back(spec, server, database, bits, tmp_path, monkeypatch):
    """Stopped after two trials: one line once patience ends; what was stored is there; resumed."""
    monkeypatch.setattr(Database, "patience", 1.0)
    url, done = server.url(database), []

    def stop(epochs, trial):
        done.append(trial.key)
        if len(done) == 2:
            server.stop()

    values = spec(backend="loop")
    try:
        with pytest.raises(RunError, match=r"finished trials are stored, the same command resumes"
                           ) as caught:  # fmt: skip
            run_study(values, store=url, workers=0, on_progress=stop)
        assert "check that the server runs" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "p%40ss" not in str(caught.value)
        with pytest.raises(StoreError, match=r"cannot use the store in .*the server runs"):
            Results.load(url)
    finally:
        server.start()
    assert [r.key for r in Results.load(url).records if r.key in done] == done
    resumed = []
    results = run_study(
        values, store=url, workers=0, on_progress=lambda n, t: resumed.append(t.key)
    )
    assert not set(resumed) & set(done)
    assert bits(results) == bits(run_study(values, out=tmp_path / "whole", workers=0))


def test_a_server_that_is_started_again_stops_nothing(spec, server, database):
    """Three seconds without a server, in the middle of a run: it waits, and goes on."""
    restart = []

    def stop(epochs, trial):
        if not restart:
            server.stop()
            restart.append(threading.Timer(3.0, server.start))
            restart[0].start()

    try:
        values = spec(backend="loop")
        results = run_study(values, store=server.url(database), workers=0, on_progress=stop)
    finally:
        restart[0].join()
    assert results.num_missing == 0


def test_a_full_disk(spec, server, database):
    """The server says so (SQLSTATE 53100, raised by a trigger): one line, nothing half-stored."""
    url = server.url(database)
    Store.create(url, StudySpec.from_dict(spec(backend="loop"))).close()
    server.execute(
        database,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF (SELECT count(*) FROM trials) >= 2 THEN "
        "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END IF; "
        "RETURN NEW; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON trials EXECUTE FUNCTION full_disk()",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "patience", 0.0)
        with pytest.raises(RunError, match=r"could not extend file.*; make room there; finished"):
            run_study(spec(backend="loop"), store=url, workers=0)
    assert server.execute(database, "SELECT count(*) FROM weights") == [(2,)]
    server.execute(database, "DROP TRIGGER full_disk ON trials")
    assert run_study(spec(backend="loop"), store=url, workers=0).num_missing == 0
