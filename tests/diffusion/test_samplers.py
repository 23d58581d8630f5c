"""Samplers on targets known in closed form: laws, orders, seeds, shapes, precisions, refusals."""

import math

import numpy as np
import pytest
import torch

from heatgrad.diffusion import (
    GaussianDenoiser,
    MixtureDenoiser,
    cosine_alpha_bars,
    ddim,
    ddpm,
    heun,
    karras_levels,
    levels_of,
    start,
)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


COV = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
GAUSSIAN = GaussianDenoiser(numbers(1.0, -2.0), cov=COV)
MIXTURE = MixtureDenoiser(
    numbers(0.3, 0.7), torch.tensor([[-2.0, 0.0], [1.0, 1.0]]).double(), stds=numbers(0.4, 0.2)
)


def sampled(name, law, num, steps, seed=0, **options):
    levels = karras_levels(steps, sigma_min=0.02, sigma_max=80.0)
    generator = torch.Generator().manual_seed(seed)
    x = start((num, 2), levels, generator, torch.float64)
    if name == "heun":
        return heun(law, x, levels)
    if name == "ddim":
        return ddim(law, x, levels, generator=generator, **options)
    return ddpm(law, x, levels, generator=generator, **options)


@pytest.mark.parametrize(
    ("name", "steps", "options"),
    [
        ("heun", 40, {}),
        ("ddim", 500, {}),
        ("ddim", 500, {"eta": 0.5}),
        ("ddim", 500, {"eta": 1.0}),
        ("ddpm", 500, {}),
        ("ddpm", 500, {"variance": "large"}),
    ],
)
def test_mean_and_covariance_of_a_gaussian(name, steps, options):
    """Both within five standard errors of 20,000 draws, and 1 % of the discretisation."""
    n = 20_000
    x = sampled(name, GAUSSIAN, n, steps, **options)
    errors = 5 * (COV.diagonal() / n).sqrt() + 0.003
    assert bool(((x.mean(0) - GAUSSIAN.mean).abs() < errors).all())
    spread = 5 * ((COV**2 + torch.outer(COV.diagonal(), COV.diagonal())) / n).sqrt()
    assert bool(((x.T.cov() - COV).abs() < spread + 0.01).all())


@pytest.mark.parametrize(
    ("name", "steps", "options"),
    [("heun", 60, {}), ("ddim", 300, {"eta": 1.0}), ("ddpm", 300, {})],
)
def test_mixture(name, steps, options):
    """Share, mean and variance of each component within five standard errors and 1 %."""
    n = 10_000
    x = sampled(name, MIXTURE, n, steps, **options)
    left = x[:, 0] < -0.5  # 3.7 and 7.5 deviations from the means
    share = float(left.double().mean())
    assert abs(share - 0.3) < 5 * math.sqrt(0.3 * 0.7 / n) + 0.005
    for part, mean, std in ((x[left], numbers(-2, 0), 0.4), (x[~left], numbers(1, 1), 0.2)):
        assert float((part.mean(0) - mean).abs().max()) < 5 * std / math.sqrt(len(part)) + 0.01
        error = part.var(0).sqrt() / std - 1
        assert float(error.abs().max()) < 5 / math.sqrt(2 * len(part)) + 0.01


def kept(found, part=None):
    """Return a callback that keeps what it is given, or a part of it."""
    return lambda *each: found.append(each if part is None else each[part])


def end_error(sampler, steps):
    """Return the distance from the exact end of the flow, x = m + S^(1/2) (S + σ²)^(-1/2) ..."""
    std = numbers(0.5, 1.5, 0.1)
    law = GaussianDenoiser(numbers(1.0, 0.0, -1.0), std=std)
    levels = karras_levels(steps, sigma_min=0.02, sigma_max=20.0)
    x = start((10, 3), levels, torch.Generator().manual_seed(0), torch.float64)
    seen = []
    sampler(law, x, levels, callback=kept(seen, 1))
    # At the smallest level but 0: the last step is Euler's in both, of a fixed size.
    exact = law.mean + ((std**2 + 0.02**2) / (std**2 + 400.0)).sqrt() * (x - law.mean)
    return float((seen[-1] - exact).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (heun, 2)])
