"""What a network predicts, turned into one another: identities of the chain, and its ends."""

import pytest
import torch

from heatgrad.diffusion import (
    GaussianDenoiser,
    as_noise_prediction,
    cosine_alpha_bars,
    ddim,
    from_data_prediction,
    from_noise_prediction,
    from_velocity_prediction,
    levels_of,
    linear_alpha_bars,
    sigmas_of,
)

AB = cosine_alpha_bars(50)
SIGMAS = sigmas_of(AB)


def drawn(n=6):
    """Return clean samples, noise, times and the chain's noisy samples."""
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    t = torch.randint(50, (n,), generator=generator)
    ab = AB[t].unsqueeze(1)
    return x0, eps, t, ab, ab.sqrt() * x0 + (1 - ab).sqrt() * eps


@pytest.mark.parametrize("kind", ["noise", "data", "velocity"])
def test_a_perfect_prediction_gives_the_data(kind):
    """ε, x0 and v = sqrt(ab) ε - sqrt(1 - ab) x0 of the same sample, seen in the scaled form."""
    x0, eps, t, ab, x_t = drawn()
    answers = {"noise": eps, "data": x0, "velocity": ab.sqrt() * eps - (1 - ab).sqrt() * x0}

    def network(seen, times):
        assert torch.equal(times, t)
        torch.testing.assert_close(seen, x_t, rtol=1e-9, atol=1e-9)
        return answers[kind]

    convert = {
        "noise": from_noise_prediction,
        "data": from_data_prediction,
        "velocity": from_velocity_prediction,
    }[kind]
    # The tolerance is that of σ ε beside x0 at the last times.
    found = convert(network, AB)(x_t / ab.sqrt(), SIGMAS[t])
    torch.testing.assert_close(found, x0, rtol=0, atol=1e-9)


def test_there_and_back():
    """A denoiser as a network that predicts noise, as a denoiser again."""
    law = GaussianDenoiser(torch.ones(3).double(), std=0.5)
    x, sigma = 3 * torch.randn(4, 3).double(), SIGMAS[[3, 9, 20, 44]]
    again = from_noise_prediction(as_noise_prediction(law, AB), AB)
    torch.testing.assert_close(again(x, sigma), law(x, sigma), rtol=1e-9, atol=1e-9)
    one = again(x, SIGMAS[9])
    torch.testing.assert_close(one, law(x, SIGMAS[9]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("table", [linear_alpha_bars(1000), cosine_alpha_bars(1000)])
def test_every_level_finds_its_own_time(table, dtype):
    """All 1000 of them, after rounding to float32, from the last to 0: no off-by-one."""
    seen = []

    def network(x, t):
        assert t.dtype == torch.int64
        seen.append(t)
        return x

    denoiser = from_noise_prediction(network, table)
    denoiser(torch.zeros(1000, 1, dtype=dtype), levels_of(table)[:-1].to(dtype))
    assert seen[0].tolist() == list(range(999, -1, -1))


def test_times_between_times():
    """The nearest in log σ, or a fraction; the scale is the level's own."""
    between = (0.7 * SIGMAS[20].log() + 0.3 * SIGMAS[21].log()).exp()
    seen = []

    def network(x, t):
        seen.append((x, t))
        return x

    x = torch.ones(2, 1, dtype=torch.float64)
    for interpolate in (False, True):
        from_noise_prediction(network, AB, interpolate=interpolate)(x, between)
    assert seen[0][1].tolist() == [20, 20]
    torch.testing.assert_close(seen[1][1], torch.full((2,), 20.3).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(seen[0][0], x / (1 + between**2).sqrt())


def test_labels_go_on_and_parameters_belong():
    """The class is a third argument where there is one; training a converter trains the network."""

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, x, t, label=None):
            return self.weight * x + (0 if label is None else label.unsqueeze(1))

    denoiser = from_data_prediction(Network(), AB)
    assert [name for name, _ in denoiser.named_parameters()] == ["network.weight"]
    x, label = torch.zeros(2, 1), torch.tensor([3, 4])
    assert denoiser(x, SIGMAS[3], label).flatten().tolist() == [3, 4]
    assert denoiser(x, SIGMAS[3]).flatten().tolist() == [0, 0]


def test_fraction_of_a_learned_variance():
    """-1 is the small variance, 1 the large one."""
    denoiser = from_noise_prediction(
        lambda x, t: torch.cat([x, torch.tensor([[-1.0, 0.0, 1.0]]).to(x)], 1),
        AB,
        learned_variance=True,
    )
    x = torch.randn(1, 3)
    x0, share = denoiser.with_fraction(x, SIGMAS[5])
    assert share.tolist() == [[0.0, 0.5, 1.0]]
    assert torch.equal(x0, denoiser(x, SIGMAS[5]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda D: D(torch.ones(2, 3), 2 * SIGMAS[-1]), ValueError, "within the chain's levels"),
        (lambda D: D(torch.ones(2, 3), SIGMAS[0] / 2), ValueError, "within the chain's levels"),
        (lambda D: D(torch.ones(2, 3), torch.tensor(0.0)), ValueError, "within the chain's levels"),
        (lambda D: D.with_fraction(torch.ones(2, 3), SIGMAS[3]), TypeError, "learned_variance"),
        (
            lambda D: from_noise_prediction(lambda x, t: torch.cat([x, x], 1), AB)(
                torch.ones(2, 3), SIGMAS[3]
            ),
            ValueError,
            "is its variance learned",
        ),
        (
            lambda D: from_noise_prediction(lambda x, t: (x,), AB)(torch.ones(2, 3), SIGMAS[3]),
            ValueError,
            "unwrap it",
        ),
        (lambda D: from_noise_prediction(lambda x, t: x, AB.flip(0)), ValueError, "decreasing"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call(from_noise_prediction(lambda x, t: x, AB))


def test_a_chain_of_one_time():
    ab = torch.tensor([0.5], dtype=torch.float64)
    denoiser = from_noise_prediction(lambda x, t: 0 * x + t.unsqueeze(1), ab)
    x = torch.ones(2, 3, dtype=torch.float64)
    assert torch.equal(ddim(denoiser, x, levels_of(ab)), x)
