"""Draws of the guided samplers against the exact posterior."""

import math

import numpy as np
import pytest
import torch

from heatgrad.diffusion import GaussianDenoiser, karras_levels
from heatgrad.inverse import (
    DPS,
    ExactGaussianPosterior,
    HardConstraint,
    Observation,
    PersistentAdam,
    Points,
    PosteriorSampler,
    PseudoInverse,
    SpectralLatent,
    coverage,
    decode_in_parts,
    observe,
    relative_error,
)
from heatgrad.inverse.guidance.guidance import Steering
from heatgrad.inverse.sampling.steps import run

LEVELS = karras_levels(15, sigma_min=0.02, sigma_max=20.0)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def white(latent):
    return GaussianDenoiser(torch.zeros(latent.shape, dtype=torch.float64), std=1.0)


class Held:
    """The exact guided denoiser of independent numbers with posterior means m and variances v."""

    def __init__(self, m, v):
        self.m, self.v = torch.tensor(m).double(), torch.tensor(v).double()

    def denoise(self, x, sigma, *, is_first):
        """Return E[z | x], number by number."""
        return self.m + self.v / (self.v + sigma**2) * (x - self.m)

    def moved(self, x, sigma, below):
        """Change nothing."""
        return x

    def finished(self, x):
        """Change nothing."""
        return x


def flow_error(sampler, steps):
    """Return the error of the map from level 20 to 0, whose factor is sqrt(v / (v + 20^2))."""
    v = [0.05, 0.3, 0.7]
    steering = Held([0.0] * 3, v)
    assert isinstance(steering, Steering)
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = [*torch.exp(math.log(20.0) + share * math.log(0.02 / 20.0)).tolist(), 0.0]
    found = run(steering, torch.ones(1, 3, dtype=torch.float64), levels, sampler, 1.0)[0]
    last = torch.tensor(v) / (torch.tensor(v) + 0.02**2)  # the last step is x = D by definition
    exact = ((torch.tensor(v) + 0.02**2) / (torch.tensor(v) + 400.0)).sqrt() * last
    return float((found / exact - 1).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2), ("angle", 2)])
