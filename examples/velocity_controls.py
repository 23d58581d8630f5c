"""Is it the neighbours? Diffuse the velocity of convolutions, and train the controls of that.

At twice the largest stable diffusion the step is refined: the refined arm has that step and
momentum without diffusion, the momentum-matched one the momentum that diffusion leaves on average,
and the placebos diffuse between output channels in a random order, the second over the same length.
Run it with `python examples/velocity_controls.py`.
"""

import torch
from torch.nn.functional import cross_entropy

from heatgrad.core.random import stream_generator
from heatgrad.data import Digits
from heatgrad.models import ResNet
from heatgrad.optim import (
    DiffusionNesterov,
    MomentumMatchedNesterov,
    NormMatchedPlaceboNesterov,
    PlaceboDiffusionNesterov,
    RefinedNesterov,
    diffusion_groups,
)
from heatgrad.training import initialised

LR, DIFFUSION = 0.1, 2.0
ARMS = {
    "Nesterov": lambda groups: torch.optim.SGD(groups, lr=LR, momentum=0.9, nesterov=True),
    "diffused": lambda groups: DiffusionNesterov(groups, lr=LR),
    "refined": lambda groups: RefinedNesterov(groups, lr=LR),
    "momentum-matched": lambda groups: MomentumMatchedNesterov(groups, lr=LR),
    "placebo": lambda groups: PlaceboDiffusionNesterov(groups, lr=LR, seed=0),
    "norm-matched placebo": lambda groups: NormMatchedPlaceboNesterov(groups, lr=LR, seed=0),
}
data = Digits().load(seed=0)

for name, arm in ARMS.items():
    model = initialised(lambda: ResNet(data.input_shape, 10, depth=8, width=8), seed=0)
    optimizer = arm(diffusion_groups(model, "conv_out", diffusion=DIFFUSION))
    for epoch in range(4):
        order = torch.randperm(len(data.y_train), generator=stream_generator(0, "order", epoch))
        for batch in order.split(64):
            optimizer.zero_grad()
            cross_entropy(model(data.x_train[batch]), data.y_train[batch]).backward()
            optimizer.step()
    right = (model.eval()(data.x_test).argmax(1) == data.y_test).float().mean().item()
    print(f"{name:20} {100 * right:.1f} % of the test digits")
    assert right > 0.8, name
