"""How samples are measured, against laws whose distance is known and against real images."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.linalg import sqrtm
from scipy.spatial import cKDTree

from heatgrad.core.errors import StoreError
from heatgrad.data import Dataset, Digits
from heatgrad.training import judge as judges
from heatgrad.training.judge import Judge, kept_judge, train_judge
from heatgrad.training.quality import Told, _matched, frechet_distance, nearest, quality_of


@pytest.fixture(scope="module")
def digits():
    return Digits().load(0)


@pytest.fixture(scope="module")
def judge(digits):
    return train_judge(digits)


def normal(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def of_law(n, mean, cov, seed):
    """Return points whose sample mean and covariance are exactly as given."""
    x = normal(n, len(mean), seed)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), x.T, upper=False).T
    return torch.as_tensor(mean) + white @ torch.linalg.cholesky(torch.as_tensor(cov)).T


def test_frechet_distance_of_normal_laws_that_commute():
    """|m_a - m_b|^2 + sum over axes of (s_a - s_b)^2, where covariances share their axes."""
    one = of_law(50, [1.0, 2.0, 0.0], np.diag([4.0, 1.0, 9.0]), 0)
    two = of_law(70, [0.0, 2.0, 2.0], np.diag([1.0, 1.0, 25.0]), 1)
    assert frechet_distance(one, two) == pytest.approx(5 + 1 + 0 + 4, rel=1e-10)


def test_frechet_distance_by_scipys_matrix_root():
    """The trace of (C_a C_b)^(1/2) by the Schur method, not by singular values."""
    one, two = normal(40, 6, 0) @ normal(6, 6, 1), normal(90, 6, 2) @ normal(6, 6, 3) + 0.5
    a, b = np.cov(one.T), np.cov(two.T)
    means = np.sum((one.mean(0) - two.mean(0)).numpy() ** 2)
    expected = means + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_is_one_of_laws():
    """0 to itself, alike both ways, whatever the order, turned or scaled; also of few samples."""
    one, two = normal(30, 5, 0), 2 * normal(20, 5, 1)
    value = frechet_distance(one, two)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(two, one) == pytest.approx(value, rel=1e-12)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(one[order], two) == pytest.approx(value, rel=1e-12)
    turn = torch.linalg.qr(normal(5, 5, 2))[0]
    assert frechet_distance(one @ turn, two @ turn) == pytest.approx(value, rel=1e-12)
    assert frechet_distance(3 * one, 3 * two) == pytest.approx(9 * value, rel=1e-12)
    assert frechet_distance(one[:3], one[:3]) == pytest.approx(0, abs=1e-7)  # rank 2 of 5
    with pytest.raises(ValueError, match="two rows at least, of one length"):
        frechet_distance(one[:1], two)
    with pytest.raises(ValueError, match="two rows at least, of one length"):
        frechet_distance(one[:, :4], two)


def test_nearest_by_scipys_tree():
    x, among = normal(50, 12, 0).reshape(50, 3, 4), normal(400, 12, 1).reshape(400, 3, 4)
    distance, place = nearest(x, among, batch_size=7)
    expected = cKDTree(among.flatten(1)).query(x.flatten(1))
    np.testing.assert_allclose(distance, expected[0], rtol=1e-12)
    np.testing.assert_array_equal(place, expected[1])


def test_real_images_are_at_the_floor(digits, judge):
    """Test images that are kept apart, given as samples: no farther than one half from the other.

    They have the classifier's accuracy as their share, and half are nearer than the median.
    """
    apart = torch.arange(len(digits.y_test)) % 2 == 0
    rest = dataclasses.replace(
        digits,
        x_test=digits.x_test[~apart],
        y_test=digits.y_test[~apart],
        y_test_clean=digits.y_test_clean[~apart],
    )
    labels = digits.y_test[apart]
    found = quality_of(judge, rest, digits.x_test[apart], labels)
    right = judge.looks_at(digits.x_test[apart])[0] == labels
    assert found.told == Told.of(int(right.sum()), len(labels))
    assert found.told.share > 0.95
    laws = found.laws
    assert laws.num_features == 32
    assert laws.count_real == 90
    assert 0.6 * laws.floor < laws.samples < 1.6 * laws.floor
    assert laws.ceiling > 10 * laws.floor
    assert 0.35 < found.copies.nearer.share < 0.65
    assert found.copies.copied.share < 0.05


def test_the_data_own_share_is_the_accuracy(digits, judge):
    """Test images themselves as samples: the share is the accuracy, and just half are nearer."""
    found = quality_of(judge, digits, digits.x_test, digits.y_test)
    assert found.told == found.accuracy
    assert found.copies.nearer.share == pytest.approx(0.5, abs=2 / 360)
    assert torch.equal(found.copies.samples.sort().values, found.copies.tests.sort().values)


def test_training_images_are_copies(digits, judge):
    found = quality_of(judge, digits, digits.x_train[100:150], None)
    assert found.told is None
    assert (found.copies.copied.share, found.copies.nearer.share) == (1, 1)
    assert found.copies.of.tolist() == list(range(100, 150))
    assert float(found.copies.samples.max()) == 0


def test_noise_is_at_the_ceiling(digits, judge):
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(200, 1, 8, 8, generator=generator) * digits.x_train.std()
    laws = quality_of(judge, digits, noise + digits.x_train.mean(), None).laws
    assert laws.samples == pytest.approx(laws.ceiling, rel=0.1)


def test_one_class_is_compared_with_itself(digits, judge):
    """Sevens beside sevens: other classes among the test images would be far away."""
    sevens = digits.x_train[digits.y_train == 7]
    found = quality_of(judge, digits, sevens[:18], torch.full((18,), 7))
    count = int((digits.y_test == 7).sum())
    assert found.accuracy.count == count
    assert found.laws.count_real == count // 2
    assert found.laws.samples < 2 * found.laws.floor_high
    few = quality_of(judge, digits, sevens[:1], torch.tensor([7])).laws
    assert few.count == 1
    assert np.isnan([few.samples, few.floor, few.ceiling]).all()


def test_classes_are_matched():
    """Of each class as many on both sides; where one is short, all are cut in proportion."""
    labels = torch.arange(40) % 2
    real = torch.tensor([0] * 10 + [1] * 30)
    ours, theirs = _matched(labels, real, torch.arange(40))
    assert labels[ours].bincount().tolist() == real[theirs].bincount().tolist() == [10, 10]
    ours, theirs = _matched(labels[:8], real, torch.arange(40))
    assert labels[ours].bincount().tolist() == [4, 4]


def test_what_cannot_be_measured(digits, judge):
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\) as the data have, got shape \(3, 1"):
        quality_of(judge, digits, torch.zeros(3, 1, 4, 4), None)
    few = dataclasses.replace(
        digits,
        x_test=digits.x_test[digits.y_test < 5],
        y_test=digits.y_test[digits.y_test < 5],
        y_test_clean=digits.y_test_clean[digits.y_test < 5],
    )
    with pytest.raises(ValueError, match="classes that test images have"):
        quality_of(judge, few, torch.zeros(3, 1, 8, 8), torch.full((3,), 7))


@pytest.fixture
def small():
    """Return a data set on which a classifier is trained in no time."""
    y = torch.arange(32) % 2
    x = normal(32, 16, 0).float().reshape(32, 1, 4, 4) + 3.0 * y.view(-1, 1, 1, 1)
    return Dataset.from_clean(x_train=x, y_train=y, x_test=x, y_test=y, num_classes=2)


@pytest.fixture
def trainings(monkeypatch):
    """Return the list to which each training of a classifier adds."""
    made = []

    def train(dataset, **options):
        made.append(dataset)
        monkeypatch.setattr(judges, "_LEAST_STEPS", 30)
        return train_judge(dataset, **options)

    monkeypatch.setattr(judges, "train_judge", train)
    return made


def test_a_judge_is_trained_once(small, trainings, tmp_path):
    """What is read back says what was kept, to the bit; of other data another is trained."""
    place = tmp_path / "classifier.safetensors"
    seen = []
    first = kept_judge(place, small, "a", on_step=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    again = kept_judge(place, small, "a")
    assert len(trainings) == 1
    for one, two in zip(first.looks_at(small.x_test), again.looks_at(small.x_test), strict=True):
        assert torch.equal(one, two)
    kept_judge(place, small, "b")
    kept_judge(place, small, "b", seed=1)
    assert len(trainings) == 3


def test_files_of_others_are_left_alone(small, trainings, tmp_path):
    place = tmp_path / "classifier.safetensors"
    place.write_bytes(b"anything")
    with pytest.raises(StoreError, match="is damaged, or no classifier that heatgrad keeps"):
        kept_judge(place, small, "a")
    save_file({"x": torch.zeros(2)}, place)
    with pytest.raises(StoreError, match="is damaged, or no classifier that heatgrad keeps"):
        kept_judge(place, small, "a")
    assert trainings == []


def test_a_judge_that_cannot_be_kept_judges_all_the_same(small, trainings, tmp_path):
    (tmp_path / "file").write_text("")
    judge = kept_judge(tmp_path / "file" / "classifier.safetensors", small, "a")
    assert isinstance(judge, Judge)
    assert len(trainings) == 1
