"""Is it the smoothing? Train with diffused gradients and with the controls of a fair comparison.

The norm-matched control follows the plain gradient, rescaled to the length of the diffused one; the
lr-matched one is SGD with the learning rate this comes to on average. The placebos diffuse over
randomly permuted parameters, the second over the length of the diffused gradient; the layout
diffuses along the transposed tensors. Run it with `python examples/controls.py`.
"""

import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from heatgrad import optim
from heatgrad.core.random import stream_generator
from heatgrad.data import Digits
from heatgrad.models import SimpleCNN
from heatgrad.training import initialised

OPTIONS = {"lr": 0.05, "momentum": 0.9}
SMOOTH = OPTIONS | {"diffusion": 0.25}
ARMS = {
    "SGD": lambda params: torch.optim.SGD(params, **OPTIONS),
    "diffused": lambda params: optim.DiffusionSGD(params, **SMOOTH),
    "norm-matched": lambda params: optim.NormMatchedSGD(params, **SMOOTH),
    "lr-matched": lambda params: optim.LRMatchedSGD(params, **SMOOTH),
    "placebo": lambda params: optim.PlaceboDiffusionSGD(params, **SMOOTH, seed=0),
    "norm-matched placebo": lambda params: optim.NormMatchedPlaceboSGD(params, **SMOOTH, seed=0),
    "layout": lambda params: optim.LayoutDiffusionSGD(params, **SMOOTH),
    "centralized": lambda params: optim.DiffusionSGD(
        params, **OPTIONS, diffusion=1.0, mode="centralize_channel"
    ),
}
data = Digits().load(seed=0)


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


for name, arm in ARMS.items():
    model = initialised(lambda: SimpleCNN(data.input_shape, 10, dropout=0.0), seed=0)
    optimizer = arm(model.parameters())
    for epoch in range(6):
        order = torch.randperm(len(data.y_train), generator=stream_generator(0, "order", epoch))
        for batch in order.split(64):
            optimizer.zero_grad()
            cross_entropy(model(data.x_train[batch]), data.y_train[batch]).backward()
            optimizer.step()
    right = (model.eval()(data.x_test).argmax(1) == data.y_test).float().mean()
    print(f"{name:20} {100 * right:.1f} % of the test digits", end="")
    assert right > 0.9
    if name != "SGD":
        plain, followed = map(flat, optimizer.gradient_directions())
        ratio = followed.norm() / plain.norm()
        cosine = cosine_similarity(plain, followed, dim=0)
        print(f", last gradient: length x {ratio:.3f}, cosine {cosine:.3f}", end="")
        assert ratio < 1
        assert (cosine > 1 - 1e-5) == (name in ("norm-matched", "lr-matched"))
    print()
