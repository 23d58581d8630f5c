import copy
import itertools

import pytest
import torch

from heatgrad.optim import (
    DiffusionSGD,
    LayoutDiffusionSGD,
    LRMatchedSGD,
    NormMatchedPlaceboSGD,
    NormMatchedSGD,
    PlaceboDiffusionSGD,
)

CLASSES = (
    DiffusionSGD,
    NormMatchedSGD,
    LRMatchedSGD,
    PlaceboDiffusionSGD,
    NormMatchedPlaceboSGD,
    LayoutDiffusionSGD,
)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.complex64)
# (momentum, dampening, nesterov): all that torch allows.
HEAVY_BALLS = (
    (0.0, 0.0, False),
    (0.0, 0.3, False),
    (0.9, 0.0, False),
    (0.9, 0.3, False),
    (0.9, 0.0, True),
)
LEARNING_RATES = {
    "float": lambda: 0.1,
    "0-d": lambda: torch.tensor(0.1),
    "one element": lambda: torch.tensor([0.1]),
    "requires_grad": lambda: torch.tensor(0.1, requires_grad=True),
}
WEIGHT_DECAYS = {
    "none": lambda: 0.0,
    "float": lambda: 0.05,
    "tensor": lambda: torch.tensor(0.05),
}


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("lr", LEARNING_RATES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_without_diffusion_is_torch_sgd_bit_for_bit(assert_equal_runs, dtype, lr, foreach):
    """torch.optim.SGD, on its for-loop and its foreach path, for every mix of options."""
    for ball, decay, maximize in itertools.product(HEAVY_BALLS, WEIGHT_DECAYS, (False, True)):
        momentum, dampening, nesterov = ball
        options = {
            "lr": LEARNING_RATES[lr](),
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": WEIGHT_DECAYS[decay](),
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
        }
        assert_equal_runs(
            lambda params, o=options: DiffusionSGD(params, **copy.deepcopy(o)),
            lambda params, o=options: torch.optim.SGD(params, **copy.deepcopy(o)),
            dtype,
        )


@pytest.mark.parametrize("optimizer", CLASSES)
@pytest.mark.parametrize("extra", [{}, {"fused": True}, {"differentiable": True}], ids=str)
def test_every_class_without_diffusion_is_torch_sgd(assert_equal_runs, optimizer, extra):
    """Torch's for-loop, also for `fused` (which has no kernel yet) and `differentiable`."""
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}

    def ours(params):
        if "differentiable" in extra:  # autograd refuses in-place updates of leaves it follows
            params = [p.requires_grad_(False) for p in params]
        return optimizer(params, **options, **extra)

    assert_equal_runs(
        ours, lambda params: torch.optim.SGD(params, **options, foreach=False), torch.float64
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weight_decay_that_requires_a_gradient(assert_equal_runs, dtype):
    """torch.optim.SGD with a tensor weight decay (where its for-loop writes into p.grad)."""
    decay = torch.tensor(0.05, requires_grad=True)
    for maximize in (False, True):
        options = {"lr": 0.1, "momentum": 0.9, "maximize": maximize, "foreach": False}
        assert_equal_runs(
            lambda params, o=options: DiffusionSGD(params, weight_decay=decay, **o),
            lambda params, o=options: torch.optim.SGD(params, weight_decay=decay, **o),
            dtype,
        )


@pytest.mark.parametrize("mode", ["layer", "layer_literal", "centralize", "centralize_channel"])
def test_no_mode_moves_anything_at_zero_diffusion(assert_equal_runs, mode):
    """Diffusion 0 is plain SGD whatever the mode."""
    assert_equal_runs(
        lambda params: DiffusionSGD(params, lr=0.1, momentum=0.9, mode=mode),
        lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
        torch.float32,
    )


@pytest.mark.parametrize("scheduler", ["cosine", "one_cycle", "plateau"])
@pytest.mark.parametrize("tensor_lr", [False, True])
def test_learning_rate_schedulers(parameters, give_gradients, scheduler, tensor_lr):
    """Torch's schedulers drive it as they drive torch.optim.SGD, momentum cycling included."""
    ends = []
    for build in (DiffusionSGD, torch.optim.SGD):
        params = parameters()
        lr = torch.tensor(0.1) if tensor_lr else 0.1
        optimizer = build(params, lr=lr, momentum=0.9)
        schedule = {
            "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 4),
            "one_cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.3, total_steps=6),
            "plateau": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),
        }[scheduler](optimizer)
        for step in range(5):
            give_gradients(params, step)
            optimizer.step()
            schedule.step(*([1.0] if scheduler == "plateau" else []))
        ends.append((params, float(optimizer.param_groups[0]["lr"])))
    assert ends[0][1] == ends[1][1] != 0.1
    assert all(torch.equal(a, b) for a, b in zip(ends[0][0], ends[1][0], strict=True))
