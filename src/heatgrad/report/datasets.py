"""A picture of a data set: points, projected points, or images."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from heatgrad.data import Dataset
from heatgrad.report.style import BLUE, ORANGE

__all__ = ["plot_dataset"]

_SHOWN = 1500


def plot_dataset(ax: Axes, dataset: Dataset) -> Axes:
    """Draw the training part with the labels as the learner sees them.

    Two-dimensional data are drawn as they are, longer vectors on their first two principal
    axes, single numbers against their label, images as a contact sheet.

    Args:
        ax: Where to draw.
        dataset: Of vectors, or of images (channels, height, width).

    Returns:
        `ax`.
    """
    if len(dataset.input_shape) == 3:
        return _plot_images(ax, dataset)
    x = dataset.x_train[:_SHOWN].flatten(1).double().numpy()
    y = dataset.y_train[:_SHOWN].numpy()
    if x.shape[1] > 2:
        centred = x - x.mean(axis=0)
        axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
        # The sign of a principal axis is free: choose it so that pictures repeat.
        axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])[:, None]
        x = centred @ axes.T
        labels = ("first principal axis [data]", "second principal axis [data]")
    elif x.shape[1] == 2:
        labels = ("x [data]", "y [data]")
    else:
        x = np.column_stack([x[:, 0], y])
        labels = ("x [data]", "label")
    colors = ListedColormap([BLUE, ORANGE]) if dataset.num_classes == 2 else "tab10"
    ax.scatter(x[:, 0], x[:, 1], c=y, s=3, cmap=colors, alpha=0.7, linewidths=0, rasterized=True)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.set_aspect("equal", adjustable="datalim")
    return ax


def _plot_images(ax: Axes, dataset: Dataset, *, rows: int = 5, columns: int = 12) -> Axes:
    images = dataset.x_train[: rows * columns].double()
    images = (images - images.amin()) / (images.amax() - images.amin()).clamp_min(1e-12)
    count, channels, height, width = images.shape
    if channels == 1:  # ink on paper
        images = 1 - images
    sheet = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, channels))
    for k in range(count):
        top, left = (k // columns) * (height + 1), (k % columns) * (width + 1)
        sheet[top : top + height, left : left + width] = images[k].permute(1, 2, 0).numpy()
    if channels == 1:
        ax.imshow(sheet[:, :, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        ax.imshow(sheet, interpolation="nearest")
    ax.set_axis_off()
    return ax
