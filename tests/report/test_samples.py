"""The page of samples: every image at its place, and what was measured in words."""

import json
import math

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from heatgrad.core.errors import StoreError
from heatgrad.report.findings import write_findings
from heatgrad.report.samples import samples_findings, sheet, write_png
from heatgrad.study.sample_run import Nearest, Sampled
from heatgrad.training.quality import Copies, Laws, Quality, Told

ASKED = {"n": 20, "label": "all", "guidance": 2.0, "sampler": "ddim", "steps": 50, "eta": 0.0}


def images(n, channels=1):
    values = torch.arange(n * channels * 64, dtype=torch.int64) % 251
    return values.to(torch.uint8).reshape(n, channels, 8, 8)


def quality(*, right=18, samples=9.0, copied=0):
    distances = torch.linspace(1, 2, 20)
    copies = Copies(distances, torch.arange(20), distances, Told.of(10, 20), Told.of(copied, 20))
    laws = Laws(samples, 5.0, 6.5, 200.0, 400, 500, 32)
    return Quality(Told.of(985, 1000), Told.of(right, 20), laws, copies)


def sampled(found=None, *, labels=True, name="a <name>", **asked):
    about = {"training": name, "samples": ASKED | asked, "levels": [80.0, 1.0, 0.0]}
    return Sampled(
        about=about,
        images=images(20),
        labels=torch.arange(20) % 10 if labels else None,
        quality=found,
        nearest=None if found is None else Nearest(images(10), images(10)),
        environment={"heatgrad": "0.1.0"},
    )


def test_every_image_stands_at_its_place():
    """Row by class, in the order of their numbers; clear between."""
    whole = images(7).numpy()
    pixels, rows = sheet(whole, [0, 1, 0, 1, 0, 1, 0])
    assert rows == [0, 1]
    assert pixels.shape == (17, 4 * 9 - 1, 4)
    for k in range(7):
        top, left = 9 * (k % 2), 9 * (k // 2)
        for channel in range(3):
            part = pixels[top : top + 8, left : left + 8, channel]
            np.testing.assert_array_equal(part, whole[k, 0])
    assert pixels[:, :, 3].sum() == 255 * whole.size
    assert not pixels[8].any()
    assert not pixels[9:, 27:].any()  # class 1 has three


@pytest.mark.parametrize(
    ("n", "labels", "size"),
    [(9, None, (3, 3)), (5, [7] * 5, (2, 3)), (1, None, (1, 1)), (500, None, (12, 12))],
)
def test_without_rows_of_classes_the_sheet_is_nearly_square(n, labels, size):
    pixels, rows = sheet(images(n, channels=3).numpy(), labels)
    assert rows == []
    assert pixels.shape == (9 * size[0] - 1, 9 * size[1] - 1, 4)
    np.testing.assert_array_equal(pixels[:8, :8, :3], images(1, channels=3)[0].permute(1, 2, 0))


def test_the_png_holds_the_pixels(tmp_path):
    found = sampled()
    write_png(found, tmp_path / "samples.png")
    read = np.round(255 * imread(tmp_path / "samples.png")).astype(np.uint8)
    np.testing.assert_array_equal(
        read[::4, ::4], sheet(found.images.numpy(), list(range(10)) * 2)[0]
    )
    with pytest.raises(StoreError, match="cannot write"):
        write_png(found, tmp_path / "none" / "samples.png")


def test_the_page_is_whole_and_escaped(tmp_path):
    write_findings(samples_findings(sampled(quality())), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Samples of a &lt;name&gt;" in page
    assert "<name>" not in page
    assert page.count("<svg") == 3
    assert page.count("data:image/png;base64") == 2
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_what_is_said():
    page = samples_findings(sampled(quality()))
    assert page.answer[0] == (
        "A classifier gives 90.0 % of 20 samples the class that was wanted (95 %: 69.9 to 97.2 %); "
        "of real test images it gets 98.5 % right."
    )
    assert "9; as many real ones have 5 (at most 6.5), images of noise 200" in page.answer[1]
    assert page.answer[2].startswith("50.0 % are nearer to a training image than the median")
    assert page.warnings == ()
    assert "(1 + w) times" in page.notes[0]
    assert json.loads(page.spec)["samples"]["guidance"] == 2.0
    (how,) = page.sections[0].text
    assert how == (
        "20 samples by ddim in 50 steps, from noise of deviation 80; the network was told one "
        "class after the other, with guidance w = 2."
    )
    rows = dict(page.sections[1].grids[0].rows)
    assert rows["samples"][1].text == "9"
    assert rows["real test images"][0].key == 0.985


def test_what_is_doubtful_is_said():
    copied = samples_findings(sampled(quality(copied=8)))
    assert "look whether they are copies" in copied.warnings[0]
    few = quality(samples=math.nan)
    assert "No Frechet distance" in samples_findings(sampled(few)).warnings[0]
    bad = Quality(Told.of(80, 100), few.told, quality().laws, few.copies)
    assert "itself is right on 80.0 %" in samples_findings(sampled(bad)).warnings[0]
    crude = Laws(9.0, 5.0, 6.5, 200.0, 64, 500, 32)
    rough = samples_findings(sampled(Quality(bad.accuracy, None, crude, few.copies)))
    assert "from 64 images beside 500, for 32 features" in rough.warnings[0]


def test_a_page_without_measures_or_classes():
    page = samples_findings(sampled(labels=False, label="none", sampler="ddpm", eta=0.0))
    assert page.answer == (
        "20 samples by ddpm in 50 steps, from noise of deviation 80; the network was told no "
        "class; how good they are was not measured.",
    )
    assert len(page.sections) == 1
    assert not any("Guidance" in note for note in page.notes)
    one = samples_findings(sampled(label=7, eta=0.5))
    assert "eta 0.5" in one.sections[0].text[0]
    assert "told class 7" in one.sections[0].text[0]
