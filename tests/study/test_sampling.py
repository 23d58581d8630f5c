"""Sampling by exact denoisers: what comes out is known, and does not depend on batches."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from heatgrad.core.errors import RunError, SpecError
from heatgrad.data import Dataset, Pixels
from heatgrad.diffusion import MixtureDenoiser, cosine_alpha_bars, levels_of
from heatgrad.study.denoisers import TrainedDenoiser
from heatgrad.study.sample_run import to_pixels
from heatgrad.study.sampling import LOT, SampleSpec, draw_lot, labels_of, levels_for
from heatgrad.study.trained import TrainedModel
from heatgrad.training.judge import train_judge
from heatgrad.training.quality import quality_of

SHAPE, CLASSES, SPREAD = (1, 4, 4), 4, 0.1


def means():
    """Return the middle image of each class: one bright quarter."""
    found = torch.zeros(CLASSES, *SHAPE)
    for k in range(CLASSES):
        top, left = 2 * (k // 2), 2 * (k % 2)
        found[k, 0, top : top + 2, left : left + 2] = 1.0
    return found


class Mixture(nn.Module):
    """The exact denoiser of classes that are normal laws, and of all of them not told apart."""

    sigma_data = 0.5
    num_classes = CLASSES

    def __init__(self):
        super().__init__()
        self.exact = MixtureDenoiser(torch.ones(CLASSES), means(), stds=SPREAD)

    def forward(self, x, sigma, label=None):
        """Return the denoised samples."""
        return self.exact(x, sigma, label)


def denoiser(model=None, **options):
    model = Mixture() if model is None else model
    pixels = Pixels((0.0,), (1.0,))
    trained = TrainedModel(model, None, SHAPE, CLASSES, pixels, Path("none"))
    usual = {"num_classes": CLASSES, "drop_label": 0.1, "sigma_min": 0.002, "sigma_max": 80.0}
    return TrainedDenoiser(trained=trained, folder=Path("none"), chain=None, **{**usual, **options})


def drawn(spec, batch_size=LOT, trained=None):
    trained = denoiser() if trained is None else trained
    labels = labels_of(spec, CLASSES)
    levels = levels_for(spec, sigma_min=0.002, sigma_max=80.0)
    lots = range(math.ceil(spec.n / LOT))
    return torch.cat(
        [draw_lot(trained, spec, labels, levels, k, batch_size=batch_size) for k in lots]
    )


@pytest.fixture(scope="module")
def data():
    """Return a data set drawn from the laws of the exact denoiser."""
    generator = torch.Generator().manual_seed(0)

    def part(n):
        y = torch.arange(n) % CLASSES
        return means()[y] + SPREAD * torch.randn(n, *SHAPE, generator=generator), y

    (x, y), (x_test, y_test) = part(800), part(800)
    return Dataset.from_clean(
        x_train=x, y_train=y, x_test=x_test, y_test=y_test, num_classes=CLASSES
    )


@pytest.fixture(scope="module")
def judge(data):
    return train_judge(data)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "heun"])
def test_samples_of_an_exact_denoiser_are_like_the_data(data, judge, sampler):
    """Classes are far apart, so each sample has its own; the law is that of the data.

    The mean of 400 samples of deviation 0.1 is within 5 standard errors; the distance of features
    is that of as many real images.
    """
    spec = SampleSpec.checked(num_classes=CLASSES, n=400, sampler=sampler, steps=300)
    samples, labels = drawn(spec), labels_of(spec, CLASSES)
    found = quality_of(judge, data, samples, labels)
    assert found.told.share == 1
    assert found.laws.samples < 1.5 * found.laws.floor_high
    for k in range(CLASSES):
        own = samples[labels == k]
        assert (own.mean(0) - means()[k]).abs().max() < 5 * SPREAD / math.sqrt(len(own))
        assert float(own.std(0).mean()) == pytest.approx(SPREAD, rel=0.1)


@pytest.mark.parametrize(
    "options", [{"sampler": "heun"}, {"sampler": "ddpm"}, {"sampler": "ddim", "eta": 1.0}]
)
def test_a_sample_depends_on_its_number_alone(options):
    """Whatever the batches, and however many others are drawn: across a border of lots too."""
    many = SampleSpec.checked(num_classes=CLASSES, n=LOT + 9, steps=5, guidance=1.0, **options)
    whole = drawn(many)
    assert len(whole) == LOT + 9
    assert whole.unique(dim=0).shape == whole.shape
    torch.testing.assert_close(drawn(many, batch_size=7), whole, rtol=1e-5, atol=1e-5)
    few = many.model_copy(update={"n": 5})
    torch.testing.assert_close(drawn(few), whole[:5], rtol=1e-5, atol=1e-5)
    other = many.model_copy(update={"seed": 1})
    assert (drawn(other) - whole).abs().max() > 0.1


def test_guidance_of_minus_one_takes_no_notice_of_the_class():
    """(1 + w) D_c - w D with w = -1 is D."""
    told = SampleSpec.checked(num_classes=CLASSES, n=6, label="2", guidance=-1.0, steps=10)
    untold = SampleSpec.checked(num_classes=CLASSES, n=6, label="none", steps=10)
    torch.testing.assert_close(drawn(told), drawn(untold))


def test_guidance_pushes_away_from_other_classes():
    """More of it, farther from the mean of all; w = 0 has the class's own mean."""
    gaps = []
    for w in (0.0, 1.0, 4.0):
        spec = SampleSpec.checked(num_classes=CLASSES, n=100, label="1", guidance=w, steps=40)
        gaps.append(float((drawn(spec).mean(0) - means().mean(0)).norm()))
    assert gaps[0] == pytest.approx(float((means()[1] - means().mean(0)).norm()), rel=0.03)
    assert gaps[0] < gaps[1] < gaps[2]