def test_order_of_the_samplers(sampler, order):
    """The probability flow of a Gaussian in closed form; errors fall as steps^-order."""
    steps = (40, 80, 160)
    errors = [flow_error(sampler, n) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("steps", [2, 5])
def test_in_the_angle_unseen_numbers_keep_their_law(steps):
    """Of N(0, s^2) the flow in the angle stands still: exact with any number of steps."""
    steering = Held([0.0], [0.25])
    levels = [*torch.linspace(20.0, 0.5, steps).tolist(), 1e-6, 0.0]
    x = torch.tensor([[math.hypot(20.0, 0.5)]], dtype=torch.float64)
    found = run(steering, x, levels, "angle", 0.5)
    assert float(found) == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("field", ["a", "u"])
def test_draws_have_the_exact_posterior_law(field, problem):
    """The sampler is affine in its start: its whole covariance from unit starts, against NumPy's.

    Fields are compared, by the size of the gap of the covariance over the covariance; 29 calls.
    """
    p = problem(modes=8, field=field, num=10)
    size = 64
    values = observe(p.pde.sample(1, seeded(1)), p.pde.grid, [p.points]).values
    ready = PseudoInverse().prepare(p.latent, [p.points], torch.zeros(10), levels=LEVELS.tolist())
    unit = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().reshape(-1, 1, 8, 8)
    start = unit * math.hypot(20.0, 1.0)
    steering = ready.steer(lambda x, s: x / (1 + s**2), values.expand(size + 1, -1), None)
    ends = run(steering, start, LEVELS.tolist(), "angle", 1.0).flatten(1).numpy()
    found_mean, jacobian = ends[0], (ends[1:] - ends[0]).T
    mean, cov = p.gaussian(values[0].numpy())
    F = p.decoder
    exact, found = F @ cov @ F.T, F @ (jacobian @ jacobian.T) @ F.T
    for rows in (slice(0, 289), slice(289, None)):
        gap = np.linalg.norm((found - exact)[rows, rows]) / np.linalg.norm(exact[rows, rows])
        assert gap < 0.04
        spread = np.sqrt(np.trace(exact[rows, rows]))
        assert np.linalg.norm(F[rows] @ (found_mean - mean)) < 0.1 * spread


@pytest.fixture(scope="module")
def posed(problem):
    """Return Poisson on 33 nodes with 60 cases, its sensors, and the exact mean."""
    p = problem(n=33, modes=20, field="u", num=60)
    fields = p.pde.sample(60, seeded(1))
    seen = observe(fields, p.pde.grid, [p.points])
    exact = ExactGaussianPosterior(p.latent, [p.points])
    return p, fields, seen, decode_in_parts(p.latent, exact.mean(seen.values)), exact


def test_pseudo_inverse_guidance_meets_its_bar(posed):
    """Mean within 2 % of the exact, coverage 87-93 %, errors of one draw as of exact draws."""
    p, fields, seen, exact_mean, exact = posed
    sampler = PosteriorSampler(white(p.latent), p.latent, PseudoInverse(), LEVELS, antithetic=True)
    draws = sampler.draw(seen, 16, seeded(0))
    assert draws.calls == 29
    true_draws = decode_in_parts(p.latent, exact.draw(seen.values, 16, seeded(2)))
    for name in ("a", "u"):
        floor = float(relative_error(exact_mean[name], fields[name]).mean())
        found = float(relative_error(draws.mean()[name], fields[name]).mean())
        assert found == pytest.approx(floor, rel=0.02)
        gap = relative_error(draws.mean()[name], exact_mean[name]).mean()
        assert float(gap) < 0.02
        one = [
            float(relative_error(d[name], fields[name][:, None]).mean())
            for d in (draws.fields, true_draws)
        ]
        assert one[0] == pytest.approx(one[1], rel=0.05)
    # Points of one field go together: of 60 cases the share has a standard error of about 1 %.
    share = float(coverage(draws.fields["a"], fields["a"], 0.9, dim=1).mean())
    assert 0.87 < share < 0.93
    band = draws.bands(0.9)["a"]
    assert share == pytest.approx(
        float(((fields["a"] >= band.low) & (fields["a"] <= band.high)).double().mean())
    )
    assert draws.std()["u"].shape == (60, 33, 33)


def test_dps_and_adam_have_a_gap(posed):
    """They fit the sensors better than the prior's mean, and stay above the exact floor."""
    p, fields, seen, exact_mean, _ = posed
    some = Observation(seen.operators, seen.values[:4])
    floor = float(relative_error(exact_mean["a"], fields["a"])[:4].mean())
    for guidance in (DPS(), PersistentAdam()):
        levels = karras_levels(100, sigma_min=0.01, sigma_max=70.0)
        sampler = PosteriorSampler(white(p.latent), p.latent, guidance, levels, sampler="euler")
        draws = sampler.draw(some, 4, seeded(0))
        assert draws.calls == 100
        error = float(relative_error(draws.mean()["a"], fields["a"][:4]).mean())
        assert floor < error < 1.0


def test_hard_constraints_hold_exactly(problem):
    """Values of sensors of draws, ECI's or after another guidance, are the given ones to 1e-9."""
    p = problem(field="a", num=10)
    z = torch.randn(2, *p.latent.shape, generator=seeded(0), dtype=torch.float64)
    seen = observe(p.latent.decode(z), p.pde.grid, [p.points])
    levels = karras_levels(12, sigma_min=0.02, sigma_max=20.0)
    for guidance in (HardConstraint(), HardConstraint(renew=True), HardConstraint(DPS(0.1))):
        sampler = PosteriorSampler(white(p.latent), p.latent, guidance, levels)
        draws = sampler.draw(seen, 3, seeded(1))
        again = observe({"a": draws.fields["a"].flatten(0, 1)}, p.pde.grid, [p.points]).values
        assert torch.allclose(
            again.unflatten(0, (2, 3)), seen.values[:, None].expand(-1, 3, -1), atol=1e-9
        )


def test_a_hard_constraint_on_the_flow_is_pseudo_inverse_guidance(problem):
    """ECI's projection without fresh noise is Eq. (I.20) for S = I and R = 0."""
    p = problem(field="a", num=10)
    seen = observe(p.pde.sample(2, seeded(0)), p.pde.grid, [p.points])
    found = [
        PosteriorSampler(white(p.latent), p.latent, g, LEVELS).draw(seen, 2, seeded(1))
        for g in (HardConstraint(), PseudoInverse(jitter=0.0))
    ]
    assert torch.allclose(found[0].latents, found[1].latents, atol=1e-8)


def test_batches_change_nothing_and_set_up_is_kept(problem):
    """The same draws for any batch; a second call with the same sensors sets nothing up."""
    p = problem()
    seen = observe(p.pde.sample(3, seeded(0)), p.pde.grid, [p.points])
    found = []
    for batch in (1, 4, 256):
        sampler = PosteriorSampler(white(p.latent), p.latent, PseudoInverse(), LEVELS, batch=batch)
        found.append(sampler.draw(seen, 2, seeded(1)))
        assert sampler.prepare(seen.operators) is sampler.prepare(seen.operators, 0.0)
        assert sampler.prepare(seen.operators) is not sampler.prepare(seen.operators, 1e-3)
    assert torch.allclose(found[0].latents, found[2].latents, atol=1e-9)
    assert torch.allclose(found[1].latents, found[2].latents, atol=1e-9)
    assert found[0].calls == found[1].calls == found[2].calls == 29


def test_both_fields_partly_seen(problem):
    """Sensors of a and of u together, one with noise: the draws' mean is the dense posterior's."""
    p = problem(modes=6)
    operators = [Points("a", [(0.25, 0.25), (0.75, 0.5)]), p.points]
    noise = torch.cat([torch.full((2,), 0.05), torch.full((12,), 1e-4)])
    fields = p.pde.sample(2, seeded(0))
    seen = observe(fields, p.pde.grid, operators, noise, seeded(1))
    rows = np.concatenate([p.decoder[[4 * 17 + 4, 12 * 17 + 8]], p.rows])
    gram = rows @ rows.T + np.diag(noise.numpy() ** 2)
    levels = karras_levels(40, sigma_min=1e-3, sigma_max=80.0)
    sampler = PosteriorSampler(
        white(p.latent), p.latent, PseudoInverse(jitter=0.0), levels,
        antithetic=True,
    )  # fmt: skip
    draws = sampler.draw(seen, 2, seeded(2))
    for k in range(2):
        mean = p.decoder @ (rows.T @ np.linalg.solve(gram, seen.values[k].numpy()))
        found = np.concatenate([draws.mean()[name][k].flatten().numpy() for name in ("a", "u")])
        for part in (slice(0, 289), slice(289, None)):
            assert np.linalg.norm((found - mean)[part]) < 0.01 * np.linalg.norm(mean[part])


def test_networks_are_called_in_their_own_type(problem):
    """A float32 network in a float64 sampler; draws are float64."""
    p = problem()

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones(()))

        def forward(self, x, sigma):
            assert x.dtype == sigma.dtype == torch.float32
            return self.one * x / (1 + sigma**2)

    seen = observe(p.pde.sample(1, seeded(0)), p.pde.grid, [p.points])
    draws = [
        PosteriorSampler(d, p.latent, PseudoInverse(), LEVELS).draw(seen, 2, seeded(1))
        for d in (Net(), white(p.latent))
    ]
    assert draws[0].fields["u"].dtype == torch.float64
    gap = (draws[0].fields["u"] - draws[1].fields["u"]).norm() / draws[1].fields["u"].norm()
    assert float(gap) < 1e-3


