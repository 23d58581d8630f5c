import itertools

import pytest
import torch
from torch import nn

from heatgrad.models import MODELS, ByteDropout, MediumMLP, SimpleCNN, SimpleMLP

# Few layers, so that the tests are quick.
SMALL = {
    "ResNet": {"depth": 8, "width": 4},
    "WideResNet": {"depth": 10, "widen": 2, "width": 4, "dropout": 0.25},
    "DenseNet": {"depth": 10, "growth": 4, "dropout": 0.25},
}
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8)]
ALL = pytest.mark.parametrize("name", MODELS)


def build(name, *args, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MODELS[name](*args, **SMALL.get(name, {}) | options)


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("shape", [(2,), *SHAPES])
@pytest.mark.parametrize("num_classes", [2, 10])
def test_mlp_parameter_counts(shape, num_classes):
    """Linear n m + m, batch norm 2 m, summed by hand from the layer table."""
    d = torch.Size(shape).numel()
    simple = (d * 128 + 128) + 256 + (128 * 128 + 128) + 256 + (128 * num_classes + num_classes)
    assert count(SimpleMLP(shape, num_classes)) == simple
    widths = [d, 512, 256, 128, 64]
    medium = sum((a + 1) * b + 2 * b for a, b in itertools.pairwise(widths))
    assert count(MediumMLP(shape, num_classes)) == medium + 65 * num_classes


@pytest.mark.parametrize(
    ("shape", "flat"), [((1, 28, 28), 7 * 7), ((3, 32, 32), 64), ((2, 9, 5), 2)]
)
def test_cnn_parameter_counts(shape, flat):
    """Convolution 9 in out + out; the head sees 32 maps of a quarter of each side."""
    blocks = (9 * shape[0] * 16 + 16) + 32 + (9 * 16 * 32 + 32) + 64
    assert count(SimpleCNN(shape, 10)) == blocks + (32 * flat * 128 + 128) + (128 * 10 + 10)


@ALL
@pytest.mark.parametrize("shape", SHAPES)
def test_output_and_gradients(name, shape):
    """One logit per class for grayscale and RGB; every parameter gets a finite gradient."""
    model = build(name, shape, 7)
    x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0))
    logits = model(x)
    assert logits.shape == (16, 7)
    nn.functional.cross_entropy(logits, torch.arange(16) % 7).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    # A bias before batch norm has no effect, so its gradient is rounding; the rest moves.
    weights = [p for key, p in model.named_parameters() if key.endswith("weight")]
    assert all(p.grad.abs().max() > 0 for p in weights)


@ALL
def test_kaiming_normal_throughout(name):
    """Weights N(0, 2 / fan_in): mean, variance and kurtosis in five SE; biases 0, norms 1."""
    model = build(name, (3, 16, 16), 10)
    kinds = set()
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            w = layer.weight.detach().double()
            n, fan_in = w.numel(), w[0].numel()
            z = w * (fan_in / 2) ** 0.5
            assert z.mean().abs().item() < 5 / n**0.5
            assert z.square().mean().item() == pytest.approx(1, abs=5 * (2 / n) ** 0.5)
            # A normal, not a uniform or truncated draw: E z^4 = 3, Var z^4 = 96.
            assert z.pow(4).mean().item() == pytest.approx(3, abs=5 * (96 / n) ** 0.5)
            assert layer.bias is None or not layer.bias.any()
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert bool((layer.weight == 1).all())
            assert layer.bias is None or not layer.bias.any()
        kinds.add(type(layer).__name__)
    assert {"Linear", "ReLU"} < kinds


