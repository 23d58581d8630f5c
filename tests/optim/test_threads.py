"""The threads of the fused CPU kernels: all blocks done once, signals kept, forks survived."""

import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest
import torch
from numba import njit

from heatgrad.optim import DiffusionSGD
from heatgrad.optim.kernels import threads
from heatgrad.optim.kernels.addresses import take_turn

has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
ignores_fork_warning = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@njit(nogil=True)
def mark(done, num_blocks, run, turns, _):
    """Count each block's visits."""
    first = run * take_turn(turns)
    while first < num_blocks:
        for block in range(first, min(first + run, num_blocks)):
            done[block] += 1
        first = run * take_turn(turns)


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


@pytest.mark.parametrize("num_blocks", [1, 2, 7, 100, 10_000])
def test_each_block_is_worked_on_once(way, num_blocks):
    for _ in range(20):
        done = np.zeros(num_blocks, np.int64)
        threads.for_each_run(mark, (done,), num_blocks, 100)
        assert (done == 1).all()


def test_two_threads_are_at_work(way):
    """Each waits for the other, which one thread alone would do for ever."""
    meeting = threading.Barrier(2, timeout=20)

    def work(num_blocks, run, turns, _):
        if num_blocks:
            meeting.wait()

    threads.for_each_run(work, (), 2, 100)
    assert not meeting.broken


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_what_a_signal_raises_is_never_lost(monkeypatch):
    """A handler raises a hundred times, wherever the work then is: as often it arrives."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    done = np.zeros(1000, np.int64)
    sent = caught = 0

    class AlarmError(Exception):
        pass

    def ring(number, frame):
        nonlocal sent
        sent += 1
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        while caught < 100 and sent < 300:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.002)
                while True:
                    threads.for_each_run(mark, (done,), 1000, 1 << 30)
            except AlarmError:
                caught += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught == sent == 100


@has_fork
@ignores_fork_warning
def test_a_forked_child_goes_on(way):
    """OpenMP's threads are not there after a fork; a child that asked for them would hang."""
    threads.for_each_run(mark, (np.zeros(8, np.int64),), 8, 100)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        done = np.zeros(8, np.int64)
        threads.for_each_run(mark, (done,), 8, 100)
        os._exit(0 if (done == 1).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


def step_once(end):
    """Step what is large enough for our threads, of tensors too small for torch's; say so."""
    weights = [torch.nn.Parameter(torch.ones(100, 100)) for _ in range(20)]
    for weight in weights:
        weight.grad = torch.ones(100, 100)
    DiffusionSGD(weights, lr=0.1, momentum=0.9, diffusion=0.1).step()
    end.put(weights[-1][0, 0].item())


@has_fork
@ignores_fork_warning
def test_a_forked_worker_steps():
    """Torch has used its threads in the parent; the worker steps all the same."""
    torch.randn(1000, 1000).mul_(2.0)
    context = multiprocessing.get_context("fork")
    end = context.Queue()
    worker = context.Process(target=step_once, args=(end,), daemon=True)
    worker.start()
    assert end.get(timeout=60) == pytest.approx(0.9)
    worker.join()
