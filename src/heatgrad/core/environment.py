"""What a trial ran on: versions, hardware, commit."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import heatgrad
from heatgrad.core.errors import SpecError

__all__ = ["check_device", "describe_environment", "is_out_of_memory"]


@cache
def describe_environment(device: str = "cpu") -> dict[str, Any]:
    """Return versions, processor and commit as plain values.

    Args:
        device: Where trials are trained.
    """
    gpu = {} if device == "cpu" else {"gpu": torch.cuda.get_device_name()}
    return gpu | {
        "heatgrad": heatgrad.__version__,
        "commit": _commit(),
        "modified": _is_modified(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": 1,
    }


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        SpecError: With the remedy.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SpecError(
            f"device 'cuda' needs a GPU and a PyTorch that is built for it, got PyTorch "
            f"{torch.__version__} that sees none; use device = 'cpu'"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the machine or of a GPU.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError())
        (True, False)
    """
    is_full = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return is_full or "can't allocate memory" in str(error)  # torch's words on a CPU


def _is_modified() -> bool | None:
    """Whether tracked files differ from that commit; None for an installed package."""
    if _commit() is None:
        return None
    here = str(Path(__file__).resolve().parent)
    try:
        status = subprocess.run(
            ["git", "-C", here, "status", "--porcelain", "--untracked-files=no", ":/src"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return bool(status.strip())


def _commit() -> str | None:
    """Return the commit of a source checkout, or None for an installed package."""
    here = Path(__file__).resolve().parent
    try:
        top = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--show-toplevel", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.split("\n")
    except (OSError, subprocess.SubprocessError):
        return None
    is_source = Path(top[0], "src", "heatgrad").resolve() == here.parent
    return top[1] if is_source else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
