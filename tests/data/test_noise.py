import pytest
import torch

from heatgrad.data import Ceiling, Dataset, FragmentedManifold, noisy_accuracy, with_label_noise

N = 100_000


def clean_data(num_classes, *, ceiling=None):
    y = torch.arange(N) % num_classes
    x = torch.zeros(N, 1)
    return Dataset.from_clean(
        x_train=x, y_train=y, x_test=x, y_test=y, num_classes=num_classes, ceiling=ceiling
    )


@pytest.mark.parametrize(("num_classes", "rate"), [(2, 0.3), (3, 0.6), (10, 0.3), (10, 0.05)])
def test_flip_rate_and_uniform_replacement(num_classes, rate):
    """A flip is Bernoulli(rate), its class uniform over the others: five standard errors."""
    noisy = with_label_noise(clean_data(num_classes), rate, seed=1)
    for seen, clean in [(noisy.y_train, noisy.y_train_clean), (noisy.y_test, noisy.y_test_clean)]:
        flipped = seen != clean
        assert flipped.double().mean().item() == pytest.approx(
            rate, abs=5 * (rate * (1 - rate) / N) ** 0.5
        )
        shift = (seen - clean)[flipped] % num_classes
        q = 1 / (num_classes - 1)
        for k in range(1, num_classes):
            share = (shift == k).double().mean().item()
            error = (q * (1 - q) / shift.numel()) ** 0.5
            assert share == pytest.approx(q, abs=5 * error)


def test_flips_are_independent_of_class_and_position():
    """Independent flips: neighbouring ones are uncorrelated, every class has the same rate."""
    noisy = with_label_noise(clean_data(10), 0.3, seed=2)
    flipped = (noisy.y_train != noisy.y_train_clean).double()
    centred = flipped - 0.3
    assert (centred[1:] * centred[:-1]).mean().abs() < 5 * 0.21 / N**0.5
    for k in range(10):
        rate = flipped[noisy.y_train_clean == k].mean().item()
        assert rate == pytest.approx(0.3, abs=5 * (0.21 / (N / 10)) ** 0.5)


def test_flips_are_nested_in_the_rate():
    """One uniform number per label: a flip at rate 0.1 is the same flip at rate 0.4."""
    data = clean_data(10)
    low, high = (with_label_noise(data, rate, seed=3) for rate in (0.1, 0.4))
    flipped = low.y_train != data.y_train
    assert flipped.any()
    assert torch.equal(low.y_train[flipped], high.y_train[flipped])
    assert (high.y_train != data.y_train).sum() > flipped.sum()


def test_parts_have_streams_of_their_own():
    """Switching one part off leaves the other bit for bit as it was."""
    data = clean_data(10)
    both = with_label_noise(data, 0.3, seed=4)
    only_train = with_label_noise(data, 0.3, seed=4, test=False)
    only_test = with_label_noise(data, 0.3, seed=4, train=False)
    assert torch.equal(only_train.y_train, both.y_train)
    assert torch.equal(only_train.y_test, data.y_test)
    assert torch.equal(only_test.y_test, both.y_test)
    assert torch.equal(only_test.y_train, data.y_train)
    # Same clean labels in both parts, so the same stream would give the same noise.
    assert not torch.equal(both.y_train, both.y_test)


def test_pure_and_not_compounding():
    """The argument is not changed, the seed decides, and noise on noise is the same noise."""
    data = clean_data(2)
    before = data.y_train.clone()
    noisy = with_label_noise(data, 0.3, seed=5)
    assert torch.equal(data.y_train, before)
    assert torch.equal(with_label_noise(data, 0.3, seed=5).y_train, noisy.y_train)
    assert not torch.equal(with_label_noise(data, 0.3, seed=6).y_train, noisy.y_train)
    assert torch.equal(with_label_noise(noisy, 0.3, seed=5).y_train, noisy.y_train)


@pytest.mark.parametrize(("num_classes", "rate"), [(2, 0.3), (2, 0.45), (10, 0.3), (10, 0.8)])
def test_noisy_accuracy_against_simulated_labels(num_classes, rate):
    """Score a classifier that is right with probability 0.9 against simulated noisy labels."""
    noisy = with_label_noise(clean_data(num_classes), rate, seed=7)
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(N, generator=generator) >= 0.9
    shift = torch.randint(1, num_classes, (N,), generator=generator)
    said = torch.where(wrong, (noisy.y_test_clean + shift) % num_classes, noisy.y_test_clean)
    scored = (said == noisy.y_test).double().mean().item()
    expected = noisy_accuracy(0.9, rate, num_classes)
    assert scored == pytest.approx(expected, abs=5 * (expected * (1 - expected) / N) ** 0.5)


def test_bayes_classifier_meets_the_noisy_ceiling():
    """The exact posterior's decisions, scored on flipped labels, reach the stated ceiling."""
    task = FragmentedManifold(num_samples=200_000, num_test=150_000, separation=1.0)
    data = task.load(seed=0)
    said = (task.posterior(data.x_test, seed=0) > 0.5).long()
    ceiling = data.ceiling
    for labels, expected in [(data.y_test_clean, ceiling.clean), (data.y_test, ceiling.noisy)]:
        error = (expected * (1 - expected) / 150_000 + ceiling.stderr**2) ** 0.5
        assert (said == labels).double().mean().item() == pytest.approx(expected, abs=5 * error)


def test_ceiling_follows_the_test_noise_only():
    """70 % is the limit for flipped binary test labels; clean test labels keep 100 %."""
    data = clean_data(2, ceiling=Ceiling(clean=1.0, noisy=1.0, stderr=0.0))
    assert with_label_noise(data, 0.3, seed=0).ceiling.noisy == pytest.approx(0.7)
    assert with_label_noise(data, 0.3, seed=0, test=False).ceiling.noisy == 1.0
    assert with_label_noise(data, 0.3, seed=0).ceiling.clean == 1.0


@pytest.mark.parametrize(
    ("num_classes", "rate"), [(2, 0.5), (10, 0.9), (2, -0.1), (2, float("nan"))]
)
def test_rate_limits(num_classes, rate):
    """At rho = 1 - 1/K the label says nothing about the class; beyond, the wrong thing."""
    with pytest.raises(ValueError, match="less than 1 - 1/K"):
        with_label_noise(clean_data(num_classes), rate, seed=0)
    with pytest.raises(ValueError, match="less than 1 - 1/K"):
        noisy_accuracy(1.0, rate, num_classes)
