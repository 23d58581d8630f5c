"""What replicas do on a GPU, done on the CPU: torch's operations, recorded and replayed.

A stand-in for a CUDA graph records every operation of torch with the tensors it was given, and
does them again on the same memory. So what would go wrong in a graph goes wrong here: a number
that is asked for, state that is bound anew instead of written.
"""

import copy
import importlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from heatgrad.data import Dataset
from heatgrad.models import SimpleMLP
from heatgrad.optim import OPTIMIZERS
from heatgrad.training import LOSSES, EpochRecord, Replica, initialised, train_replicas
from heatgrad.training.replicas import (
    batches,
    graphs,
    loop,
    norm_cpu,
    norm_torch,
    rules,
    tape,
    taped,
)

CURVES = tuple(
    name for name in EpochRecord.__dataclass_fields__ if name not in ("epoch", "seconds")
)
ARMS = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "Adam": {"lr": 0.01, "eps": 1e-3},
    "RMSprop": {"lr": 0.01, "eps": 1e-3},
    "Adagrad": {"lr": 0.01, "eps": 1e-3},
    "DiffusionSGD": {"diffusion": 0.2, "momentum": 0.9, "weight_decay": 1e-3, "max_norm": 1.0},
    "NormMatchedSGD": {"diffusion": 0.2, "momentum": 0.9},
    "PlaceboDiffusionSGD": {"diffusion": 0.2, "momentum": 0.5, "dampening": 0.2},
    "NormMatchedPlaceboSGD": {"diffusion": 0.2, "momentum": 0.5, "weight_decay": 1e-3},
    "LRMatchedSGD": {"diffusion": 0.2, "momentum": 0.9, "nesterov": True, "max_norm": 1.0},
    "LayoutDiffusionSGD": {"diffusion": 0.2, "momentum": 0.9, "max_norm": 1.0},
    "LaplacianSmoothingSGD": {"diffusion": 1.0},
    "DiffusionNesterov": {"dims": 0, "diffusion": 2.0, "weight_decay": 1e-3},
}


# As torch's on a GPU these correct their biases in float32.
ERRORS = {"Adam": 1e-4, "RMSprop": 1e-4}


def data(seed, count=100):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count + 60, 5, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    parts = {"x_train": x[:count], "y_train": y[:count], "x_test": x[count:], "y_test": y[count:]}
    made = Dataset.from_clean(**parts, num_classes=2)
    for name in ("x_train", "x_test"):  # float64, for a check of the arithmetic
        object.__setattr__(made, name, getattr(made, name).double())
    return made


