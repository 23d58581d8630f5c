"""DiffusionSGD inside Accelerate: accumulated batches, clipping and two schedules.

The same training is done with torch alone: it ends bit for bit alike. Needs the extra
`accelerate`. Run it with `python examples/accelerate_loop.py`.
"""

import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from heatgrad.data import Digits
from heatgrad.models import SimpleCNN
from heatgrad.optim import DiffusionSGD, LinearDiffusionDecay

EPOCHS, ACCUMULATED = 4, 2
data = Digits().load(seed=0)


def parts():
    torch.manual_seed(0)
    model = SimpleCNN(data.input_shape, data.num_classes, dropout=0.0)
    loader = DataLoader(TensorDataset(data.x_train, data.y_train), 32, shuffle=True, drop_last=True)
    optimizer = DiffusionSGD(model.parameters(), lr=0.1, momentum=0.9, diffusion=0.2)
    cosine = CosineAnnealingLR(optimizer, T_max=EPOCHS * len(loader) // ACCUMULATED)
    return model, loader, optimizer, cosine, LinearDiffusionDecay(optimizer, num_steps=EPOCHS)


model, loader, optimizer, cosine, decay = parts()
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATED)
model, loader, optimizer, cosine = accelerator.prepare(model, loader, optimizer, cosine)
accelerator.register_for_checkpointing(decay)  # save_state and load_state keep it with the rest
for _ in range(EPOCHS):
    for images, labels in loader:
        with accelerator.accumulate(model):
            accelerator.backward(cross_entropy(model(images), labels))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            cosine.step()
            optimizer.zero_grad()
    decay.step()

plain, loader, optimizer, cosine, decay = parts()
for _ in range(EPOCHS):
    for count, (images, labels) in enumerate(loader, start=1):
        (cross_entropy(plain(images), labels) / ACCUMULATED).backward()
        if count % ACCUMULATED == 0:
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimizer.step()
            cosine.step()
            optimizer.zero_grad()
    decay.step()

right = (model.eval()(data.x_test).argmax(1) == data.y_test).float().mean()
print(f"Accelerate, DiffusionSGD: {100 * right:.1f} % of the test digits")
assert right > 0.9
assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
