import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from heatgrad.core.errors import DataError
from heatgrad.data import MNIST, FashionMNIST

needs_data = pytest.mark.skipif(
    not os.environ.get("HEATGRAD_DATA"), reason="HEATGRAD_DATA is not set: no real images"
)
SETS = pytest.mark.parametrize("task_type", [MNIST, FashionMNIST])


def write(path, array, pack):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    if pack:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def small_set(root, name, *, pack=True, num_labels=200):
    rng = np.random.default_rng(0)
    arrays = {}
    for prefix, n in (("train", 200), ("t10k", 100)):
        images, labels = rng.integers(0, 256, (n, 28, 28)), np.arange(n) % 10
        write(root / name / "raw" / f"{prefix}-images-idx3-ubyte", images, pack)
        kept = labels[:num_labels] if prefix == "train" else labels
        write(root / name / "raw" / f"{prefix}-labels-idx1-ubyte", kept, pack)
        arrays[prefix] = images, labels
    return arrays


@SETS
@pytest.mark.parametrize("pack", [True, False])
def test_reads_files_in_order(tmp_path, task_type, pack):
    """Pixels / 255, less the mean, over the deviation of the documentation, in file order."""
    arrays = small_set(tmp_path, task_type.__name__, pack=pack)
    data = task_type(root=tmp_path).load(0)
    mean, std = {"MNIST": (0.1307, 0.3081), "FashionMNIST": (0.2860, 0.3530)}[task_type.__name__]
    for x, y, key in [(data.x_train, data.y_train, "train"), (data.x_test, data.y_test, "t10k")]:
        images, labels = arrays[key]
        expected = torch.from_numpy((images[:, None] / 255 - mean) / std)
        torch.testing.assert_close(x.double(), expected, atol=1e-6, rtol=1e-6)
        assert y.tolist() == labels.tolist()
    assert data.input_shape == (1, 28, 28)
    assert data.ceiling is None


def test_subsets_are_stratified_and_seeded(tmp_path):
    """50 of 200 images with ten equal classes: five of each, other ones for another seed."""
    small_set(tmp_path, "MNIST")
    task = MNIST(root=str(tmp_path), num_train=50, num_test=20)
    first, again, other = task.load(0), task.load(0), task.load(1)
    assert torch.bincount(first.y_train).tolist() == [5] * 10
    assert torch.bincount(first.y_test).tolist() == [2] * 10
    assert torch.equal(first.x_train, again.x_train)
    assert not torch.equal(first.x_train, other.x_train)
    assert len({tuple(x.flatten().tolist()) for x in first.x_train}) == 50


def one_line(task):
    with pytest.raises(DataError) as info:
        task.load(0)
    assert "\n" not in str(info.value)
    return str(info.value)


@SETS
def test_missing_file_names_path_source_and_remedy(tmp_path, task_type):
    """All three in one line, for whichever file is missing."""
    name = task_type.__name__
    message = one_line(task_type(root=str(tmp_path)))
    assert str(tmp_path / name / "raw" / "train-images-idx3-ubyte.gz") in message
    assert "$HEATGRAD_DATA" in message
    source = {"MNIST": "yann.lecun.com/exdb/mnist", "FashionMNIST": "zalandoresearch/fashion-mnist"}
    assert source[name] in message
    small_set(tmp_path, name)
    (tmp_path / name / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert "t10k-labels-idx1-ubyte.gz" in one_line(task_type(root=str(tmp_path)))


def test_damaged_file_names_itself_and_its_bytes(tmp_path):
    """200 images of 784 pixels and 16 header bytes are 156,816 bytes."""
    small_set(tmp_path, "MNIST")
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:5000])
    message = one_line(MNIST(root=str(tmp_path)))
    assert str(path) in message
    assert "156816 unpacked bytes required" in message


def test_count_mismatch_and_wrong_contents(tmp_path):
    """200 images and 190 labels; images of another size; labels beyond 9."""
    small_set(tmp_path, "MNIST", num_labels=190)
    assert "holds 200 images but" in one_line(MNIST(root=str(tmp_path)))
    raw = tmp_path / "MNIST" / "raw"
    write(raw / "train-labels-idx1-ubyte", np.full(200, 10), pack=False)
    assert "must hold labels 0..9, found 10" in one_line(MNIST(root=str(tmp_path)))
    write(raw / "train-images-idx3-ubyte", np.zeros((200, 20, 20)), pack=False)
    assert "28 by 28 pixels, found 20 by 20" in one_line(MNIST(root=str(tmp_path)))


def test_where_the_root_comes_from(tmp_path, monkeypatch):
    """`root`, else $HEATGRAD_DATA, else ~/.cache/heatgrad."""
    monkeypatch.setenv("HEATGRAD_DATA", str(tmp_path / "variable"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert str(tmp_path / "argument" / "MNIST") in one_line(MNIST(root=str(tmp_path / "argument")))
    assert str(tmp_path / "variable" / "MNIST") in one_line(MNIST())
    monkeypatch.delenv("HEATGRAD_DATA")
    assert str(tmp_path / "home" / ".cache" / "heatgrad" / "MNIST") in one_line(MNIST())


def test_options(tmp_path):
    """Sizes beyond the files are refused when they are read; paths are kept as text."""
    small_set(tmp_path, "MNIST")
    with pytest.raises(ValueError, match="num_train must be at most 200"):
        MNIST(root=str(tmp_path), num_train=201).load(0)
    assert MNIST(root=Path("a")) == MNIST(root="a")


@needs_data
def test_mnist_class_counts():
    """The published counts per class, and a mean and deviation of about 0 and 1."""
    data = MNIST().load(0)
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert torch.bincount(data.y_train).tolist() == train
    assert torch.bincount(data.y_test).tolist() == test
    assert data.x_train.mean().item() == pytest.approx(0, abs=1e-3)
    assert data.x_train.std().item() == pytest.approx(1, abs=1e-3)


@needs_data
def test_fashion_class_counts():
    """6,000 and 1,000 per class; a mean and deviation of about 0 and 1."""
    data = FashionMNIST().load(0)
    assert torch.bincount(data.y_train).tolist() == [6000] * 10
    assert torch.bincount(data.y_test).tolist() == [1000] * 10
    assert data.x_train.mean().item() == pytest.approx(0, abs=1e-3)
    assert data.x_train.std().item() == pytest.approx(1, abs=1e-3)
