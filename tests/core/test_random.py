import numpy as np
import pytest
import torch

from heatgrad.core.random import stream_generator, stream_seed

PURPOSES = ("data", "init", "order", "dropout", "label_noise", "method", "placebo")


def test_seeds_are_those_of_numpy_seed_sequences():
    """NumPy's SeedSequence with the first four bytes of SHA-256(purpose) as spawn key."""
    # sha256(b"init") begins with bb 54 06 8a: see `printf init | sha256sum`.
    word = int.from_bytes(bytes.fromhex("bb54068a"), "little")
    expected = np.random.SeedSequence(5, spawn_key=(word, 2)).generate_state(1, np.uint32)[0]
    assert stream_seed(5, "init", 2) == expected


def test_streams_do_not_collide():
    """Every (seed, purpose, index) of a large study has a seed of its own, in 32 bits."""
    seeds = [stream_seed(s, p, e) for s in range(20) for p in PURPOSES for e in range(10)]
    seeds += [stream_seed(s, p) for s in range(20) for p in PURPOSES]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_stream_does_not_depend_on_the_others():
    """The order of the batches is the same whatever was drawn for the initial weights."""
    alone = torch.randperm(50, generator=stream_generator(3, "order", 1))
    torch.randn(1000, generator=stream_generator(3, "init"))
    torch.manual_seed(0)
    assert torch.equal(torch.randperm(50, generator=stream_generator(3, "order", 1)), alone)
    assert not torch.equal(torch.randperm(50, generator=stream_generator(3, "order", 2)), alone)


def test_the_global_stream_is_left_alone():
    """Nothing of torch's or NumPy's global state moves."""
    state, other = torch.get_rng_state(), np.random.get_state()[1].copy()
    torch.randn(3, generator=stream_generator(0, "init"))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], other)


def test_streams_look_independent():
    """Means, variances and correlations of normal draws, within five standard errors."""
    n = 20_000
    draws = torch.stack(
        [torch.randn(n, generator=stream_generator(s, p)) for s in (0, 1, 2) for p in PURPOSES]
    ).double()
    assert draws.mean(1).abs().max() < 5 / n**0.5
    assert (draws.var(1) - 1).abs().max() < 5 * (2 / n) ** 0.5
    correlations = torch.corrcoef(draws) - torch.eye(len(draws))
    assert correlations.abs().max() < 5 / n**0.5


def test_seeds_of_consecutive_streams_are_uniform():
    """Each of the 32 bits is set in half of the seeds, within five standard errors."""
    seeds = np.array([stream_seed(s, "data") for s in range(4000)], dtype=np.uint32)
    bits = np.unpackbits(seeds.view(np.uint8)).reshape(4000, 32).mean(0)
    assert np.abs(bits - 0.5).max() < 5 * 0.5 / 4000**0.5


def test_negative_seeds_are_refused():
    """The message says what was received."""
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        stream_seed(-1, "data")
    with pytest.raises(ValueError, match="non-negative"):
        stream_seed(0, "data", -1)
