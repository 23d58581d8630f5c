"""The threads of the fused CPU kernels: all runs done once, errors kept, forks survived."""

import os
import signal
import threading

import pytest
import torch

from heatgrad.optim.kernels import threads


@pytest.fixture(params=["OpenMP", "pool"])
def way(request, monkeypatch):
    """Two threads, of torch's OpenMP or of our pool."""
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    if request.param == "pool":
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    elif threads._openmp() is None:
        pytest.skip("torch has no OpenMP library here")
    return request.param


@pytest.mark.parametrize("num_blocks", [1, 2, 7, 100])
def test_each_block_is_worked_on_once(way, num_blocks):
    done, by = [], set()

    def work(first, last):
        done.extend(range(first, last))
        by.add(threading.get_ident())

    threads.for_each_run(work, num_blocks, 100)
    assert sorted(done) == list(range(num_blocks))
    assert len(by) <= 2


def test_two_threads_are_at_work(way):
    """Each waits for the other, which one thread alone would do for ever."""
    meeting = threading.Barrier(2, timeout=20)
    threads.for_each_run(lambda first, last: first < 2 and meeting.wait(), 2, 100)


def test_an_error_comes_back(way):
    def work(first, last):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.for_each_run(work, 8, 100)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_goes_on(way):
    """OpenMP's threads are not there after a fork; a child that asked for them would hang."""
    threads.for_each_run(lambda first, last: None, 8, 100)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        done = []
        threads.for_each_run(lambda first, last: done.extend(range(first, last)), 8, 100)
        os._exit(0 if sorted(done) == list(range(8)) else 1)
    assert os.waitpid(child, 0)[1] == 0