def test_order_towards_the_probability_flow(sampler, order):
    """Slope of the error over 80 to 640 steps, against the flow of a Gaussian in closed form."""
    steps = (80, 160, 320, 640)
    errors = [end_error(sampler, n) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.1)


def test_ddim_without_noise_is_eulers_method():
    """The step x + (s - σ) (x - D) / σ, written out."""
    levels, x = numbers(3.0, 1.0, 0.4, 0.0), torch.randn(4, 2, dtype=torch.float64)
    y = x
    for sigma, below in ((3.0, 1.0), (1.0, 0.4), (0.4, 0.0)):
        y = y + (below - sigma) * (y - GAUSSIAN(y, numbers(sigma)[0])) / sigma
    torch.testing.assert_close(ddim(GAUSSIAN, x, levels), y, rtol=1e-13, atol=1e-13)


def test_ddim_with_full_noise_is_ddpm():
    levels, x = levels_of(cosine_alpha_bars(100), 10), torch.randn(4, 2, dtype=torch.float64)
    both = [
        ddim(GAUSSIAN, x, levels, eta=1.0, generator=torch.Generator().manual_seed(3)),
        ddpm(GAUSSIAN, x, levels, generator=torch.Generator().manual_seed(3)),
    ]
    torch.testing.assert_close(*both, rtol=1e-12, atol=1e-12)


def test_one_point_is_found_in_one_step():
    """D = m whatever x is: every sampler ends at m exactly, noise or none."""
    law = GaussianDenoiser(numbers(1.0, -2.0), std=0.0)
    for name in ("heun", "ddim", "ddpm"):
        assert torch.equal(sampled(name, law, 3, 5), law.mean.expand(3, 2))


def test_the_last_step_adds_no_noise():
    """All samplers end in what the denoiser says at the smallest level."""
    for name in ("heun", "ddim", "ddpm"):
        levels, generator = numbers(2.0, 1.0, 0.0), torch.Generator().manual_seed(0)
        x, last = torch.randn(4, 2, dtype=torch.float64), []
        options = {} if name == "heun" else {"generator": generator}
        if name == "ddpm":
            options["variance"] = "large"
        run = {"heun": heun, "ddim": ddim, "ddpm": ddpm}[name]
        end = run(GAUSSIAN, x, levels, callback=kept(last, 2), **options)
        assert torch.equal(end, last[-1])


def test_what_callbacks_see():
    """The step, x at its level and D there; as many as steps, before each is taken."""
    levels, x = numbers(2.0, 1.0, 0.5, 0.0), torch.randn(4, 2, dtype=torch.float64)
    for run in (ddim, heun):
        seen = []
        run(GAUSSIAN, x, levels, callback=kept(seen))
        assert [each[0] for each in seen] == [0, 1, 2]
        assert torch.equal(seen[0][1], x)
        for step, state, x0 in seen:
            assert torch.equal(x0, GAUSSIAN(state, levels[step]))


def test_calls_of_the_denoiser():
    """One a step of DDPM and DDIM; two a step of Heun, one in the last; the level is a scalar."""
    calls = []

    def counted(x, sigma):
        calls.append((sigma.shape, float(sigma)))
        return GAUSSIAN(x, sigma)

    levels, x = numbers(3.0, 2.0, 1.0, 0.0), torch.randn(2, 2, dtype=torch.float64)
    ddim(counted, x, levels)
    assert calls == [((), 3.0), ((), 2.0), ((), 1.0)]
    calls.clear()
    heun(counted, x, levels)
    assert [level for _, level in calls] == [3.0, 2.0, 2.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
def test_the_generator_alone_decides(name):
    """The same seed, the same samples; another, others; the global stream is left alone."""
    options = {"eta": 1.0} if name == "ddim" else {}
    before = torch.get_rng_state()
    first = sampled(name, GAUSSIAN, 4, 10, seed=1, **options)
    assert torch.equal(first, sampled(name, GAUSSIAN, 4, 10, seed=1, **options))
    assert not torch.equal(first, sampled(name, GAUSSIAN, 4, 10, seed=2, **options))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (1, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_shape_and_precision(shape, dtype):
    """Numbers, lists, images; the dtype stays; float32 within 1e-4 of float64 over 30 steps."""
    law = GaussianDenoiser(torch.full(shape, 0.5, dtype=torch.float64), std=0.3)
    levels = karras_levels(30, sigma_min=0.01, sigma_max=10.0)
    x = start((5, *shape), levels, torch.Generator().manual_seed(0), torch.float64)
    for run in (ddim, heun):
        found = run(law, x.to(dtype), levels)
        assert found.shape == (5, *shape)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), run(law, x, levels), rtol=1e-4, atol=1e-4)


