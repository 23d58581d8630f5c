"""The multi-tensor heavy ball that never stores the diffused gradient, against the plain path."""

import pytest
import torch

from heatgrad.optim import DiffusionSGD, accumulate

SHAPES = ((3, 4), (5,), (0, 3), (1,), (2, 3, 2), ())


@pytest.fixture
def count_calls(monkeypatch):
    """Count how often the path is taken."""
    calls = []
    step = accumulate.heavy_ball_along_chain

    def counted(*args, **kwargs):
        calls.append(1)
        step(*args, **kwargs)

    monkeypatch.setattr(accumulate, "heavy_ball_along_chain", counted)
    return calls


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("piece", [2, 1 << 18])
def test_equals_the_plain_path(
    boundary, dtype, piece, draw, give_gradients, untouched, count_calls, monkeypatch
):
    """Two groups with their own coefficients, pieces shorter than tensors, a late gradient."""
    monkeypatch.setattr(accumulate, "_PIECE", piece)
    ends = []
    for foreach in (False, True):
        params = [torch.nn.Parameter(value) for value in draw(SHAPES, dtype)]
        groups = [
            {"params": params[:3], "diffusion": 0.2, "weight_decay": 0.1},
            {"params": params[3:], "diffusion": 0.05, "momentum": 0.5, "dampening": 0.3},
        ]
        optimizer = DiffusionSGD(
            groups, lr=0.1, momentum=0.9, boundary=boundary, maximize=True, foreach=foreach
        )
        for step in range(4):
            give_gradients(params, step, missing=(1,) if step == 0 else ())
            with untouched(params):
                optimizer.step()
        ends.append([*params, *(optimizer.state[p]["momentum_buffer"] for p in params)])
    # The first step makes the buffers, the second one that of the late gradient.
    assert len(count_calls) == 2 * 2
    for plain, ours in zip(*ends, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    "options",
    [{"nesterov": True}, {"max_norm": 0.1}, {"momentum": 0.0}, {"diffusion": 0.0}],
    ids=str,
)
def test_other_steps_go_their_own_way(options, draw, give_gradients, count_calls):
    params = [torch.nn.Parameter(value) for value in draw(SHAPES)]
    settings = {"lr": 0.1, "momentum": 0.9, "diffusion": 0.1, "foreach": True, **options}
    optimizer = DiffusionSGD(params, **settings)
    for step in range(2):
        give_gradients(params, step)
        optimizer.step()
    assert count_calls == []
