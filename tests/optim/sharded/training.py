"""FSDP2 and DDP on a small network, and checkpoints that change the number of processes.

Run as `python training.py RANK WORLD FOLDER PHASE`. `first` trains for three steps and saves;
`second-...` loads that with another number of processes and trains for two more; `whole` does all
five steps without any of it and writes the parameters to FOLDER. `second-...` and `ddp` compare.
"""

import sys

import torch
import torch.distributed.checkpoint as dcp
from meeting import leave, meet
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from heatgrad.optim import DiffusionNesterov, DiffusionSGD, diffusion_groups

BUILDS = {
    "velocity": lambda model: DiffusionNesterov(
        diffusion_groups(model, "conv_out", "norm_weight"), lr=0.05, weight_decay=0.01
    ),
    "chain": lambda model: DiffusionSGD(
        model.parameters(), lr=0.05, momentum=0.9, diffusion=0.2, max_norm=1.0
    ),
}


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 7, 3),
            nn.GroupNorm(1, 7),
            nn.ReLU(),
            nn.Conv2d(7, 5, 3),
            nn.Flatten(),
            nn.Linear(5 * 16, 3),
        ).double()


def train(model, optimizer, steps):
    """Each process sees the same batch, so that means over processes change nothing."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(6, 1, 8, 8, generator=generator, dtype=torch.float64)
        labels = torch.randint(3, (6,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def sharded(mesh):
    model = network()
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def main(rank, world, folder, phase):
    meet(rank, world, folder, phase)
    mesh = init_device_mesh("cpu", (world,))
    for name, build in BUILDS.items():
        model = network() if phase in ("whole", "ddp") else sharded(mesh)
        optimizer = build(model)
        saved = f"{folder}/{name}"
        if phase == "whole":
            train(model, optimizer, range(5))
            torch.save(model.state_dict(), f"{folder}/{name}.pt")
            continue
        if phase == "first":
            train(model, optimizer, range(3))
            state, moments = get_state_dict(model, optimizer)
            dcp.save({"model": state, "optimizer": moments}, checkpoint_id=saved)
            continue
        if phase.startswith("second"):
            state, moments = get_state_dict(model, optimizer)
            dcp.load({"model": state, "optimizer": moments}, checkpoint_id=saved)
            set_state_dict(model, optimizer, model_state_dict=state, optim_state_dict=moments)
            train(model, optimizer, range(3, 5))
        else:
            train(DistributedDataParallel(model), optimizer, range(5))
        wholes = torch.load(f"{folder}/{name}.pt", weights_only=True)
        for key, param in model.named_parameters():
            ours = param.full_tensor() if phase.startswith("second") else param
            torch.testing.assert_close(ours.detach(), wholes[key], rtol=1e-10, atol=1e-12)
    leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
