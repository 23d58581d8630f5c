"""On 1 to 4 processes every optimizer does to cut tensors what it does to whole ones."""

import json

import pytest


def compare(run_processes, world, folder, *arguments, seconds=240):
    run_processes("worker.py", world, folder, *arguments, seconds=seconds)
    every = json.loads((folder / "found.json").read_text())
    assert len(every) == world
    for found in every:
        wrong = {case: error for case, (error, _) in found.items() if not error <= 1e-12}
        assert not wrong
    return every


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_cut_tensors_step_as_whole_ones(run_processes, world, tmp_path):
    """Uneven parts, tensors smaller than the world, empty ones; rows, columns, replicas, grids."""
    every = compare(run_processes, world, tmp_path)
    sent = [sum(num_bytes for _, num_bytes in found.values()) for found in every]
    assert all(sent) if world > 1 else not any(sent)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3, 4])
def test_all_boundaries_on_all_paths(run_processes, world, tmp_path):
    compare(run_processes, world, tmp_path, "all", seconds=900)
