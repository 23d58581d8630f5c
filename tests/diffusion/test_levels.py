"""Lists of levels: formulas, tables of others, off-by-one errors, refusals."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from heatgrad.diffusion import (
    alpha_bars_of,
    check_levels,
    cosine_alpha_bars,
    karras_levels,
    levels_of,
    linear_alpha_bars,
    posterior_variance,
    respaced_times,
    sigmas_of,
    step_variances,
)


def test_karras_levels_by_the_formula():
    """Karras et al. Eq. (5), written out: their own constants, 18 steps; ends to the last digit."""
    levels = karras_levels(18, sigma_min=0.002, sigma_max=80.0)
    i, p = np.arange(18), 1 / 7
    truth = (80**p + i / 17 * (0.002**p - 80**p)) ** 7
    assert levels.dtype == torch.float64
    np.testing.assert_allclose(levels[:-1].numpy(), truth, rtol=1e-12)
    assert levels[[0, -2, -1]].tolist() == [80.0, 0.002, 0.0]
    assert bool((levels[1:] < levels[:-1]).all())


def test_larger_rho_has_more_small_levels():
    medians = [karras_levels(9, sigma_min=0.01, sigma_max=10.0, rho=r)[4] for r in (1.0, 3.0, 7.0)]
    assert medians[0] > medians[1] > medians[2]


def test_two_steps_and_no_more():
    assert karras_levels(2, sigma_min=1.0, sigma_max=2.0).tolist() == [2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("ours", "theirs"), [(linear_alpha_bars, "linear"), (cosine_alpha_bars, "squaredcos_cap_v2")]
)
@pytest.mark.parametrize("num_times", [100, 1000])
def test_tables_of_diffusers(ours, theirs, num_times):
    """Diffusers' table, which is in float32: 1e-6 and the betas too."""
    table = DDPMScheduler(num_train_timesteps=num_times, beta_schedule=theirs).alphas_cumprod
    np.testing.assert_allclose(ours(num_times).numpy(), table.numpy(), atol=1e-6)


def test_linear_by_a_product():
    """Betas from 1e-4 to 0.02; entry 0 is after one step, not before any."""
    ab = linear_alpha_bars(1000)
    betas = np.linspace(1e-4, 0.02, 1000)
    assert ab[0].item() == pytest.approx(1 - 1e-4, rel=1e-15)
    np.testing.assert_allclose(ab.numpy(), np.exp(np.cumsum(np.log1p(-betas))), rtol=1e-12)


def test_cosine_by_the_formula():
    """f(t) / f(0) to 1e-12 until a beta meets 0.999, which the last one does, and not 1."""
    ab = cosine_alpha_bars(1000)
    t = np.arange(1, 1001) / 1000
    f = np.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    truth = f / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    np.testing.assert_allclose(ab[:-1].numpy(), truth[:-1], rtol=1e-10)
    assert (ab[-1] / ab[-2]).item() == pytest.approx(0.001, rel=1e-9)
    assert ab[-1] > 0


def test_levels_and_chains_there_and_back():
    """σ² = (1 - ab) / ab, and 1 / (1 + σ²); both ways to the last digits."""
    ab = cosine_alpha_bars(50)
    assert torch.allclose(alpha_bars_of(sigmas_of(ab)), ab, rtol=1e-13, atol=0)
    levels = levels_of(ab)
    assert len(levels) == 51
    assert torch.equal(levels[:-1].flip(0), sigmas_of(ab))
    assert levels[-1] == 0