@ALL
def test_seed_decides_the_weights(name):
    """The global generator's state is all the weights depend on."""
    first, again, other = (build(name, (1, 8, 8), 10, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@ALL
def test_eval_is_deterministic_and_per_sample(name):
    """In eval mode dropout is off and batch norm fixed: a batch is its samples one by one."""
    model = build(name, (1, 8, 8), 10).double()
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model(x)
    drops = any(isinstance(m, ByteDropout) for m in model.modules())
    assert torch.equal(model(x), model(x)) != drops
    model.eval()
    torch.testing.assert_close(model(x), torch.cat([model(one[None]) for one in x]))


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("SimpleMLP", ["Linear", "BatchNorm1d", "ReLU", "ByteDropout"] * 2 + ["Linear"]),
        ("MediumMLP", ["Linear", "BatchNorm1d", "ReLU", "ByteDropout"] * 4 + ["Linear"]),
        (
            "SimpleCNN",
            ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"] * 2
            + ["Flatten", "Linear", "ReLU", "ByteDropout", "Linear"],
        ),
    ],
)
def test_layers_in_the_order_of_the_paper(name, order):
    """C.1: two hidden layers; five layers; two blocks with dropout in the penultimate layer."""
    leaves = [type(m).__name__ for m in build(name, (1, 8, 8), 10).modules() if not [*m.children()]]
    assert leaves[leaves.index(order[0]) :] == order


def test_options_change_the_layers():
    """Widths and channels as lists, as a TOML file gives them."""
    assert count(SimpleMLP([2], 2, width=4)) == 12 + 8 + 20 + 8 + 10
    assert count(MediumMLP((2,), 2, widths=[3])) == 9 + 6 + 8
    model = SimpleCNN([1, 4, 4], 2, channels=[2, 3], hidden=5, dropout=0.5)
    assert count(model) == 20 + 4 + 57 + 6 + 20 + 12
    assert [m.dropped for m in model.modules() if isinstance(m, ByteDropout)] == [128]


@ALL
@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (((1, 8, 8), 1), {}, "num_classes must be an integer of at least 2, got 1"),
        (((), 2), {}, "input_shape must be one or more positive integers"),
        (((1, 0, 8), 2), {}, r"input_shape must be .* got \(1, 0, 8\)"),
    ],
)
def test_shared_option_errors(name, args, options, message):
    """The message gives the requirement and the value."""
    with pytest.raises(ValueError, match=message):
        build(name, *args, **options)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "ResNet"])
def test_dropout_is_a_probability(name):
    with pytest.raises(ValueError, match=r"dropout must be at least 0 and less than 1, got 1\.0"):
        build(name, (1, 8, 8), 2, dropout=1.0)


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("SimpleMLP", (2,), {"width": 0}, r"width must be .* got \(0,\)"),
        ("MediumMLP", (2,), {"widths": ()}, "widths must be one or more positive integers"),
        ("SimpleCNN", (2,), {}, r"\(channels, height, width\).* got \(2,\); .* SimpleMLP"),
        ("SimpleCNN", (1, 3, 8), {}, r"at least 4, for two halvings, got \(1, 3, 8\)"),
        ("SimpleCNN", (1, 8, 8), {"channels": (4,)}, r"channels must be two numbers.* got \(4,\)"),
        ("SimpleCNN", (1, 8, 8), {"hidden": -1}, "hidden must be"),
        ("ResNet", (1, 8, 8), {"depth": 18}, r"depth must be 6n \+ 2, as in 20.* got 18"),
        ("ResNet", (1, 8, 8), {"width": 0}, r"width must be .* got \(0,\)"),
        ("ResNet", (1, 8, 8), {"shortcut": "none"}, "shortcut must be one of pad, projection"),
        ("ResNet", (2,), {}, r"\(channels, height, width\).* got \(2,\); .* SimpleMLP"),
        ("WideResNet", (1, 8, 8), {"depth": 20}, r"depth must be 6n \+ 4, as in 16.* got 20"),
        ("WideResNet", (1, 8, 8), {"widen": 0}, r"widen must be .* got \(0,\)"),
        ("WideResNet", (1, 2, 8), {}, r"at least 4, for two halvings, got \(1, 2, 8\)"),
        ("DenseNet", (1, 8, 8), {"depth": 101}, r"depth must be 6n \+ 4, as in 40.* got 101"),
        ("DenseNet", (1, 8, 8), {"growth": 0}, r"growth must be .* got \(0,\)"),
    ],
)
def test_own_option_errors(name, shape, options, message):
    """The message gives the requirement and the value."""
    with pytest.raises(ValueError, match=message):
        build(name, shape, 2, **options)
