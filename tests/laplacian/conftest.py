"""The truth for this folder: dense matrices built neighbour by neighbour, in NumPy."""

import numpy as np
import pytest
import torch

BOUNDARIES = ("neumann", "periodic", "dirichlet")

# A type checker on the annotations, where one is switched on, comes before our own checks.
TYPE_CHECKER = "Type-check error"


def _dense(shape, dims, boundary):
    """Return the Laplacian as a matrix over the row-major index, by accumulating each term."""
    axes = range(len(shape)) if dims is None else [d % len(shape) for d in np.atleast_1d(dims)]
    index = np.arange(int(np.prod(shape))).reshape(shape)
    matrix = np.zeros((index.size, index.size))
    for here in np.ndindex(*shape):
        for axis in axes:
            for step in (1, -1):
                there, n = list(here), shape[axis]
                there[axis] += step
                outside = not 0 <= there[axis] < n
                if boundary == "periodic":
                    there[axis] %= n
                elif boundary == "neumann":
                    there[axis] = min(max(there[axis], 0), n - 1)
                matrix[index[here], index[here]] -= 1
                if not (outside and boundary == "dirichlet"):
                    matrix[index[here], index[tuple(there)]] += 1
    return matrix


@pytest.fixture(scope="session")
def dense():
    """Return the function `(shape, dims, boundary) -> matrix`."""
    return _dense


@pytest.fixture(scope="session")
def random_field():
    """Return the function `(shape, dtype) -> tensor` of standard normal values, always the same."""

    def draw(shape, dtype=torch.float64):
        return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(7))

    return draw


@pytest.fixture
def raises_type():
    """Return `pytest.raises` for a wrong type; our message, or a type checker's if one runs."""
    return lambda match: pytest.raises(TypeError, match=f"{match}|{TYPE_CHECKER}")


@pytest.fixture(params=BOUNDARIES)
def boundary(request):
    """Run a test with each boundary condition."""
    return request.param


GRIDS = (
    ((1,), None),
    ((2,), None),
    ((3,), 0),
    ((8,), -1),
    ((9,), None),
    ((1, 5), None),
    ((2, 2), None),
    ((4, 5), 0),
    ((4, 5), (1,)),
    ((3, 6), (-1, 0)),
    ((2, 3, 4), None),
    ((3, 1, 4), (0, 1)),
    ((4, 2, 3), (2, -3)),
)


@pytest.fixture(params=GRIDS, ids=str)
def grid(request):
    """Run a test with shapes of one to three axes and subsets of them."""
    return request.param