@pytest.mark.parametrize("scheduler", [DDPMScheduler, DDIMScheduler])
@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("steps", [1, 3, 7, 50, 100])
def test_respaced_times_of_diffusers(scheduler, spacing, steps):
    """The same integers, for numbers of steps that divide the chain and others."""
    if spacing == "linspace" and steps == 1:
        pytest.skip("theirs visits time 0 alone, which is no start")
    theirs = scheduler(num_train_timesteps=100, timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    assert respaced_times(100, steps, spacing=spacing).tolist() == theirs.timesteps.tolist()


def test_where_respaced_chains_begin_and_end():
    """`trailing` and `linspace` begin at the last time, `leading` below it."""
    assert respaced_times(1000, 10)[0] == 999
    assert respaced_times(1000, 10, spacing="linspace")[[0, -1]].tolist() == [999, 0]
    assert respaced_times(1000, 10, spacing="leading")[[0, -1]].tolist() == [900, 0]
    assert respaced_times(1000, 1, spacing="linspace").tolist() == [999]
    for spacing in ("trailing", "linspace", "leading"):
        assert respaced_times(20, 20, spacing=spacing).tolist() == list(range(19, -1, -1))


def test_levels_of_chosen_times():
    ab = linear_alpha_bars(100)
    sigmas = sigmas_of(ab)
    levels = levels_of(ab, [99, 10, 3])
    assert levels.tolist() == [*sigmas[[99, 10, 3]].tolist(), 0.0]
    assert torch.equal(levels_of(ab, torch.tensor([99, 10, 3])), levels)


def test_posterior_variances_of_a_chain():
    """Those of the chain, beta_t (1 - ab_{t-1}) / (1 - ab_t) and beta_t, over ab_{t-1}."""
    ab = cosine_alpha_bars(30).numpy()
    sigmas = sigmas_of(torch.from_numpy(ab)).tolist()
    for t in range(1, 30):
        beta = 1 - ab[t] / ab[t - 1]
        small, large = posterior_variance(sigmas[t], sigmas[t - 1])
        assert small == pytest.approx(beta * (1 - ab[t - 1]) / (1 - ab[t]) / ab[t - 1], rel=1e-9)
        assert large == pytest.approx(beta / ab[t - 1], rel=1e-9)
    small, large = posterior_variance(sigmas[0], 0.0)
    assert small == 0
    assert large == pytest.approx(1 - ab[0], rel=1e-9)


def test_posterior_variance_by_bayes():
    """Precision of x_s given x_0 and x_σ: 1 / s² from the first, 1 / (σ² - s²) from the second."""
    small, _ = posterior_variance(3.0, 2.0)
    assert small == pytest.approx(1 / (1 / 4 + 1 / 5), rel=1e-15)


def test_log_of_the_first_variance_is_its_successors():
    """Improved DDPM: log(append(bt[1], bt[1:])), with time 0 first; all of them finite."""
    ab = linear_alpha_bars(40).numpy()
    before = np.append(1.0, ab[:-1])
    betas = 1 - ab / before
    tilde = betas * (1 - before) / (1 - ab)
    assert tilde[0] == 0
    clipped = np.append(tilde[1], tilde[1:])
    logs = step_variances(levels_of(torch.from_numpy(ab)))
    ours = logs.log_small.flip(0).numpy() + np.log(before)
    np.testing.assert_allclose(ours, np.log(clipped), rtol=1e-9)
    large = logs.log_large.flip(0).numpy() + np.log(before)
    np.testing.assert_allclose(large, np.log(betas), rtol=1e-9)


def test_float32_levels_become_float64():
    assert check_levels(torch.tensor([2.0, 0.5, 0.0])).dtype == torch.float64


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (torch.tensor([2.0, 1.0]), "must end in 0"),
        (torch.tensor([2.0, 2.0, 0.0]), "strictly decreasing, got 2.0 and then 2.0 at step 0"),
        (torch.tensor([1.0, 2.0, 0.0]), "strictly decreasing"),
        (torch.tensor([0.0]), "at least two"),
        (torch.tensor([2, 1, 0]), "real numbers"),
        (torch.tensor([[1.0, 0.0]]), "a list"),
        (torch.tensor([math.inf, 1.0, 0.0]), "must be finite"),
        (torch.tensor([math.nan, 1.0, 0.0]), "must be finite"),
    ],
)
def test_lists_that_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        check_levels(levels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: karras_levels(1, sigma_min=0.1, sigma_max=1.0), "at least 2"),
        (lambda: karras_levels(5, sigma_min=1.0, sigma_max=1.0), "sigma_min < sigma_max"),
        (lambda: karras_levels(5, sigma_min=0.0, sigma_max=1.0), "0 < sigma_min"),
        (lambda: karras_levels(5, sigma_min=0.1, sigma_max=1.0, rho=0.0), "rho must be positive"),
        (lambda: linear_alpha_bars(0), "num_times"),
        (lambda: linear_alpha_bars(10, beta_first=0.5, beta_last=0.1), "beta_first <= beta_last"),
        (lambda: cosine_alpha_bars(10, max_beta=1.0), "max_beta < 1"),
        (lambda: sigmas_of(torch.tensor([0.5, 0.0])), "above 0"),
        (lambda: sigmas_of(torch.tensor([1.0, 0.5])), "below 1"),
        (lambda: sigmas_of(torch.tensor([0.4, 0.5])), "strictly decreasing in time"),
        (lambda: respaced_times(10, 11), "from 1 to the 10 times"),
        (lambda: respaced_times(10, 0), "from 1 to"),
        (lambda: respaced_times(10, 3, spacing="even"), "trailing, leading or linspace"),
        (lambda: levels_of(linear_alpha_bars(10), [3, 10]), "times from 0 to 9"),
        (lambda: levels_of(linear_alpha_bars(10), [3, -1]), "times from 0 to 9"),
        (lambda: levels_of(linear_alpha_bars(10), [3, 5]), "strictly decreasing times"),
        (lambda: levels_of(linear_alpha_bars(10), []), "times from 0 to 9"),
        (lambda: step_variances(torch.tensor([1.0, 0.0])), "at least two steps"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
