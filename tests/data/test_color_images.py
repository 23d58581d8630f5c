"""CIFAR and SVHN by folder: the published layouts, written small and read again."""

import pickle
import tokenize
import zlib

import numpy as np
import pytest
import torch
from scipy.io import savemat

from heatgrad.core.errors import DataError
from heatgrad.data import CIFAR10, CIFAR100, SVHN, Pixels


def drawn(n, num_classes, seed=0):
    """Return images of shape (n, 3, 32, 32) and labels in turn."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), np.arange(n) % num_classes


def normalised(images, pixels):
    x = images.astype(np.float64) / 255
    mean, std = (np.array(v)[:, None, None] for v in (pixels.mean, pixels.std))
    return torch.from_numpy((x - mean) / std)


def write_batches(root):
    """Write CIFAR-10 as published: five batches and one, rows of 3072 bytes, labels in a list."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images, labels = drawn(60, 10)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for number, name in enumerate(names):
        part = slice(10 * number, 10 * number + 10)
        batch = {b"data": images[part].reshape(10, -1), b"labels": labels[part].tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return images, labels


def write_archive(path, *, last, num_classes):
    (train, y_train), (test, y_test) = drawn(40, num_classes), drawn(20, num_classes, seed=1)
    if last:
        train, test = (np.moveaxis(x, 1, -1) for x in (train, test))
    np.savez(path, train_images=train, train_labels=y_train, test_images=test, test_labels=y_test)
    return drawn(40, num_classes)


def write_mat(root, names=("train", "test", "extra")):
    (root / "SVHN").mkdir()
    arrays = {}
    for number, name in enumerate(names):
        images, labels = drawn(20, 10, seed=number)
        arrays[name] = images, labels
        content = {"X": np.moveaxis(images, (0, 1), (3, 2)), "y": np.where(labels, labels, 10)}
        content["y"] = content["y"][:, None].astype(np.uint8)
        savemat(root / "SVHN" / f"{name}_32x32.mat", content)
    return arrays


def check(x, y, images, labels, pixels):
    torch.testing.assert_close(x.double(), normalised(images, pixels), atol=1e-6, rtol=1e-6)
    assert y.tolist() == labels.tolist()


def test_cifar10_as_published(tmp_path):
    images, labels = write_batches(tmp_path)
    data = CIFAR10(root=tmp_path).load(0)
    check(data.x_train, data.y_train, images[:50], labels[:50], data.pixels)
    check(data.x_test, data.y_test, images[50:], labels[50:], data.pixels)
    assert data.input_shape == (3, 32, 32)
    assert data.pixels == Pixels((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(("task", "classes"), [(CIFAR10, 10), (CIFAR100, 100)])
def test_an_archive_of_arrays(tmp_path, task, classes, last):
    images, labels = write_archive(tmp_path / f"cifar{classes}.npz", last=last, num_classes=classes)
    data = task(root=tmp_path).load(0)
    check(data.x_train, data.y_train, images, labels, data.pixels)
    assert (len(data.y_test), data.num_classes) == (20, classes)


def test_cifar100_has_its_fine_labels(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    images, labels = drawn(200, 100)
    for name, part in (("train", slice(0, 150)), ("test", slice(150, 200))):
        batch = {
            b"data": images[part].reshape(-1, 3072),
            b"fine_labels": labels[part].tolist(),
            b"coarse_labels": [0] * len(labels[part]),
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    data = CIFAR100(root=tmp_path).load(0)
    check(data.x_train, data.y_train, images[:150], labels[:150], data.pixels)
    check(data.x_test, data.y_test, images[150:], labels[150:], data.pixels)


@pytest.mark.parametrize("extra", [False, True])
def test_svhn(tmp_path, extra):
    """Height, width, channel, image in the file; ten is zero."""
    arrays = write_mat(tmp_path)
    data = SVHN(root=tmp_path, extra=extra).load(0)
    names = ["train", "extra"] if extra else ["train"]
    images, labels = (np.concatenate([arrays[name][i] for name in names]) for i in (0, 1))
    check(data.x_train, data.y_train, images, labels, data.pixels)
    check(data.x_test, data.y_test, *arrays["test"], data.pixels)


def test_a_subset_keeps_the_proportions(tmp_path):
    write_batches(tmp_path)
    data = CIFAR10(root=tmp_path, num_train=20, num_test=10, label_noise=0.1).load(3)
    assert torch.bincount(data.y_train_clean).tolist() == [2] * 10
    assert data.pixels is not None
    with pytest.raises(ValueError, match="num_train must be at most 50, the number of images of"):
        CIFAR10(root=tmp_path, num_train=51).load(0)


class Harmful:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Harmful()), "it names builtins.print, which is no array"),
        (b"not a pickle", "must be a pickled batch as published, but cannot be read"),
        (b"", "must be a pickled batch as published, .*; fetch it again from https"),
        (b"c__builtin__\n\xff\n.", "must be a pickled batch as published"),
        (pickle.dumps([1, 2]), r"must hold 'data', found \[\]"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8)}), r"must hold 'labels', found"),
        (
            pickle.dumps({b"data": np.zeros((2, 10), np.uint8), b"labels": [0, 1]}),
            r"rows of 3072 pixels, found shape \(2, 10\)",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [[0], [0, 1]]}),
            "must be a pickled batch as published, but cannot be read",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": None}),
            r"one label for each of its 2 images, found shape \(\)",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0.0, 1.5]}),
            "must hold labels of an integer type, found float64",
        ),
    ],
)
def test_damaged_batches_are_named_and_run_nothing(tmp_path, capsys, content, message):
    write_batches(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        CIFAR10(root=tmp_path).load(0)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(
        DataError, match=r"cifar-10-batches-py' nor at '.*cifar10.npz'; CIFAR-10 is"
    ):
        CIFAR10(root=tmp_path).load(0)
    with pytest.raises(DataError, match=r"no file at '.*train_32x32.mat'; SVHN is published at"):
        SVHN(root=tmp_path).load(0)
    write_batches(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(DataError, match=r"no file at '.*test_batch'"):
        CIFAR10(root=tmp_path).load(0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"^'[^']*cifar10.npz' must hold the array 'train_images', found \[\]$"),
        (
            {"train_images": np.zeros((2, 28, 28), np.uint8), "train_labels": np.zeros(2, int)},
            r"32 by 32 pixels of 8 bits, found uint8 of shape \(2, 28, 28\)",
        ),
        (
            {"train_images": np.zeros((2, 3, 32, 32)), "train_labels": np.zeros(2, int)},
            "of 8 bits, found float64",
        ),
        (
            {"train_images": np.zeros((2, 3, 32, 32), np.uint8), "train_labels": np.zeros(3, int)},
            r"one label for each of its 2 images, found shape \(3,\)",
        ),
        (
            {"train_images": np.zeros((2, 3, 32, 32), np.uint8), "train_labels": np.array([0, 10])},
            "labels 0 to 9, found 0 to 10",
        ),
        (
            {"train_images": np.zeros((2, 3, 32, 32), np.uint8), "train_labels": np.ones(2)},
            "labels of an integer type, found float64",
        ),
    ],
)
def test_archives_that_do_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "cifar10.npz", **arrays)
    with pytest.raises(DataError, match=message):
        CIFAR10(root=tmp_path).load(0)


