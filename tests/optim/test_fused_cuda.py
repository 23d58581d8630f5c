import pytest, torch, os
from heatgrad.optim import DiffusionNesterov, DiffusionSGD, fused, fused_cuda

@pytest.fixture(autouse=True)
def interp(monkeypatch):
    os.environ["TRITON_INTERPRET"] = "1"
    for n in ("step_chain", "step_velocity", "can_diffuse_velocity"):
        monkeypatch.setattr(fused, n, getattr(fused_cuda, n))
    from heatgrad.optim.kernels import chain_cuda, velocity_cuda
    monkeypatch.setattr(chain_cuda, "BLOCK", 8)
    monkeypatch.setattr(velocity_cuda, "TILE", 32)
    monkeypatch.setattr(velocity_cuda, "LONGEST_CUT", 4)
SHAPES = ((3, 4), (), (50,), (0, 3), (2, 7, 5), (1,), (33, 3))

@pytest.mark.parametrize("clip", [None, 0.5])
def test_a(draw, give_gradients, boundary, clip):
    ends = []
    for f in (True, False):
        params = [torch.nn.Parameter(v) for v in draw(SHAPES, torch.float64)]
        o = DiffusionSGD(params, lr=.1, momentum=.9, weight_decay=.1, diffusion=.2, boundary=boundary, max_norm=clip, fused=f)
        for s in range(3):
            give_gradients(params, s, missing=(2,) if s==0 else ())
            o.step()
        ends.append(params + [o.state[p]["momentum_buffer"] for p in params])
    for a, b in zip(*ends):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)

@pytest.mark.parametrize("dims", [0, 1, -1, (0, 1)])
def test_b(draw, give_gradients, boundary, dims):
    ends = []
    shapes = ((3, 4), (5, 2), (11, 16), (2, 40), (9, 3), (21, 64), (19, 1), (0, 2), (1,4), (2, 1), (12, 11), (4,12))
    if dims == (0, 1):
        shapes = ((3,4), (4, 4), (1, 3), (5,1))
    for f in (True, False):
        params = [torch.nn.Parameter(v) for v in draw(shapes, torch.float64)]
        o = DiffusionNesterov(params, lr=.1, momentum=.9, weight_decay=.1, diffusion=.9, boundary=boundary, dims=dims, fused=f)
        for s in range(3):
            give_gradients(params, s, missing=(2,) if s==0 else ())
            o.step()
        ends.append(params + [o.state[p]["momentum_buffer"] for p in params])
    for i, (a, b) in enumerate(zip(*ends)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13, msg=lambda m: f"{i} {shapes[i % len(shapes)]} {m}")
