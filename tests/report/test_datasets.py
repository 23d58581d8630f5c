import numpy as np
import pytest
import torch

from heatgrad.data import Dataset, Digits, FragmentedManifold, Spiral
from heatgrad.report import plot_dataset


def test_two_dimensions_are_drawn_as_they_are(ax):
    data = Spiral(num_samples=200, num_test=50).load(seed=0)
    assert plot_dataset(ax, data) is ax
    points = ax.collections[0]
    np.testing.assert_array_equal(points.get_offsets(), data.x_train.double().numpy())
    np.testing.assert_array_equal(points.get_array(), data.y_train.numpy())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x [data]", "y [data]")


def test_more_dimensions_are_drawn_on_the_principal_axes(ax):
    """The variances along the principal axes are the largest eigenvalues of the covariance."""
    data = FragmentedManifold(num_samples=400, num_test=100, label_noise=0.3).load(seed=0)
    plot_dataset(ax, data)
    points = np.asarray(ax.collections[0].get_offsets())
    largest = np.linalg.eigvalsh(np.cov(data.x_train.double().numpy().T))[:-3:-1]
    np.testing.assert_allclose(np.cov(points.T), np.diag(largest), atol=1e-9 * largest[0])
    np.testing.assert_array_equal(ax.collections[0].get_array(), data.y_train.numpy())
    assert "principal axis" in ax.get_xlabel()


def test_images_are_a_contact_sheet_of_ink_on_paper(ax):
    """Five rows of twelve, one point apart; a pixel of 0 is white, as the gaps are."""
    data = Digits().load(seed=0)
    plot_dataset(ax, data)
    sheet = ax.images[0].get_array()
    assert sheet.shape == (5 * 9 - 1, 12 * 9 - 1)
    np.testing.assert_allclose(sheet[:8, :8], 1 - data.x_train[0, 0].double(), atol=1e-7)
    np.testing.assert_allclose(sheet[9:17, :8], 1 - data.x_train[12, 0].double(), atol=1e-7)
    assert np.all(sheet[8] == 1)
    assert np.all(sheet[:, 8] == 1)


@pytest.mark.parametrize("count", [7, 100])
def test_colour_images_and_few_of_them(ax, count):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, 4, 4, generator=generator)
    y = torch.arange(count) % 2
    data = Dataset.from_clean(x_train=x, y_train=y, x_test=x, y_test=y, num_classes=2)
    plot_dataset(ax, data)
    sheet = ax.images[0].get_array()
    assert sheet.shape == (24, 59, 3)
    assert sheet.min() == 0
    assert sheet.max() == 1
    assert np.all(sheet[4] == 1)


def test_a_single_dimension_is_drawn_too(ax):
    x, y = torch.arange(10.0)[:, None], torch.arange(10) % 2
    data = Dataset.from_clean(x_train=x, y_train=y, x_test=x, y_test=y, num_classes=2)
    plot_dataset(ax, data)
    points = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_array_equal(points, np.column_stack([x[:, 0], y]))