def test_refusals(problem):
    """One clear line each: options, a diverging guidance, NaN from a network, odd pairs."""
    p = problem()
    den = white(p.latent)
    seen = observe(p.pde.sample(1, seeded(0)), p.pde.grid, [p.points])
    generator = seeded(0)
    with pytest.raises(ValueError, match="sampler must be one of"):
        PosteriorSampler(den, p.latent, DPS(), LEVELS, sampler="ddim")
    with pytest.raises(ValueError, match="levels must end in 0"):
        PosteriorSampler(den, p.latent, DPS(), LEVELS.flip(0))
    with pytest.raises(ValueError, match="even, for pairs"):
        PosteriorSampler(den, p.latent, DPS(), LEVELS, antithetic=True).draw(seen, 3, generator)
    with pytest.raises(ValueError, match="the guidance diverged"):
        PosteriorSampler(den, p.latent, DPS(1e9), LEVELS).draw(seen, 2, generator)
    with pytest.raises(ValueError, match="NaN or inf"):
        PosteriorSampler(lambda x, s: x * math.nan, p.latent, PseudoInverse(), LEVELS).draw(
            seen, 2, generator
        )
    twins = [Points("a", [(0.5, 0.5), (0.5, 0.5)])]
    for guidance in (DPS(), PersistentAdam(), PseudoInverse()):
        with pytest.raises(ValueError, match="sensors 0 and 1 measure the same"):
            PosteriorSampler(den, p.latent, guidance, LEVELS).draw(
                Observation(twins, torch.tensor([0.1, 0.2])), 2, generator
            )
    with pytest.raises(ValueError, match="unknown field 'w'"):
        PosteriorSampler(den, p.latent, DPS(), LEVELS).prepare([Points("w", [(0.5, 0.5)])])
    assert isinstance(p.latent.latent, SpectralLatent)
