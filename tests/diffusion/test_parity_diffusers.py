"""Step by step beside the schedulers of diffusers, on the same predictions and the same noise."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from heatgrad.diffusion import (
    clipped,
    cosine_alpha_bars,
    ddim,
    ddpm,
    from_data_prediction,
    from_noise_prediction,
    from_velocity_prediction,
    levels_of,
    linear_alpha_bars,
    respaced_times,
)

TABLES = {"linear": linear_alpha_bars, "squaredcos_cap_v2": cosine_alpha_bars}
CONVERT = {
    "epsilon": from_noise_prediction,
    "sample": from_data_prediction,
    "v_prediction": from_velocity_prediction,
}
NUM_TIMES = 100


def network(x, t):
    """No network, but as wild as one: of the sample, its neighbours and the time."""
    t = t.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    return torch.tanh(0.7 * x + 0.3 * x.roll(1, -1) + torch.sin(t / 7)) + 0.1 * x


def wide_network(x, t):
    return torch.cat([network(x, t), torch.sin(3 * x)], dim=1)


def schedule(kind, table, steps, spacing, **options):
    """Return a scheduler with its table in float64, so that only formulas can differ."""
    options = {"clip_sample": False, "timestep_spacing": spacing, **options}
    scheduler = kind(num_train_timesteps=NUM_TIMES, beta_schedule=table, **options)
    scheduler.alphas_cumprod = TABLES[table](NUM_TIMES)
    scheduler.set_timesteps(steps)
    return scheduler


def run(scheduler, x, seed, model=network, **options):
    """Return what they make of x at the first time, in the scaled form, and each denoised x."""
    generator, seen = torch.Generator().manual_seed(seed), []
    for t in scheduler.timesteps:
        answer = model(x, t.expand(len(x)))
        step = scheduler.step(answer, int(t), x, generator=generator, **options)
        x = step.prev_sample
        seen.append(step.pred_original_sample)
    return x, seen


def begin(table, steps, spacing, dtype=torch.float64):
    ab = TABLES[table](NUM_TIMES)
    times = respaced_times(NUM_TIMES, steps, spacing=spacing)
    x = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return ab, levels_of(ab, times), x, x / ab[times[0]].sqrt().to(dtype)


def seen_by(found):
    return lambda step, x, x0: found.append(x0)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("prediction", CONVERT)
@pytest.mark.parametrize(
    ("steps", "spacing"), [(100, "leading"), (10, "leading"), (7, "trailing"), (12, "linspace")]
)
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm(table, prediction, steps, spacing, variance):
    """1e-9 in float64, every step: all predictions, both variances, respaced chains."""
    ab, levels, x_t, x = begin(table, steps, spacing)
    scheduler = schedule(
        DDPMScheduler,
        table,
        steps,
        spacing,
        prediction_type=prediction,
        variance_type=f"fixed_{variance}",
    )
    theirs, their_x0 = run(scheduler, x_t, 5)
    found = []
    ours = ddpm(
        CONVERT[prediction](network, ab),
        x,
        levels,
        generator=torch.Generator().manual_seed(5),
        variance=variance,
        callback=seen_by(found),
    )
    for a, b in zip(found, their_x0, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)
    # Theirs adds noise to the finished samples of a chain whose last time is not 0.
    if variance == "small" or scheduler.timesteps[-1] == 0:
        scale = max(1.0, float(theirs.abs().max()))
        assert float((ours - theirs).abs().max()) < 1e-9 * scale


def test_ddpm_with_a_learned_variance():
    """`learned_range`: second half of the channels, from -1 to 1, between the logarithms."""
    ab, levels, x_t, x = begin("squaredcos_cap_v2", 20, "leading")
    scheduler = schedule(
        DDPMScheduler, "squaredcos_cap_v2", 20, "leading", variance_type="learned_range"
    )
    theirs, _ = run(scheduler, x_t, 5, wide_network)
    ours = ddpm(
        from_noise_prediction(wide_network, ab, learned_variance=True),
        x,
        levels,
        generator=torch.Generator().manual_seed(5),
        variance="learned",
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("prediction", CONVERT)
@pytest.mark.parametrize(
    ("steps", "spacing"), [(100, "leading"), (10, "leading"), (20, "trailing")]
)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(table, prediction, steps, spacing, eta):
    """1e-9 in float64, where their step back in time, T // n, is that of the list of times."""
    ab, levels, x_t, x = begin(table, steps, spacing)
    scheduler = schedule(DDIMScheduler, table, steps, spacing, prediction_type=prediction)
    theirs, _ = run(scheduler, x_t, 5, eta=eta)
    ours = ddim(
        CONVERT[prediction](network, ab),
        x,
        levels,
        eta=eta,
        generator=torch.Generator().manual_seed(5),
    )
    scale = max(1.0, float(theirs.abs().max()))
    assert float((ours - theirs).abs().max()) < 1e-9 * scale


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_clipped_samples(sampler):
    """`clip_sample`; of their DDIM with `use_clipped_model_output`, as ours derives the noise."""
    ab, levels, x_t, x = begin("linear", 10, "leading")
    kind, options = (DDPMScheduler, {}) if sampler == "ddpm" else (DDIMScheduler, {"eta": 0.5})
    scheduler = schedule(kind, "linear", 10, "leading", clip_sample=True, clip_sample_range=0.8)
    if sampler == "ddim":
        options["use_clipped_model_output"] = True
    theirs, _ = run(scheduler, x_t, 5, **options)
    denoiser = clipped(from_noise_prediction(network, ab), -0.8, 0.8)
    generator = torch.Generator().manual_seed(5)
    if sampler == "ddpm":
        ours = ddpm(denoiser, x, levels, generator=generator)
    else:
        ours = ddim(denoiser, x, levels, eta=0.5, generator=generator)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert float(ours.abs().max()) <= 0.8 + 1e-12


def test_where_they_end_with_set_alpha_to_one_off():
    """Theirs then stays at time 0, in the scaled form: ours there, before the step to level 0."""
    ab, levels, x_t, x = begin("linear", 10, "leading")
    scheduler = DDIMScheduler(
        num_train_timesteps=NUM_TIMES, clip_sample=False, set_alpha_to_one=False
    )
    scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = ab, ab[0]
    scheduler.set_timesteps(10)
    theirs, _ = run(scheduler, x_t, 5)
    states = []
    ddim(
        from_noise_prediction(network, ab),
        x,
        levels,
        callback=lambda step, x, x0: states.append(x),
    )
    torch.testing.assert_close(states[-1] * ab[0].sqrt(), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_untouched_tables_and_float32(table, eta):
    """Their own float32 tables and samples: as near as these digits allow, 1e-5 of order one."""
    scheduler = DDIMScheduler(num_train_timesteps=NUM_TIMES, beta_schedule=table, clip_sample=False)
    scheduler.set_timesteps(10)
    _, levels, x_t, x = begin(table, 10, "leading", torch.float32)
    theirs, _ = run(scheduler, x_t, 5, eta=eta)
    denoiser = from_noise_prediction(network, TABLES[table](NUM_TIMES))
    ours = ddim(denoiser, x, levels, eta=eta, generator=torch.Generator().manual_seed(5))
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