def test_a_damaged_archive_and_a_damaged_mat(tmp_path):
    (tmp_path / "cifar10.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"must be an .npz of arrays, .*; make it again"):
        CIFAR10(root=tmp_path).load(0)
    write_mat(tmp_path)
    (tmp_path / "SVHN" / "test_32x32.mat").write_bytes(b"MATLAB 5.0 nothing")
    with pytest.raises(DataError, match=r"must be a .mat file, but .*; fetch it again from http"):
        SVHN(root=tmp_path).load(0)
    savemat(
        tmp_path / "SVHN" / "test_32x32.mat", {"X": np.zeros((32, 32, 3, 2), "u1"), "y": [1.5, 2]}
    )
    with pytest.raises(DataError, match="labels of an integer type, found float64"):
        SVHN(root=tmp_path).load(0)
    savemat(tmp_path / "SVHN" / "test_32x32.mat", {"X": np.zeros(3)})
    with pytest.raises(DataError, match="must hold images 'X' and labels 'y', found"):
        SVHN(root=tmp_path).load(0)


def write_ten(root):
    write_archive(root / "cifar10.npz", last=False, num_classes=10)


@pytest.mark.parametrize(
    "error",
    [zlib.error("Error -3"), tokenize.TokenError("EOF"), LookupError(), TypeError("x\n" * 300)],
)
@pytest.mark.parametrize(
    ("task", "write", "reader", "place"),
    [
        (CIFAR10, write_batches, "heatgrad.data.cifar._ArraysOnly.load", "data_batch_1"),
        (CIFAR10, write_ten, "numpy.load", "cifar10.npz"),
        (SVHN, write_mat, "scipy.io.loadmat", "train_32x32.mat"),
    ],
)
def test_what_a_reader_raises_is_one_line(tmp_path, monkeypatch, task, write, reader, place, error):
    """Errors that were seen of files with a few changed bytes; reasons are cut to 200 letters."""

    def fail(*arguments, **options):
        raise error

    write(tmp_path)
    monkeypatch.setattr(reader, fail, raising=False)
    with pytest.raises(DataError, match=f"{place}' must be .*again from http") as caught:
        task(root=tmp_path).load(0)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_truncated_member_of_an_archive_is_named(tmp_path):
    """The bytes of an array changed, so that the checksum of the archive tells."""
    np.savez_compressed(tmp_path / "cifar10.npz", train_images=drawn(9, 10)[0])
    content = bytearray((tmp_path / "cifar10.npz").read_bytes())
    content[2000:2100] = bytes(100)
    (tmp_path / "cifar10.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cifar10.npz' must be an .npz of arrays, but cannot"):
        CIFAR10(root=tmp_path).load(0)


def test_memory_that_runs_out_is_no_damage(tmp_path, monkeypatch):
    """A file is not to be fetched again where the machine is too small."""

    def fail(*arguments, **options):
        raise MemoryError

    write_ten(tmp_path)
    monkeypatch.setattr("numpy.load", fail)
    with pytest.raises(MemoryError):
        CIFAR10(root=tmp_path).load(0)


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), ()), ((0.5,), (0.0,)), ((float("nan"),), (1.0,))]
)
def test_pixels_are_checked(mean, std):
    with pytest.raises(ValueError, match="one number a channel, deviations positive"):
        Pixels(mean, std)