def test_levels():
    """Chains are cut to the range first, so that all steps are taken within it."""
    spec = SampleSpec.checked(sampler="ddim", steps=20)
    levels = levels_for(spec, sigma_min=0.01, sigma_max=20.0)
    assert len(levels) == 21
    assert levels[-1] == 0
    assert (levels[:-1] >= 0.01).all()
    assert 15 < levels[0] <= 20
    karras = SampleSpec.checked(sampler="heun", steps=20)
    assert levels_for(karras, sigma_min=0.01, sigma_max=20.0)[0] == 20
    own = SampleSpec.checked(has_chain=True, steps=7)
    chain = cosine_alpha_bars(50)
    ours = levels_for(own, sigma_min=0.0, sigma_max=math.inf, chain=chain)
    assert torch.equal(ours, levels_of(chain, 7))
    with pytest.raises(SpecError, match="at any level"):
        levels_for(own, sigma_min=0.01, sigma_max=20.0)
    many = spec.model_copy(update={"steps": 2000})
    with pytest.raises(SpecError, match=r"--steps must be at most .* take --levels karras"):
        levels_for(many, sigma_min=0.01, sigma_max=20.0)


def test_a_network_that_answers_with_nan_is_told():
    class Broken(Mixture):
        def forward(self, x, sigma, label=None):
            """Return NaN."""
            return x * math.nan

    spec = SampleSpec.checked(num_classes=CLASSES, n=2)
    with pytest.raises(RunError, match=r"no samples at these options: .*NaN"):
        drawn(spec, trained=denoiser(Broken()))


def test_pixels_and_back():
    """Each of the 256 greys of each channel comes back; what is brighter than white is white."""
    pixels = Pixels((0.1, 0.5, 0.4), (0.3, 0.2, 0.7))
    greys = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(to_pixels(pixels.normalised(greys), pixels), greys)
    assert to_pixels(torch.full((1, 3, 1, 1), 99.0), pixels).unique().tolist() == [255]
