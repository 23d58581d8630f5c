"""What must be so before any test module is imported."""

import os

import torch

if not torch.cuda.is_available():
    # Triton's kernels are then interpreted; it decides when it is imported, which others may do.
    os.environ["TRITON_INTERPRET"] = "1"
