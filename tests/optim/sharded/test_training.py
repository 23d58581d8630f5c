"""A network under FSDP2 and DDP against the same network on one process."""

import pytest


@pytest.mark.parametrize("second", [1, 3])
def test_fsdp_trains_as_one_process_through_a_checkpoint_that_reshards(
    run_processes, second, tmp_path
):
    """Five steps whole equal three on 2 processes, a distributed checkpoint, and two on others."""
    run_processes("training.py", 1, tmp_path, "whole")
    run_processes("training.py", 2, tmp_path, "first")
    run_processes("training.py", second, tmp_path, "second")


def test_ddp_trains_as_one_process(run_processes, tmp_path):
    run_processes("training.py", 1, tmp_path, "whole")
    run_processes("training.py", 2, tmp_path, "ddp")
