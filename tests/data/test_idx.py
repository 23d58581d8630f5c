"""Files are written here byte by byte from the format's description, not by our code."""

import gzip
import struct

import numpy as np
import pytest
import torch

from heatgrad.core.errors import DataError
from heatgrad.data import read_idx


def idx_bytes(array, *, code=8):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 3))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_what_was_written(tmp_path, images, pack):
    """The array written by numpy comes back, packed or not, whatever the file is called."""
    path = tmp_path / "images"
    path.write_bytes(pack(idx_bytes(images)))
    read = read_idx(path, ndim=3)
    assert read.dtype == torch.uint8
    assert np.array_equal(read.numpy(), images)


def fault_of(path, ndim=3):
    with pytest.raises(DataError) as info:
        read_idx(path, ndim=ndim)
    message = str(info.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(("cut", "found"), [(-1, 120), (20, 20), (16, 16), (9, 9), (2, 2), (0, 0)])
def test_truncated_plain_file(tmp_path, images, cut, found):
    """16 header bytes and 7 x 5 x 3 = 105 entries are 121 bytes; the message says how many came."""
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(images)[:cut] if cut else b"")
    message = fault_of(path)
    assert f"{found} found" in message
    assert ("121 bytes required" if found >= 16 else "at least 16 bytes required") in message


def test_trailing_bytes(tmp_path, images):
    """One byte too many is a damaged file, too."""
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(images) + b"\0")
    assert "121 bytes required, 122 found" in fault_of(path)


def test_truncated_gzip(tmp_path):
    """Cut gzip streams at many places: always one line with the bytes required and found."""
    array = np.random.default_rng(1).integers(0, 256, (20, 100, 100))
    packed = gzip.compress(idx_bytes(array))
    path = tmp_path / "images.gz"
    for cut in (len(packed) - 1, len(packed) - 8, len(packed) // 2, 1000):
        path.write_bytes(packed[:cut])
        message = fault_of(path)
        assert "the gzip stream ends early" in message
        assert "200016 unpacked bytes required" in message
    path.write_bytes(packed[:12])
    assert "at least 16 unpacked bytes required" in fault_of(path)


def test_corrupt_gzip(tmp_path, images):
    """A flipped byte inside the stream, or in its check sum, is found."""
    packed = bytearray(gzip.compress(idx_bytes(images)))
    path = tmp_path / "images.gz"
    for position in (len(packed) // 2, len(packed) - 6):
        broken = packed.copy()
        broken[position] ^= 0xFF
        path.write_bytes(broken)
        assert "is damaged" in fault_of(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 a zip file", "must begin with 00 00 08 03, found 50 4b 03 04"),
        (idx_bytes(np.zeros((2, 2, 2)), code=0x0D), "found 00 00 0d 03"),
        (idx_bytes(np.zeros(8)), "found 00 00 08 01"),
    ],
)
def test_wrong_magic(tmp_path, content, message):
    """Another format, another type, another number of dimensions."""
    path = tmp_path / "images"
    path.write_bytes(content)
    assert message in fault_of(path)


def test_missing_and_unreadable(tmp_path):
    """The path is named."""
    assert "no file at" in fault_of(tmp_path / "nothing")
    assert "cannot read" in fault_of(tmp_path)