def replicas(sets):
    made = []
    for seed, dataset in enumerate(sets):
        for kind, options in ARMS.items():
            model = initialised(lambda: SimpleMLP((5,), 2, width=12, dropout=0.2), seed=seed)
            model = model.double()
            build = OPTIMIZERS.get(kind) or getattr(torch.optim, kind)
            optimizer = build(model.parameters(), **{"lr": 0.05, **options})
            halves = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5 ** (epoch // 2))
            made.append(Replica(model, optimizer, dataset, seed, halves))
    return made


def tensors(values):
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class _Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        asking = ("_local_scalar_dense", "nonzero", "lift_fresh")  # the last: made on the host
        assert func._schema.name.removeprefix("aten::") not in asking, func
        result = func(*args, **(kwargs or {}))
        if func.namespace != "profiler":
            self.done.append((func, args, kwargs or {}, result))
        return result


class _Recording:
    def __init__(self, done):
        self.done = done

    def replay(self):
        for func, args, kwargs, result in self.done:
            for a, b in zip(tensors(result), tensors(func(*args, **kwargs)), strict=True):
                if a.data_ptr() != b.data_ptr():
                    a.copy_(b)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let everything be done as on a GPU; return the number of recordings made and replayed."""
    counts = {"made": 0, "replayed": 0}

    def record(function):
        before = {id(t): t.clone() for t in memory() if t.numel()}
        with torch.no_grad(), _Recorder() as recorder:
            output = function()
        for tensor in memory():  # recording a graph computes nothing
            if id(tensor) in before:
                tensor.copy_(before[id(tensor)])
        counts["made"] += 1
        recording = _Recording(recorder.done)
        replay = recording.replay

        def counted():
            counts["replayed"] += 1
            replay()

        recording.replay = counted
        return recording, output

    kept = []

    def memory():
        """All that a step may change: the stack, and the state of its rules."""
        found = []
        for run in kept:
            found += [run.stack.values, run.stack.grads, *run.stack.buffers.values()]
            found += [run.passes.losses]
            for rule in run.rules:
                for value in vars(rule).values():
                    if isinstance(value, torch.optim.Optimizer):
                        value = [list(state.values()) for state in value.state.values()]
                    found += tensors(value)
        return found

    def held(self, *args):
        initialise(self, *args)
        kept.append(self)

    initialise = loop._Run.__init__
    monkeypatch.setattr(loop._Run, "__init__", held)
    monkeypatch.setattr(graphs, "record", record)
    monkeypatch.setattr(tape, "is_compiled", lambda device: False)
    for module in (loop, taped, rules):
        monkeypatch.setattr(module, "is_replayed", lambda device: True)
    for name in ("adam", "rmsprop"):
        optimizers = importlib.import_module(f"torch.optim.{name}")
        monkeypatch.setattr(optimizers, "_get_capturable_supported_devices", lambda: ["cpu"])
    plain = batches.Batches.__init__

    def on_device(self, data, seeds, batch_size, device):
        plain(self, data, seeds, batch_size, device)
        self._held = batches._Held(data, device)

    monkeypatch.setattr(batches.Batches, "__init__", on_device)
    return counts


@pytest.mark.parametrize("loss", LOSSES)
def test_all_is_as_on_the_cpu(loss, as_on_a_gpu, monkeypatch):
    """Every optimizer, two blocks, dropout, a short last batch, a rate that halves: 56 steps."""
    sets = [data(seed) for seed in (0, 1)]
    how = {"loss": LOSSES[loss], "epochs": 8, "batch_size": 16}
    ours = replicas(sets)
    found = list(train_replicas(ours, **how))
    made = as_on_a_gpu["made"]
    assert made > len(ARMS)
    assert as_on_a_gpu["replayed"] > 5 * made
    monkeypatch.undo()
    theirs = replicas(sets)
    for epoch, expected in zip(found, train_replicas(theirs, **how), strict=True):
        for place, (a, b) in enumerate(zip(epoch, expected, strict=True)):
            arm = list(ARMS)[place % len(ARMS)]
            error = ERRORS.get(arm, 1e-11)
            for name in CURVES:
                value = pytest.approx(getattr(b, name), rel=10 * error, abs=error)
                assert getattr(a, name) == value, (arm, name)


@pytest.mark.parametrize("dropped", [0, 51])
def test_the_two_norms_are_one(dropped):
    """Forward and backward, against the compiled pass, in float64."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    count, batch, units = 3, 7, 5
    z, dy = draw(count, batch, units), draw(count, batch, units)
    gamma, beta = draw(count, units), draw(count, units)
    bytes_ = torch.randint(0, 256, (2, batch, units), generator=generator, dtype=torch.uint8)
    source = torch.tensor([1, 0, 1])
    found = []
    for kernels in (norm_cpu, norm_torch):
        is_numpy = kernels is norm_cpu
        raw = (lambda t: t.numpy()) if is_numpy else (lambda t: t)
        flat = (lambda t: t.view(count, -1).numpy()) if is_numpy else (lambda t: t)
        y, grad = torch.empty_like(z), dy.clone()
        mean, inv, var, dgamma, dbeta = (torch.empty_like(gamma) for _ in range(5))
        head = (flat(z), raw(gamma), raw(beta), raw(bytes_), raw(source), dropped, 1e-5)
        kernels.forward(*head, flat(y), raw(mean), raw(inv), raw(var))
        rest = (raw(mean), raw(inv), dropped, raw(dgamma), raw(dbeta))
        kernels.backward(flat(grad), flat(z), flat(y), batch, raw(gamma), *rest)
        found.append((y, mean, inv, var, grad, dgamma, dbeta))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_what_cannot_be_done_there_is_refused():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(5, 2)).double()
    one = Replica(model, torch.optim.SGD(model.parameters(), lr=0.1), data(0), 0)
    with pytest.raises(ValueError, match=r"device 'cuda' needs networks that are an MLP"):
        next(
            train_replicas(
                [one], loss=LOSSES["cross_entropy"], epochs=1, batch_size=9, device="cuda"
            )
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_does_what_the_cpu_does():
    sets = [data(seed) for seed in (0, 1)]
    how = {"loss": LOSSES["cross_entropy"], "epochs": 8, "batch_size": 16}
    there, here = replicas(sets), replicas(copy.copy(sets))
    for found, expected in zip(
        train_replicas(there, **how, device="cuda"), train_replicas(here, **how), strict=True
    ):
        for a, b in zip(found, expected, strict=True):
            for name in CURVES:
                assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-9, abs=1e-10)
