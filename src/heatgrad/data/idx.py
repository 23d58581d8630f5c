"""Reader of IDX files, the format of MNIST, packed by gzip or not."""

import math
import struct
import zlib
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from heatgrad.core.errors import DataError

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | Path, *, ndim: int) -> UInt8[Tensor, "..."]:
    """Return the array in an IDX file of unsigned bytes.

    The file is two zero bytes, a type code (8: unsigned byte), the number of dimensions, the
    dimensions as big-endian 32-bit integers, then the entries, last dimension fastest. Whether
    it is packed by gzip is read from its first bytes, not from its name.

    Args:
        path: The file.
        ndim: Number of dimensions it must have: 3 for images, 1 for labels.

    Raises:
        DataError: If the file is missing, is not such a file, or has too few or too many
            bytes; one line with the path, the bytes required and the bytes found.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "labels-idx1-ubyte"
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        ...     read_idx(path, ndim=1).tolist()
        [7, 2, 1]
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"no file at '{path}'") from None
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error}") from error
    fault = ""
    if content.startswith(_GZIP_MAGIC):
        content, fault = _unpack(content)

    header = 4 + 4 * ndim
    magic = bytes([0, 0, _UNSIGNED_BYTE, ndim])
    if len(content) >= 4 and content[:4] != magic:
        raise DataError(
            f"'{path}' is not an IDX file of unsigned bytes in {ndim} dimensions: it must begin "
            f"with {magic.hex(' ')}, found {content[:4].hex(' ')}"
        )
    if len(content) < header:
        raise _damaged(path, f"at least {header}", len(content), fault)
    shape = struct.unpack(f">{ndim}I", content[4:header])
    required = header + math.prod(shape)
    if len(content) != required or fault:
        raise _damaged(path, str(required), len(content), fault)
    # A bytearray, because PyTorch wants memory it may write to.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[header:].reshape(shape)


def _damaged(path: Path, required: str, found: int, fault: str) -> DataError:
    reason = f" ({fault})" if fault else ""
    unit = "unpacked bytes" if fault else "bytes"
    return DataError(
        f"'{path}' is damaged{reason}: {required} {unit} required, {found} found; fetch it again"
    )


def _unpack(packed: bytes) -> tuple[bytes, str]:
    """Return what can be unpacked of a gzip stream, and what is wrong with it, if anything."""
    stream = zlib.decompressobj(wbits=31)
    parts = []
    try:
        for start in range(0, len(packed), 1 << 16):
            parts.append(stream.decompress(packed[start : start + (1 << 16)]))
    except zlib.error as error:
        return b"".join(parts), f"gzip: {error}"
    return b"".join(parts), "" if stream.eof else "the gzip stream ends early"
