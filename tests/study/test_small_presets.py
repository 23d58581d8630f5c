"""The small forms of the presets: every arm, for an epoch of a few images."""

import tomllib

import numpy as np
import pytest

from heatgrad.study import SMALL, load_study, run_study


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A CIFAR-10 of noise, of the size that the presets ask for."""
    rng = np.random.default_rng(0)
    parts = {"train": 5000, "test": 2000}
    arrays = {
        f"{part}_images": rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        for part, n in parts.items()
    }
    arrays |= {f"{part}_labels": np.arange(n) % 10 for part, n in parts.items()}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    monkeypatch.setenv("HEATGRAD_DATA", str(tmp_path))


@pytest.mark.parametrize("name", SMALL)
def test_every_arm_of_a_small_preset_trains(name, images, tmp_path):
    """One block, one epoch, 192 of the images."""
    if name == "schedule":
        pytest.importorskip("kornia")
    spec = tomllib.loads(SMALL[name].read_text(encoding="utf-8"))
    spec |= {"seeds": 1, "epochs": 1, "metric_epochs": 1}
    if "schedule" in spec:
        spec["schedule"] |= {"first": 1}  # a fall that one epoch suffices for
    for task in spec["tasks"].values():
        task |= {"num_train": 192, "num_test": 64}
    study = load_study(spec)
    results = run_study(study, out=tmp_path / "run", workers=0)
    assert results.num_missing == 0
    assert len(study.arms) <= 8
    for record in results.records:
        assert record.status == "finished" or record.arm.startswith("D = ")
