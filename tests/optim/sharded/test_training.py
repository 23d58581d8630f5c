"""A network under FSDP2 and DDP against the same network on one process."""

import pytest

# One worker makes the folder that all of these tests read.
pytestmark = pytest.mark.xdist_group("sharded training")


@pytest.fixture(scope="module")
def trained(run_processes, tmp_path_factory):
    """Five steps on one process, and the checkpoint after three steps on two processes."""
    folder = tmp_path_factory.mktemp("trained")
    run_processes("training.py", 1, folder, "whole")
    run_processes("training.py", 2, folder, "first")
    return folder


@pytest.mark.parametrize("world", [1, 3])
def test_fsdp_trains_as_one_process_through_a_checkpoint_that_reshards(
    run_processes, world, trained
):
    """Three steps on 2 processes, a distributed checkpoint, and two on more or fewer."""
    run_processes("training.py", world, trained, f"second-{world}")


def test_ddp_trains_as_one_process(run_processes, trained):
    run_processes("training.py", 2, trained, "ddp")
