"""The page of samples of a trained denoiser, and their picture."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import imsave
from numpy.typing import NDArray

from heatgrad.core.errors import StoreError
from heatgrad.report.findings import Findings, Grid, Section
from heatgrad.report.lines import lines_panel
from heatgrad.report.panels import LegendEntry, Picture
from heatgrad.report.rows import EMPTY, Cell
from heatgrad.report.style import BLUE, GREY, figure, to_svg
from heatgrad.study.sample_run import Nearest, Sampled
from heatgrad.training.quality import Quality, Told

__all__ = ["samples_findings", "sheet", "write_png"]

_COLUMNS = 12  # of images, at most
_SHOWN = 144  # images on the page, at most
_FEW = 0.9  # accuracy below which a classifier's word is worth little

Image = NDArray[np.uint8]  # (height, width, 4): red, green, blue, opaque


def samples_findings(found: Sampled) -> Findings:
    """Return what the page of samples shows.

    Args:
        found: Of `heatgrad.study.run_sampling`.
    """
    asked, name = found.about["samples"], found.about["training"]
    sections = [Section("Samples", (_how(found),), (), (_picture(found),))]
    quality = found.quality
    if quality is not None:
        sections.append(Section("How good they are", (), (_table(quality),)))
        nearest = () if found.nearest is None else (_pairs(found.nearest),)
        text = "A network that has learned its data by heart makes copies of training images."
        pictures = (_distances(quality), *nearest)
        sections.append(Section("Are they copies?", (text,), (), pictures))
    return Findings(
        kind="sample",
        title=f"Samples of {name}",
        question="What does the network make, and how like real images is it?",
        answer=_answer(found),
        sections=tuple(sections),
        warnings=() if quality is None else _warnings(quality),
        notes=_notes(found),
        spec=json.dumps({**found.about, "samples": asked}, indent=2),
        environment={name: str(value) for name, value in found.environment.items() if value},
    )


def sheet(images: NDArray[np.uint8], labels: Sequence[int] | None) -> tuple[Image, list[int]]:
    """Return images set side by side, a row for each class where there is more than one.

    Args:
        images: Pixels from 0 to 255, shape (n, channels, height, width), 1 or 3 channels.
        labels: Class of each, or None.

    Returns:
        The sheet, shape (height, width, 4), clear between images, and the class of each row, empty
        without classes.

    Example:
        >>> pixels, rows = sheet(np.zeros((4, 1, 8, 8), dtype=np.uint8), [0, 1, 0, 1])
        >>> pixels.shape, rows
        ((17, 17, 4), [0, 1])
    """
    n = len(images)
    classes = sorted(set(labels or ()))
    if labels is not None and len(classes) > 1:
        most = max(_COLUMNS, _SHOWN // len(classes))
        rows = [[k for k in range(n) if labels[k] == c][:most] for c in classes]
    else:
        classes = []
        shown = min(n, _SHOWN)
        across = min(_COLUMNS, math.ceil(math.sqrt(shown)))
        rows = [list(range(k, min(k + across, shown))) for k in range(0, shown, across)]
    height, width = images.shape[2:]
    across = max(map(len, rows))
    size = (len(rows) * (height + 1) - 1, across * (width + 1) - 1, 4)
    pixels = np.zeros(size, dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, k in enumerate(row):
            top, left = r * (height + 1), c * (width + 1)
            place = pixels[top : top + height, left : left + width]
            place[:, :, :3] = images[k].transpose(1, 2, 0)  # one channel goes to all three
            place[:, :, 3] = 255
    return pixels, classes


def write_png(found: Sampled, path: str | Path) -> None:
    """Write the picture of the samples as a PNG file, each pixel as large as 4 by 4.

    Raises:
        StoreError: If it cannot be written.
    """
    pixels, _ = _sheet(found)
    try:
        imsave(path, pixels.repeat(4, axis=0).repeat(4, axis=1))
    except OSError as error:
        raise StoreError(f"cannot write '{path}': {error.strerror}") from error


def _sheet(found: Sampled) -> tuple[Image, list[int]]:
    labels = None if found.labels is None else found.labels.tolist()
    return sheet(found.images.numpy(), labels)


def _how(found: Sampled) -> str:
    asked = found.about["samples"]
    words = f"{asked['n']:,} samples by {asked['sampler']} in {asked['steps']} steps"
    if asked["eta"]:
        words += f", eta {asked['eta']:g}"
    words += f", from noise of deviation {found.about['levels'][0]:.3g}"
    if found.labels is None:
        return f"{words}; the network was told no class."
    told = "one class after the other" if asked["label"] == "all" else f"class {asked['label']}"
    return f"{words}; the network was told {told}, with guidance w = {asked['guidance']:g}."


def _notes(found: Sampled) -> tuple[str, ...]:
    notes = []
    if found.labels is not None:
        notes.append(
            "Guidance w: what is denoised is (1 + w) times what the network says when told the "
            "class, less w times what it says when not. So w = 0 is no guidance; elsewhere 1 + w "
            "is called the scale."
        )
    notes.append(
        "A sample depends on the seed and its number alone, whatever the size of a batch. "
        "samples.npz beside this page holds all of them."
    )
    return tuple(notes)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(told: Told) -> str:
    return f"{100 * told.low:.1f} to {100 * told.high:.1f} %"


def _answer(found: Sampled) -> tuple[str, ...]:
    quality = found.quality
    if quality is None:
        return (f"{_how(found)[:-1]}; how good they are was not measured.",)
    words = []
    if quality.told is not None:
        words.append(
            f"A classifier gives {_percent(quality.told.share)} of {quality.told.count:,} samples "
            f"the class that was wanted (95 %: {_interval(quality.told)}); of real test images it "
            f"gets {_percent(quality.accuracy.share)} right."
        )
    laws = quality.laws
    if math.isfinite(laws.samples):
        words.append(
            f"Frechet distance of features to real test images: {laws.samples:.3g}; as many real "
            f"ones have {laws.floor:.3g} (at most {laws.floor_high:.3g}), images of noise "
            f"{laws.ceiling:.4g}."
        )
    copies = quality.copies
    words.append(
        f"{_percent(copies.nearer.share)} are nearer to a training image than the median test "
        f"image is, {_percent(copies.copied.share)} nearer than all but a hundredth of those."
    )
    return tuple(words)


def _warnings(quality: Quality) -> tuple[str, ...]:
    words, laws = [], quality.laws
    if not math.isfinite(laws.samples):
        words.append(
            f"No Frechet distance: it takes two images a side, and there are {laws.count} samples "
            f"and {laws.count_real} real test images in a half of those of the wanted classes."
        )
    elif min(laws.count, laws.count_real) <= 4 * laws.num_features:
        words.append(
            f"Frechet distances are from {laws.count} images beside {laws.count_real}, for "
            f"{laws.num_features} features: compare them with the floor here and with nothing "
            f"else; more samples (--n 1000) and test images make them finer."
        )
    if quality.accuracy.share < _FEW:
        words.append(
            f"The classifier itself is right on {_percent(quality.accuracy.share)} of real test "
            f"images alone."
        )
    if quality.copies.copied.low > 0.05:
        words.append(
            f"{_percent(quality.copies.copied.share)} of the samples lie as near to a training "
            f"image as one test image in a hundred does: look whether they are copies."
        )
    return tuple(words)


def _table(quality: Quality) -> Grid:
    laws, copies, told = quality.laws, quality.copies, quality.told

    def share(told: Told) -> Cell:
        return Cell(f"{_percent(told.share)} ({_interval(told)})", told.share)

    def number(value: float) -> Cell:
        return Cell(f"{value:.4g}", value) if math.isfinite(value) else EMPTY

    ours = float(copies.samples.median())
    theirs = float(copies.tests.median())
    rows = (
        (
            "samples",
            (EMPTY if told is None else share(told), number(laws.samples), number(ours)),
        ),
        ("real test images", (share(quality.accuracy), number(laws.floor), number(theirs))),
        ("images of noise", (EMPTY, number(laws.ceiling), EMPTY)),
    )
    note = (
        f"A small classifier of the same data gives classes and features. Frechet distances are to "
        f"a half of the real test images ({laws.count_real:,}), from {laws.count:,} images each, "
        f"with equal numbers of every class; the mean over 8 random halves. That of real images is "
        f"the floor, not 0, since they are few. The last column: median distance to the nearest "
        f"training image, in units of the data. A higher share than that of real images means "
        f"typical samples, not better ones: see whether the Frechet distance grows with it."
    )
    columns = ("wanted class", "Frechet distance", "to the nearest training image")
    return Grid("Quality of the samples", columns, rows, note)


def _image(ax: Axes, pixels: Image) -> None:
    ax.imshow(pixels, interpolation="none")
    ax.grid(visible=False)
    ax.set_frame_on(False)
    ax.tick_params(length=0)
    ax.set_xticks([])
    ax.set_yticks([])


def _picture(found: Sampled) -> Picture:
    pixels, classes = _sheet(found)
    height, width = pixels.shape[:2]
    scale = min(5.4 / width, 7.0 / height)
    with figure(scale * width + (0.3 if classes else 0.1), scale * height + 0.1) as fig:
        ax = fig.subplots()
        _image(ax, pixels)
        if classes:
            side = (height + 1) / len(classes)
            ax.set_yticks([(k + 0.5) * side - 1 for k in range(len(classes))], map(str, classes))
        svg = to_svg(fig, name="samples", title="The samples")
    shown = f"n = {len(found.images):,}."
    if len(found.images) > _SHOWN:
        shown = f"The first of {len(found.images):,}."
    caption = f"A row for each class. {shown}" if classes else shown
    return Picture((svg,), caption)


def _distances(quality: Quality) -> Picture:
    copies = quality.copies

    def draw(ax: Axes) -> None:
        for values, color in ((copies.tests, GREY), (copies.samples, BLUE)):
            at = np.sort(values.double().numpy())
            ax.step(at, np.arange(1, len(at) + 1) / len(at), where="post", color=color)
        ax.set_xlim(left=0)

    svg = lines_panel(
        draw,
        name="distances",
        title="Distances to the nearest training image",
        x="distance to the nearest training image [data]",
        y="share below",
    )
    legend = (
        LegendEntry("samples", BLUE, "solid"),
        LegendEntry("real test images", GREY, "solid"),
    )
    caption = (
        f"Share of {len(copies.samples):,} samples and {len(copies.tests):,} test images below a "
        f"distance. Copies would stand far to the left."
    )
    return Picture((svg,), caption, legend)


def _pairs(nearest: Nearest) -> Picture:
    both = np.concatenate([nearest.samples.numpy(), nearest.images.numpy()])
    count = len(nearest.samples)
    pixels, _ = sheet(both, [0] * count + [1] * count)
    height, width = pixels.shape[:2]
    with figure(5.4, max(0.9, 5.4 * height / width + 0.1)) as fig:
        ax = fig.subplots()
        _image(ax, pixels)
        side = (height + 1) / 2
        ax.set_yticks([0.5 * side - 1, 1.5 * side - 1], ["made", "real"])
        svg = to_svg(fig, name="pairs", title="Samples and the nearest training images")
    caption = (
        f"The {count} samples that are nearest to a training image, and that image below each."
    )
    return Picture((svg,), caption)
