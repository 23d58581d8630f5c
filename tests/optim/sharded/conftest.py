"""Several processes that talk to each other through gloo, on the CPU."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
# Run by the tests, in processes of their own.
collect_ignore = ["meeting.py", "traffic.py", "training.py", "worker.py"]


@pytest.fixture(scope="session")
def run_processes():
    """Return a function that runs a script in `world` processes; any failure fails the test."""

    def run(script, world, *arguments, seconds=240):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        command = [sys.executable, str(FOLDER / script)]
        processes = [
            subprocess.Popen(
                [*command, str(rank), str(world), *map(str, arguments)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        stop = time.monotonic() + seconds
        errors = []
        try:
            for process in processes:
                _, words = process.communicate(timeout=max(1, stop - time.monotonic()))
                if process.returncode != 0:
                    errors.append(words[-3000:])
        finally:
            for process in processes:
                process.kill()
        assert not errors, "\n".join(errors)

    return run
