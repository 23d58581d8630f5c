"""Train a small network on handwritten digits with torch's SGD and with DiffusionSGD.

Both start from the same weights and see the same batches. Run it with
`python examples/diffusion_sgd.py`; it takes a few seconds on a CPU and checks itself.
"""

import torch
from torch import nn

from heatgrad.core.random import stream_generator
from heatgrad.data import Dataset, Digits
from heatgrad.models import SimpleMLP
from heatgrad.optim import DiffusionSGD
from heatgrad.training import initialised

LR, MOMENTUM, EPOCHS, BATCH_SIZE = 0.05, 0.9, 4, 64


def fit(data: Dataset, optimizer_type: type, **options: float) -> tuple[float, nn.Module]:
    """Return the test accuracy and the trained network."""
    model = initialised(lambda: SimpleMLP(data.input_shape, data.num_classes, dropout=0.0), seed=0)
    optimizer = optimizer_type(model.parameters(), lr=LR, momentum=MOMENTUM, **options)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(data.y_train), generator=stream_generator(0, "order", epoch))
        for batch in order.split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data.x_train[batch]), data.y_train[batch])
            loss.backward()
            optimizer.step()
    right = model.eval()(data.x_test).argmax(dim=1) == data.y_test
    return right.float().mean().item(), model


def main() -> None:
    data = Digits().load(seed=0)
    sgd_accuracy, sgd = fit(data, torch.optim.SGD)
    _, undiffused = fit(data, DiffusionSGD, diffusion=0.0)
    diffused_accuracy, diffused = fit(data, DiffusionSGD, diffusion=0.1)
    print(f"torch.optim.SGD               {sgd_accuracy:.3f}")
    print(f"DiffusionSGD, diffusion 0.1   {diffused_accuracy:.3f}")

    assert min(sgd_accuracy, diffused_accuracy) > 0.9
    for name, expected in sgd.state_dict().items():
        assert torch.equal(undiffused.state_dict()[name], expected), name
    assert not torch.equal(diffused.state_dict()["layers.1.weight"], sgd.layers[1].weight)
    print("with diffusion 0 the two agree bit for bit")


if __name__ == "__main__":
    main()
