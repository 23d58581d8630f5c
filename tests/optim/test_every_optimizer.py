"""One contract for every optimizer of ours in the registry."""

import copy
import inspect
import itertools
import pickle

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heatgrad.optim import OPTIMIZERS

OURS = {name: kind for name, kind in OPTIMIZERS.items() if kind.__module__.startswith("heatgrad.")}
# A strength that all of them take, and that moves something.
STRENGTH = {"DiffusionNesterov": 0.7}
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.complex64)
CLOSE = {
    torch.float64: {"rtol": 1e-11, "atol": 1e-12},
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.bfloat16: {"rtol": 3e-2, "atol": 3e-2},
    torch.complex64: {"rtol": 1e-4, "atol": 1e-5},
}


def build(name, params, **options):
    return OURS[name](params, lr=0.1, diffusion=STRENGTH.get(name, 0.2), **options)


def flags(name):
    """Every combination of the flags that an optimizer has."""
    has = set(inspect.signature(OURS[name]).parameters)
    choices = {
        "momentum": (0.0, 0.9),
        "nesterov": (False, True),
        "weight_decay": (0.0, 0.1),
        "maximize": (False, True),
        "foreach": (False, True, None),
        "max_norm": (None, 0.5),
    }
    names = [flag for flag in choices if flag in has]
    for values in itertools.product(*(choices[flag] for flag in names)):
        options = dict(zip(names, values, strict=True))
        if options.get("nesterov") and options["momentum"] == 0:
            continue
        yield options


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_flags_step_alike_on_all_paths(name, dtype, parameters, give_gradients, untouched):
    """Plain, multi-tensor and default path agree; gradients stay; missing ones are passed over."""
    ends = {}
    for options in flags(name):
        params = parameters(dtype=dtype)
        optimizer = build(name, params, **options)
        for step in range(2):
            give_gradients(params, step, missing=(2,) if step == 0 else ())
            with untouched(params):
                optimizer.step()
        key = tuple((k, v) for k, v in options.items() if k != "foreach")
        first = ends.setdefault(key, params)
        for ours, theirs in zip(params, first, strict=True):
            assert ours.dtype == dtype
            torch.testing.assert_close(ours, theirs, **CLOSE[dtype])


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=4).map(tuple), min_size=1, max_size=4),
    turned=st.booleans(),
    seed=st.integers(0, 100),
)
def test_memory_layout_changes_nothing(name, shapes, turned, seed):
    """Any shapes; storage in another order or with gaps gives the numbers of dense storage."""
    ends = []
    for strided in (False, True):
        generator = torch.Generator().manual_seed(seed)
        params = []
        for shape in shapes:
            value = torch.randn(shape, generator=generator, dtype=torch.float64)
            grad = torch.randn(shape, generator=generator, dtype=torch.float64)
            if strided:
                value, grad = (spread(x, turned) for x in (value, grad))
            params.append(torch.nn.Parameter(value))
            params[-1].grad = grad
        optimizer = build(name, params, momentum=0.9)
        for _ in range(2):
            optimizer.step()
        ends.append(params)
    for dense, other in zip(*ends, strict=True):
        torch.testing.assert_close(dense, other, rtol=1e-11, atol=1e-12)


def spread(x, turned):
    """The same values in every other cell of a larger tensor, or with the axes' order turned."""
    if turned or x.dim() == 0:
        order = tuple(reversed(range(x.dim())))
        return x.permute(order).contiguous().permute(order)
    wide = torch.zeros(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("how", ["state_dict", "deepcopy", "pickle"])
def test_a_run_goes_on_from_a_copy(name, how, parameters, give_gradients):
    """After any kind of copy, bit for bit as if nothing had happened."""
    params = parameters()
    optimizer = build(name, params, momentum=0.9, weight_decay=0.1)
    give_gradients(params, 0)
    optimizer.step()
    if how == "state_dict":
        others = [torch.nn.Parameter(p.detach().clone()) for p in params]
        other = build(name, others, momentum=0.9)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    else:
        pair = (params, optimizer)
        others, other = (
            copy.deepcopy(pair) if how == "deepcopy" else pickle.loads(pickle.dumps(pair))
        )
    for each, stepping in ((params, optimizer), (others, other)):
        for step in (1, 2):
            give_gradients(each, step)
            stepping.step()
    assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))


@pytest.mark.parametrize("name", OURS)
def test_sparse_gradients_are_refused_with_the_reason(name):
    weight = torch.nn.Parameter(torch.zeros(4, 2))
    weight.grad = torch.sparse_coo_tensor([[1]], [[1.0, 1.0]], (4, 2), check_invariants=True)
    with pytest.raises(RuntimeError, match=r"dense gradients, got layout torch\.sparse_coo"):
        build(name, [weight]).step()
    assert torch.equal(weight.detach(), torch.zeros(4, 2))


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("lr", -1.0, ValueError, "lr must be finite and at least 0, got -1"),
        ("lr", float("nan"), ValueError, "lr must be finite and at least 0, got nan"),
        ("lr", "fast", TypeError, "lr must be a real number, got 'fast'"),
        ("momentum", -0.1, ValueError, "momentum must be finite and at least 0"),
        ("weight_decay", float("inf"), ValueError, "weight_decay must be finite and at least 0"),
        ("diffusion", -0.1, ValueError, "diffusion must be finite and at least 0, got -0.1"),
        ("boundary", "open", ValueError, "boundary must be one of"),
        ("maximize", "no", TypeError, "maximize must be True or False, got 'no'"),
        ("foreach", 1, TypeError, "foreach must be True, False or None, got 1"),
    ],
)
def test_bad_options_are_refused_wherever_they_come_in(name, option, value, error, message):
    """In the constructor and in a group; a refused group leaves none behind."""
    weight, other = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    with pytest.raises(error, match=message):
        OURS[name]([weight], **{option: value})
    optimizer = OURS[name]([weight])
    with pytest.raises(error, match=message):
        optimizer.add_param_group({"params": [other], option: value})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("name", OURS)
def test_gradients_flow_through_two_differentiable_steps(name):
    """Gradcheck of the second step's parameters by the learning rate and by both gradients."""

    def two_steps(lr, *grads):
        weight = torch.linspace(0, 1, 4, dtype=torch.float64)
        optimizer = OURS[name](
            [weight],
            lr=lr,
            momentum=0.9,
            diffusion=STRENGTH.get(name, 0.2),
            differentiable=True,
        )
        for grad in grads:
            weight.grad = grad
            optimizer.step()
        return weight

    generator = torch.Generator().manual_seed(0)
    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    grads = [
        torch.randn(4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)
    ]
    assert torch.autograd.gradcheck(two_steps, (lr, *grads))
