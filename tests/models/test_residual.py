"""The residual and dense networks: sizes as published, layers as written there."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from heatgrad.landscape import align
from heatgrad.models import DenseNet, ResNet, WideResNet

RGB = (3, 32, 32)


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("build", "published", "exact"),
    [
        # He et al. (2016), table 6: 0.27M, 0.85M, 1.7M.
        (lambda: ResNet(RGB, 10, depth=20), 0.27e6, 269_722),
        (lambda: ResNet(RGB, 10, depth=56), 0.85e6, 853_018),
        (lambda: ResNet(RGB, 10, depth=110), 1.7e6, 1_727_962),
        # Zagoruyko and Komodakis (2016), table 4: 2.7M, 36.5M.
        (lambda: WideResNet(RGB, 10, depth=16, widen=4), 2.7e6, 2_748_890),
        (lambda: WideResNet(RGB, 10, depth=28, widen=10), 36.5e6, 36_479_194),
        (lambda: WideResNet(RGB, 100, depth=28, widen=10), 36.5e6, 36_536_884),
        # Huang et al. (2017), table 2: 0.8M.
        (lambda: DenseNet(RGB, 10, depth=100, growth=12), 0.8e6, 769_162),
    ],
)
def test_parameters_as_published(build, published, exact):
    """As rounded in the papers, and as the layers of their tables come to, to the last one."""
    with torch.device("meta"):  # nothing is drawn
        assert count(build()) == exact == pytest.approx(published, rel=0.04)


@pytest.mark.parametrize(("depth", "width", "classes"), [(20, 16, 10), (56, 16, 100), (14, 4, 7)])
def test_resnet_parameters_by_hand(depth, width, classes):
    """Convolutions 9 in out, norms 2 channels, n blocks of two a stage, no shortcut's own."""
    n, total = (depth - 2) // 6, 9 * 3 * width + 2 * width
    size = width
    for stage in range(3):
        new = width * 2**stage
        total += 9 * size * new + (2 * n - 1) * 9 * new * new + 2 * n * 2 * new
        size = new
    assert count(ResNet(RGB, classes, depth=depth, width=width)) == total + (size + 1) * classes


@pytest.mark.parametrize(
    "build",
    [
        lambda shape: ResNet(shape, 10, depth=20, width=4),
        lambda shape: ResNet(shape, 10, depth=8, width=4, shortcut="projection"),
        lambda shape: WideResNet(shape, 10, depth=10, widen=2, width=4),
        lambda shape: DenseNet(shape, 10, depth=10, growth=4),
    ],
)
@pytest.mark.parametrize("shape", [RGB, (1, 28, 28), (2, 9, 5)])
def test_stages_halve_the_sides(build, shape):
    """Three stages: sides s, then halves, rounded up by strides or down by pooling."""
    model = build(shape)
    sizes = []
    for module in model.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d):
            module.register_forward_hook(lambda _, args, out: sizes.append(args[0].shape[2:]))
    assert model(torch.randn(2, *shape)).shape == (2, 10)
    rounded = [(s // 4, -(-s // 4)) for s in shape[1:]]
    assert all(size in ends for size, ends in zip(sizes[0], rounded, strict=True))


def test_a_resnet_block_by_hand():
    """relu(bn(conv(relu(bn(conv x)))) + x); where it halves, every second pixel and zeros."""
    model = ResNet(RGB, 10, depth=8, width=2).double().eval()
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    conv1, norm1, _, conv2, norm2 = model.stages[0].residual
    by_hand = F.relu(norm2(conv2(F.relu(norm1(conv1(x))))) + x)
    torch.testing.assert_close(model.stages[0](x), by_hand)
    block = model.stages[1]
    padded = torch.zeros(3, 4, 4, 4, dtype=torch.float64)
    padded[:, 1:3] = x[:, :, ::2, ::2]
    torch.testing.assert_close(block(x), F.relu(block.residual(x) + padded))


def test_a_wide_block_by_hand():
    """bn, relu, conv, bn, relu, conv, plus x; where the size changes, plus conv(relu(bn x))."""
    model = WideResNet(RGB, 10, depth=16, widen=2, width=2).double().eval()
    first, second = model.stages[0], model.stages[1]
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    normed = F.relu(first.norm(x))
    torch.testing.assert_close(first(x), first.residual(normed) + first.projection(normed))
    y = first(x)
    assert second.projection is None
    torch.testing.assert_close(second(y), second.residual(F.relu(second.norm(y))) + y)


def test_a_dense_layer_keeps_what_it_took_in():
    model = DenseNet(RGB, 10, depth=10, growth=4).eval()
    layer = model.features[1]
    x = torch.randn(2, 8, 6, 6)
    out = layer(x)
    assert out.shape == (2, 12, 6, 6)
    assert torch.equal(out[:, :8], x)


def test_a_resnet_with_projections_can_be_aligned():
    """Its units are found: reordered, it is the same function."""
    torch.manual_seed(0)
    a, b = (ResNet(RGB, 10, depth=8, width=4, shortcut="projection").eval() for _ in range(2))
    x = torch.randn(4, *RGB)
    found = align(a, b, inputs=x).model
    assert not torch.equal(found.stem[0].weight, b.stem[0].weight)
    torch.testing.assert_close(found(x), b(x), rtol=1e-4, atol=1e-4)
