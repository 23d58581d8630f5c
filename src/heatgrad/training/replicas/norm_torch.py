"""Batch normalisation, ReLU and dropout of many replicas in torch's operations, on any device."""

import torch
from torch import Tensor

__all__ = ["backward", "forward"]


def forward(
    z: Tensor,
    gamma: Tensor,
    beta: Tensor,
    bytes_: Tensor,
    source: Tensor,
    dropped: int,
    eps: float,
    y: Tensor,
    mean: Tensor,
    inv: Tensor,
    var: Tensor,
) -> None:
    """Do what `norm_cpu.forward` does.

    Args:
        z: Inputs, shape (replicas, batch, units).
        gamma: Scales, shape (replicas, units).
        beta: Shifts, shape (replicas, units).
        bytes_: Random bytes of each source, shape (sources, batch, units).
        source: The source of each replica.
        dropped: How many of the 256 values of a byte drop an element.
        eps: Added to the variance.
        y: Outputs, as z.
        mean: Shape (replicas, units).
        inv: Shape (replicas, units).
        var: Biased variances, shape (replicas, units).
    """
    found = torch.var_mean(z, 1, correction=0)
    var.copy_(found[0])
    mean.copy_(found[1])
    torch.rsqrt(var + eps, out=inv)
    normal = (z - mean.unsqueeze(1)) * inv.unsqueeze(1)
    torch.clamp_min(torch.addcmul(beta.unsqueeze(1), normal, gamma.unsqueeze(1)), 0.0, out=y)
    if dropped:
        y.mul_((bytes_[source] >= dropped).to(y.dtype).mul_(256 / (256 - dropped)))


def backward(
    dy: Tensor,
    z: Tensor,
    y: Tensor,
    num_rows: int,
    gamma: Tensor,
    mean: Tensor,
    inv: Tensor,
    dropped: int,
    dgamma: Tensor,
    dbeta: Tensor,
) -> None:
    """Do what `norm_cpu.backward` does: turn dy into the gradient by the inputs."""
    dy.mul_((y > 0).to(dy.dtype).mul_(256 / (256 - dropped)))
    normal = (z - mean.unsqueeze(1)) * inv.unsqueeze(1)
    torch.sum(dy, 1, out=dbeta)
    torch.sum(dy * normal, 1, out=dgamma)
    dy.sub_((dbeta.unsqueeze(1) + normal * dgamma.unsqueeze(1)) / num_rows)
    dy.mul_((gamma * inv).unsqueeze(1))