def test_a_batch_of_one_and_many():
    """Without noise each sample goes its own way."""
    levels, x = numbers(3.0, 1.0, 0.2, 0.0), torch.randn(6, 2, dtype=torch.float64)
    for run in (ddim, heun):
        whole = run(MIXTURE, x, levels)
        parts = torch.cat([run(MIXTURE, each.unsqueeze(0), levels) for each in x])
        torch.testing.assert_close(whole, parts, rtol=1e-12, atol=1e-12)


def test_nothing_is_written_to_and_no_graph_is_kept():
    levels, x = numbers(3.0, 1.0, 0.0), torch.randn(6, 2, dtype=torch.float64)
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    kept = x.clone()
    found = ddpm(lambda x, s: weight * x, x, levels, generator=torch.Generator())
    assert torch.equal(x, kept)
    assert not found.requires_grad


def test_start_of_either_kind():
    """Deviation σ of EDM, sqrt(1 + σ²) of a chain; the same numbers whatever the dtype's device."""
    levels = numbers(3.0, 1.0, 0.0)
    plain = start((50_000,), levels, torch.Generator().manual_seed(0), torch.float64)
    chain = start((50_000,), levels, torch.Generator().manual_seed(0), torch.float64, data_std=1.0)
    assert float(plain.std()) == pytest.approx(3, abs=5 * 3 / math.sqrt(1e5))
    torch.testing.assert_close(chain, plain * math.sqrt(10) / 3)
    assert start((2,), levels, torch.Generator()).dtype == torch.float32


def test_eta_above_one_while_there_is_noise_to_take():
    """h² <= s²: at levels two times apart eta may be 2 / sqrt(3), and no more."""
    levels, x = numbers(2.0, 1.0, 0.0), torch.randn(3, 2, dtype=torch.float64)
    ddim(GAUSSIAN, x, levels, eta=1.15, generator=torch.Generator())
    with pytest.raises(ValueError, match=r"from 0 to 1\.1547"):
        ddim(GAUSSIAN, x, levels, eta=1.16, generator=torch.Generator())


def nans(x, sigma):
    return x * math.nan if float(sigma) < 1.5 else x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, s: ddim(lambda x, t: x[:1], x, s), ValueError, r"the shape of x, \(3, 2\)"),
        (lambda x, s: ddim(nans, x, s), ValueError, "NaN or inf at sigma = 1"),
        (lambda x, s: heun(nans, x, s), ValueError, "NaN or inf at sigma = 1"),
        (lambda x, s: ddim(GAUSSIAN, x * math.inf, s), ValueError, "x must be finite"),
        (lambda x, s: heun(GAUSSIAN, x.long(), s), ValueError, "x must be real"),
        (lambda x, s: heun(GAUSSIAN, x, s[:-1]), ValueError, "must end in 0"),
        (lambda x, s: ddim(GAUSSIAN, x, s.flip(0)), ValueError, "must end in 0"),
        (lambda x, s: ddim(GAUSSIAN, x, s, eta=0.5), ValueError, "pass a generator"),
        (lambda x, s: ddim(GAUSSIAN, x, s, eta=-0.5), ValueError, "eta must be from 0"),
        (
            lambda x, s: ddpm(GAUSSIAN, x, s, generator=torch.Generator(), variance="tiny"),
            ValueError,
            "small, large or learned",
        ),
        (
            lambda x, s: ddpm(GAUSSIAN, x, s, generator=torch.Generator(), variance="learned"),
            TypeError,
            "with_fraction",
        ),
        (lambda x, s: start((2,), s, torch.Generator(), data_std=-1.0), ValueError, "data_std"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.randn(3, 2, dtype=torch.float64), numbers(2.0, 1.0, 0.0))
