"""Augmentation: each image its own crop, mirror image and policy, from the generator alone."""

import sys

import pytest
import torch

from heatgrad.data import Pixels
from heatgrad.training.augment import AUGMENTS, CropFlip

GREY = Pixels((0.4,), (0.2,))
PIXELS = Pixels((0.4, 0.5), (0.2, 0.25))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(n, h=5, w=6):
    """Return images whose pixels are all different, so that a crop tells where it was."""
    return torch.arange(1.0, n * 2 * h * w + 1).view(n, 2, h, w)


def crops(image, pad):
    """Return every crop of a padded image, as it is and mirrored, by (down, right, flipped)."""
    black = torch.tensor([-0.4 / 0.2, -0.5 / 0.25]).view(2, 1, 1)
    _, h, w = image.shape
    padded = black.expand(2, h + 2 * pad, w + 2 * pad).clone()
    padded[:, pad : pad + h, pad : pad + w] = image
    found = {}
    for down in range(2 * pad + 1):
        for right in range(2 * pad + 1):
            crop = padded[:, down : down + h, right : right + w]
            found[down, right, False], found[down, right, True] = crop, crop.flip(-1)
    return found


def test_each_image_is_one_of_its_own_crops():
    x = numbered(40)
    out = CropFlip(PIXELS, pad=2)(x, generator())
    for image, cut in zip(x, out, strict=True):
        assert sum(torch.equal(cut, crop) for crop in crops(image, 2).values()) == 1


def test_places_and_mirrors_are_drawn_alike():
    """Chi square of 9 places by 2 over 3,600 images: 17 degrees of freedom, p > 0.001."""
    n = 3600
    x = numbered(1).expand(n, 2, 5, 6)
    out = CropFlip(PIXELS, pad=1)(x, generator())
    keys = {tuple(crop.flatten().tolist()): place for place, crop in crops(x[0], 1).items()}
    counts = dict.fromkeys(keys.values(), 0)
    for cut in out:
        counts[keys[tuple(cut.flatten().tolist())]] += 1
    expected = n / len(counts)
    assert len(counts) == 18
    assert sum((c - expected) ** 2 / expected for c in counts.values()) < 40.8


def test_without_either_nothing_changes():
    x = numbered(4)
    assert torch.equal(CropFlip(PIXELS, pad=0, flip=False)(x, generator()), x)


def policy(name):
    if name == "autoaugment":
        pytest.importorskip("kornia")
        return AUGMENTS[name](Pixels((0.4,) * 3, (0.2,) * 3))
    return AUGMENTS[name](Pixels((0.4,) * 3, (0.2,) * 3))


@pytest.mark.parametrize("name", AUGMENTS)
def test_the_generator_alone_decides(name):
    """And the global generator is where it was."""
    augment = policy(name)
    x = augment_input()
    before = torch.random.get_rng_state()
    first, again, other = (augment(x, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(x, augment_input())


def augment_input():
    pixels = Pixels((0.4,) * 3, (0.2,) * 3)
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8, generator=generator(5))
    return pixels.normalised(images)


def test_policies_differ_from_image_to_image():
    """Sixteen copies of one image: more than two results; pixels stay between 0 and 1."""
    augment = policy("autoaugment")
    x = augment_input()[:1].expand(16, 3, 32, 32)
    out = augment(x, generator()) * 0.2 + 0.4
    assert -1e-6 <= out.min() <= out.max() <= 1 + 1e-6
    assert len({tuple(image.flatten().tolist()) for image in out}) > 8


@pytest.mark.parametrize("name", ["cifar10", "svhn", "imagenet"])
def test_grey_images_are_colour_images_of_equal_channels(name):
    pytest.importorskip("kornia")
    grey = augment_input()[:, :1]
    one, three = (
        AUGMENTS["autoaugment"](Pixels((0.4,) * count, (0.2,) * count), policy=name)
        for count in (1, 3)
    )
    out, expected = one(grey, generator()), three(grey.expand(-1, 3, -1, -1), generator())
    assert out.shape == grey.shape
    torch.testing.assert_close(out, expected.mean(dim=1, keepdim=True), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="one channel or three, got 2"):
        AUGMENTS["autoaugment"](Pixels((0.4,) * 2, (0.2,) * 2))


def test_what_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="pad must be an integer of at least 0, got -1"):
        CropFlip(PIXELS, pad=-1)
    with pytest.raises(ValueError, match="policy must be one of cifar10, svhn, imagenet, got 'x'"):
        AUGMENTS["autoaugment"](GREY, policy="x")
    monkeypatch.setitem(sys.modules, "kornia.augmentation.auto", None)
    with pytest.raises(ImportError, match=r"pip install \"heatgrad\[vision\]\""):
        AUGMENTS["autoaugment"](GREY)
