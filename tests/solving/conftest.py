"""Shared parts of these tests: a cache of their own, and a prior of seconds."""

import pytest

from heatgrad.solving import PriorSpec, train_prior

TINY = {
    "problem": "darcy",
    "options": {"n": 17},
    "modes": 8,
    "pairs": 64,
    "copies": 8,
    "epochs": 2,
    "average": 0.9,
    "batch_size": 32,
    "network": {"options": {"patch": 4, "width": 16, "depth": 1, "heads": 2}},
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Keep priors and their data in a folder of the test's own."""
    monkeypatch.setenv("HEATGRAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny():
    """Return the function `(**changes) -> PriorSpec` of a prior that trains in a second."""
    return lambda **changes: PriorSpec.from_dict(TINY | changes)


@pytest.fixture(scope="session")
def trained_cache(tmp_path_factory):
    """Train the tiny prior once, and return the cache that holds it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEATGRAD_CACHE", str(folder))
        train_prior(PriorSpec.from_dict(TINY))
    return folder


@pytest.fixture
def trained(trained_cache, monkeypatch):
    """Let the cache with the tiny prior be the one that is read."""
    monkeypatch.setenv("HEATGRAD_CACHE", str(trained_cache))
    return PriorSpec.from_dict(TINY)
