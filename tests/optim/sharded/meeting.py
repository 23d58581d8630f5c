"""How the processes of these tests find each other, and leave."""

import os

import torch
import torch.distributed as dist


def meet(rank, world, folder, name="meeting"):
    """Join the other processes."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    meeting = f"file://{folder}/{name}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)


def leave():
    """End this process, when all others are done as well."""
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # on a busy machine gloo's threads may abort while the interpreter is taken down
