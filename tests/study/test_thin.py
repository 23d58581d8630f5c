"""A thin copy: the same verdicts from the last epochs alone."""

import pytest

from heatgrad.core.errors import StoreError
from heatgrad.study import Results, run_study
from heatgrad.study.thin import thin


def test_the_verdicts_are_the_same(spec, tmp_path):
    """Every final value, and so every word and number; weights stay behind."""
    whole = run_study(spec(seeds=8), out=tmp_path / "whole", workers=0)
    count = thin(tmp_path / "whole", tmp_path / "thin")
    copy = Results.load(tmp_path / "thin")
    assert count == len(copy.records) == len(whole.records)
    assert copy.num_missing == 0
    assert copy.verdicts() == whole.verdicts()
    assert {len(r.curves["test_loss"]) for r in copy.records} == {1}
    assert not list((tmp_path / "thin").glob("weights/*"))
    with pytest.raises(StoreError, match="holds a study already"):
        thin(tmp_path / "whole", tmp_path / "thin")


def test_there_must_be_a_study(tmp_path):
    with pytest.raises(StoreError, match="no study in"):
        thin(tmp_path / "nothing", tmp_path / "thin")
    assert not (tmp_path / "thin").exists()
