"""Shared parts of these tests: parameters, gradients, and the chain as a dense matrix."""

import contextlib

import numpy as np
import pytest
import torch

BOUNDARIES = ("neumann", "periodic", "dirichlet")
SHAPES = ((3, 4), (), (5,), (0, 3), (2, 1, 3), (1,))


def _normal(shape, dtype, generator):
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return torch.randn(shape, generator=generator, dtype=wide).to(dtype)


@pytest.fixture(scope="session")
def draw():
    """Return the function `(shapes, dtype, seed) -> tensors` of standard normal values."""

    def draw_(shapes=SHAPES, dtype=torch.float64, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return [_normal(shape, dtype, generator) for shape in shapes]

    return draw_


@pytest.fixture(scope="session")
def parameters(draw):
    """Return the function `(shapes, dtype, seed) -> parameters`, the first of them transposed."""

    def make(shapes=SHAPES, dtype=torch.float64, seed=0):
        values = draw(shapes, dtype, seed)
        values[0] = values[0].transpose(0, -1).contiguous().transpose(0, -1)
        return [torch.nn.Parameter(value) for value in values]

    return make


@pytest.fixture(scope="session")
def give_gradients(draw):
    """Return a function that puts new normal gradients on parameters; some may be left out."""

    def give(params, seed, missing=()):
        grads = draw([p.shape for p in params], params[0].dtype, 1000 + seed)
        for place, (param, grad) in enumerate(zip(params, grads, strict=True)):
            param.grad = None if place in missing else grad

    return give


@pytest.fixture(scope="session")
def chain_matrix():
    """Return the function `(lams, boundary) -> I + diag(lams) Lap`, accumulated term by term."""

    def build(lams, boundary):
        n = len(lams)
        matrix = np.eye(n)
        for i in range(n):
            for j in (i - 1, i + 1):
                outside = not 0 <= j < n
                matrix[i, i] -= lams[i]
                if boundary == "periodic":
                    matrix[i, j % n] += lams[i]
                elif boundary == "neumann":
                    matrix[i, min(max(j, 0), n - 1)] += lams[i]
                elif not outside:
                    matrix[i, j] += lams[i]
        return matrix

    return build


@pytest.fixture(scope="session")
def concatenate():
    """Return the function `tensors -> numpy vector` of their elements in logical order."""

    def join(tensors):
        wide = [t.detach().to(torch.promote_types(t.dtype, torch.float64)) for t in tensors]
        return np.concatenate([t.numpy().ravel() for t in wide] or [np.zeros(0)])

    return join


@pytest.fixture(scope="session")
def untouched():
    """Return a context that asserts that no gradient was replaced, written to or bumped."""

    @contextlib.contextmanager
    def watch(params):
        before = [
            (p.grad, None) if p.grad is None else (p.grad, (p.grad._version, p.grad.clone()))
            for p in params
        ]
        yield
        for param, (grad, kept) in zip(params, before, strict=True):
            assert param.grad is grad
            if kept is not None:
                assert grad._version == kept[0]
                assert torch.equal(grad, kept[1])

    return watch


@pytest.fixture(params=BOUNDARIES)
def boundary(request):
    """Run a test with each boundary condition."""
    return request.param


def _buffers(optimizer, params):
    return [optimizer.state[p].get("momentum_buffer") for p in params if p in optimizer.state]


@pytest.fixture
def assert_equal_runs(parameters, give_gradients):
    """Return a function that runs two optimizers side by side and compares them bit for bit."""

    def compare(first, second, dtype, steps=3, shapes=SHAPES):
        runs = []
        for build in (first, second):
            params = parameters(shapes, dtype=dtype)
            optimizer = build(params)
            for step in range(steps):
                # The third parameter gets its first gradient late: a buffer is made mid-run.
                give_gradients(params, step, missing=(2,) if step == 0 else ())
                optimizer.step()
            runs.append((params, _buffers(optimizer, params)))
        (params, state), (expected, expected_state) = runs
        assert len(state) == len(expected_state)
        for ours, theirs in zip([*params, *state], [*expected, *expected_state], strict=True):
            if theirs is None:
                assert ours is None
            else:
                assert ours.dtype == theirs.dtype
                assert torch.equal(ours, theirs)

    return compare
