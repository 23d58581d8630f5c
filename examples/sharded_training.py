"""DiffusionNesterov under FSDP2 on two processes: the numbers of one process.

Each process holds half of every tensor; the optimizer asks the other for what lies next to the
cuts. Run it with `python examples/sharded_training.py`.
"""

import tempfile

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing import spawn
from torch.nn.functional import cross_entropy

from heatgrad.data import Digits
from heatgrad.optim import DiffusionNesterov, diffusion_groups


def train(model, data, first, last):
    """Train on rows first to last of each batch of 128."""
    groups = diffusion_groups(model, "conv_out")
    optimizer = DiffusionNesterov(groups, lr=0.1, momentum=0.9, weight_decay=1e-4)
    for step in range(40):
        rows = torch.arange(128 * step + first, 128 * step + last) % len(data.x_train)
        optimizer.zero_grad()
        cross_entropy(model(data.x_train[rows].double()), data.y_train[rows]).backward()
        optimizer.step()


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(2, 16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 16, 10)),
    ).double()


def work(rank, world, meeting):
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    data = Digits().load(seed=0)
    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (world,)))
    train(model, data, rank * 128 // world, (rank + 1) * 128 // world)
    parts = {name: param.full_tensor() for name, param in model.named_parameters()}
    if rank == 0:
        alone = network()
        train(alone, data, 0, 128)
        apart = max((parts[n] - p).abs().max().item() for n, p in alone.named_parameters())
        accuracy = (alone(data.x_test.double()).argmax(1) == data.y_test).double().mean().item()
        print(f"accuracy {accuracy:.3f}; FSDP2 on {world} processes differs by {apart:.1e}")
        assert accuracy > 0.9
        assert apart < 1e-9
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        spawn(work, (2, f"file://{folder}/meeting"), nprocs=2)
