"""State: checkpoints of ours and of torch's, copies, pickles, and what is in them."""

import copy
import io
import pickle
import warnings

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
OPTIONS = {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}


def saved_and_loaded(state):
    """Return a state dict after a trip through a file, tensors only."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.fixture
def run(give_gradients):
    """Return a function that takes steps `first..last - 1`, with known gradients for each."""

    def steps(optimizer, first, last):
        params = [p for group in optimizer.param_groups for p in group["params"]]
        for step in range(first, last):
            give_gradients(params, step, missing=(1,) if step == 0 else ())
            optimizer.step()
        return params

    return steps


def assert_same(first, second):
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("build", CLASSES)
@pytest.mark.parametrize("foreach", [False, True])
def test_a_resumed_run_equals_an_unbroken_one(parameters, run, build, foreach):
    """Stop after three steps, load into a new optimizer, go on: bit for bit the same."""
    options = {**OPTIONS, "diffusion": 0.2, "max_norm": 2.0, "foreach": foreach}
    unbroken = run(build(parameters(), **options), 0, 6)
    params = parameters()
    first = build(params, **options)
    run(first, 0, 3)
    state = saved_and_loaded(first.state_dict())
    resumed = build([torch.nn.Parameter(p.detach().clone()) for p in params], lr=9.0)
    resumed.load_state_dict(state)
    assert_same(run(resumed, 3, 6), unbroken)


@pytest.mark.parametrize("build", CLASSES)
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on_alone(parameters, run, build, copier):
    """A deep copy and an unpickled optimizer equal the original, and share nothing with it."""
    original = build(parameters(), **OPTIONS, diffusion=0.2)
    run(original, 0, 2)
    twin = copier(original)
    ahead = [p.detach().clone() for p in run(twin, 2, 4)]
    assert_same(run(original, 2, 4), ahead)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_state_is_torch_sgds(parameters, run, momentum):
    """The keys of torch.optim.SGD's state: a buffer where there is momentum, else nothing."""
    ours, theirs = (
        run_class(parameters(), lr=0.1, momentum=momentum)
        for run_class in (DiffusionSGD, torch.optim.SGD)
    )
    for optimizer in (ours, theirs):
        run(optimizer, 0, 1)
    assert ours.state_dict()["state"].keys() == theirs.state_dict()["state"].keys()
    for place, entry in theirs.state_dict()["state"].items():
        assert ours.state_dict()["state"][place].keys() == entry.keys()
    group, expected = ours.state_dict()["param_groups"][0], theirs.state_dict()["param_groups"][0]
    assert expected.keys() < group.keys()
    assert group.keys() - expected.keys() == {"diffusion", "mode", "boundary", "max_norm"}


def test_a_plain_sgd_checkpoint_loads(parameters, run):
    """Torch's options and buffers come from the file; ours stay as each group was built."""
    params = parameters()
    plain = torch.optim.SGD([{"params": params[:2]}, {"params": params[2:], "lr": 0.05}], **OPTIONS)
    run(plain, 0, 2)
    state = saved_and_loaded(plain.state_dict())
    fresh = [torch.nn.Parameter(p.detach().clone()) for p in params]
    groups = [
        {"params": fresh[:2], "diffusion": 0.2},
        {"params": fresh[2:], "mode": "layer", "boundary": "periodic"},
    ]
    loaded = DiffusionSGD(groups, lr=9.0, diffusion=0.1, max_norm=3.0)
    loaded.load_state_dict(state)
    first, second = loaded.param_groups
    assert (first["lr"], second["lr"], first["momentum"]) == (0.1, 0.05, 0.9)
    assert (first["diffusion"], second["diffusion"]) == (0.2, 0.1)
    assert (first["mode"], second["mode"]) == ("global", "layer")
    assert (first["boundary"], second["boundary"]) == ("neumann", "periodic")
    assert first["max_norm"] == second["max_norm"] == 3.0
    for param, other in zip(params, fresh, strict=True):
        expected = plain.state[param].get("momentum_buffer")
        assert expected is None or torch.equal(loaded.state[other]["momentum_buffer"], expected)
    run(loaded, 2, 4)


@pytest.mark.parametrize("build", CLASSES)
def test_a_plain_sgd_run_goes_on_without_diffusion(parameters, run, build):
    """Two steps of torch.optim.SGD and two of ours at diffusion 0 are four of torch's."""
    unbroken = run(torch.optim.SGD(parameters(), **OPTIONS), 0, 4)
    params = parameters()
    plain = torch.optim.SGD(params, **OPTIONS)
    run(plain, 0, 2)
    ours = build(params, lr=9.0)
    ours.load_state_dict(plain.state_dict())
    assert_same(run(ours, 2, 4), unbroken)


def test_our_checkpoint_loads_into_torch_sgd(parameters, run):
    """At diffusion 0, two steps of ours and two of torch.optim.SGD are four of torch's."""
    unbroken = run(torch.optim.SGD(parameters(), **OPTIONS), 0, 4)
    params = parameters()
    ours = DiffusionSGD(params, **OPTIONS)
    run(ours, 0, 2)
    plain = torch.optim.SGD(params, lr=9.0)
    plain.load_state_dict(ours.state_dict())
    assert_same(run(plain, 2, 4), unbroken)


def test_an_old_checkpoint_with_empty_buffers_loads(parameters, run):
    """Earlier versions of torch stored `momentum_buffer: None`; it counts as not there."""
    optimizer = DiffusionSGD(parameters(), **OPTIONS)
    state = optimizer.state_dict()
    state["state"] = {0: {"momentum_buffer": None}}
    optimizer.load_state_dict(state)
    assert_same(run(optimizer, 0, 2), run(torch.optim.SGD(parameters(), **OPTIONS), 0, 2))


def test_named_parameters(give_gradients):
    """Names are kept as torch keeps them, and travel in the state dict."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    optimizer = DiffusionSGD(model.named_parameters(), lr=0.1, diffusion=0.2)
    plain = torch.optim.SGD(model.named_parameters(), lr=0.1)
    names = optimizer.state_dict()["param_groups"][0]["param_names"]
    assert names == plain.state_dict()["param_groups"][0]["param_names"]
    assert names[0] == "0.weight"
    give_gradients(list(model.parameters()), 0)
    optimizer.step()


def test_a_copied_optimizer_takes_new_groups(parameters, give_gradients):
    """Checks and defaults live on in a copy."""
    params = parameters()
    twin = pickle.loads(pickle.dumps(DiffusionSGD(params[:2], lr=0.1, diffusion=0.2)))
    twin.add_param_group({"params": params[2:]})
    assert twin.param_groups[1]["diffusion"] == 0.2
    with pytest.raises(ValueError, match="must be finite"):
        twin.add_param_group({"params": parameters(), "diffusion": -1.0})
    assert len(twin.param_groups) == 2


def test_loading_warns_of_nothing(parameters):
    """A warning belongs to the line that chose the value, not to every load."""
    with pytest.warns(UserWarning, match="changes the sign"):
        optimizer = DiffusionSGD(parameters(), diffusion=0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.load_state_dict(optimizer.state_dict())
