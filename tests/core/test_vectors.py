import numpy as np
import pytest
import torch

from heatgrad.core.vectors import cosine, dot, norm

SHAPES = ((3, 4), (), (0, 2), (7,), (2, 1, 3))
# Products of half types are exact in float32; float32 itself rounds each product.
TOLERANCES = {
    torch.float64: 1e-15,
    torch.float32: 1e-6,
    torch.bfloat16: 1e-6,
    torch.float16: 1e-6,
    torch.complex64: 1e-6,
    torch.complex128: 1e-15,
}


def vectors(dtype, count=2):
    generator = torch.Generator().manual_seed(1)
    return [
        [torch.randn(shape, dtype=dtype, generator=generator) for shape in SHAPES]
        for _ in range(count)
    ]


def joined(tensors):
    wide = [t.to(torch.complex128).numpy().ravel() for t in tensors]
    return np.concatenate(wide)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_agree_with_the_concatenation_in_numpy(dtype):
    """NumPy in double precision on one long vector; complex entries are pairs of reals."""
    a, b = vectors(dtype)
    x, y = joined(a), joined(b)
    inner, lengths = np.vdot(x, y).real, np.linalg.norm(x) * np.linalg.norm(y)
    tolerance = TOLERANCES[dtype]
    assert dot(a, b).item() == pytest.approx(inner, abs=tolerance * lengths)
    assert norm(a).item() == pytest.approx(np.linalg.norm(x), rel=tolerance)
    assert cosine(a, b).item() == pytest.approx(inner / lengths, abs=tolerance)
    for result in (dot(a, b), norm(a), cosine(a, b)):
        assert result.dtype == torch.float64
        assert result.shape == ()


def test_memory_layout_does_not_matter():
    """A transposed tensor holds the same elements."""
    (a,) = vectors(torch.float64, 1)
    b = [a[0].t().contiguous().t(), *a[1:]]
    assert dot(a, b).item() == pytest.approx(dot(a, a).item(), rel=1e-15)


def test_mixed_dtypes():
    """3-4-5 and 5-12-13, across dtypes."""
    a = [torch.tensor([3.0]), torch.tensor([4.0], dtype=torch.float64)]
    assert norm([*a, torch.tensor([12.0j])]).item() == 13.0
    assert norm([x.to(torch.bfloat16) for x in a]).item() == 5.0


@pytest.mark.parametrize("scale", [300.0, 1e-5])
def test_half_types_neither_overflow_nor_underflow(scale):
    """The square of 300 is beyond float16, that of 1e-5 below it."""
    x = torch.full((10,), scale, dtype=torch.float16)
    assert norm([x]).item() == pytest.approx(x.double().norm().item(), rel=1e-6)
    assert dot([x], [x]).item() == pytest.approx(x.double().square().sum().item(), rel=1e-6)


def test_long_vectors_keep_their_length():
    """Five million elements against NumPy in double precision: float32 sums alone lose 1e-4."""
    x = torch.randn(5_000_000, generator=torch.Generator().manual_seed(2))
    expected = np.linalg.norm(x.double().numpy())
    assert norm([x]).item() == pytest.approx(expected, rel=1e-6)
    equal = torch.full((1_000_000,), 0.1)
    # The worst case of float32 sums, all rounded the same way, over pieces of 65536.
    assert norm([equal]).item() == pytest.approx(1000 * equal[0].item(), rel=2e-5)


def test_norm_is_differentiable():
    """Finite differences, at first and second order; at zero the subgradient 0."""
    x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: norm([v[:1], v[1:]]), (x,))
    assert torch.autograd.gradgradcheck(lambda v: norm([v[:1], v[1:]]), (x,))
    zero = torch.zeros(3, requires_grad=True)
    norm([zero]).backward()
    assert torch.equal(zero.grad, torch.zeros(3))


def test_empty_vectors():
    """No tensors, or tensors without elements: zero; the angle to nothing is undefined."""
    assert dot([], []).item() == norm([]).item() == 0.0
    assert norm([torch.empty(0)]).item() == 0.0
    assert cosine([torch.zeros(2)], [torch.ones(2)]).isnan()


def test_lengths_must_agree():
    """A vector with another number of tensors is another space."""
    with pytest.raises(ValueError, match="shorter"):
        dot([torch.ones(1), torch.ones(1)], [torch.ones(1)])
