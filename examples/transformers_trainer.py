"""AdamW on diffused gradients in the Hugging Face Trainer, and a restart from a checkpoint.

Needs the extra `transformers`. Run it with `python examples/transformers_trainer.py`.
"""

import tempfile

import torch
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from heatgrad.data import Digits
from heatgrad.models import SimpleCNN
from heatgrad.optim import diffuse_gradients

EPOCHS, STRENGTH = 6, 0.5
data = Digits().load(seed=0)
train = [{"x": x, "labels": y} for x, y in zip(data.x_train, data.y_train, strict=True)]


class DigitReader(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = SimpleCNN(data.input_shape, data.num_classes)

    def forward(self, x, labels):
        return {"loss": cross_entropy(self.network(x), labels)}


# The strength falls linearly to zero. The step alone decides it, so a restart finds it again.
class DiffusionDecay(TrainerCallback):
    def __init__(self, handle):
        self.handle = handle

    def on_step_begin(self, args, state, control, **kwargs):
        self.handle.diffusion = STRENGTH * (1 - state.global_step / state.max_steps)


def trained(folder, **options):
    torch.manual_seed(0)
    model = DigitReader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    handle = diffuse_gradients(optimizer, STRENGTH, mode="implicit")
    quiet = {"report_to": "none", "logging_strategy": "no", "disable_tqdm": True}
    plan = {"num_train_epochs": EPOCHS, "save_strategy": "epoch", "lr_scheduler_type": "cosine"}
    args = TrainingArguments(folder, per_device_train_batch_size=64, use_cpu=True, **plan, **quiet)
    trainer = Trainer(model, args, train_dataset=train, optimizers=(optimizer, None))
    trainer.add_callback(DiffusionDecay(handle))
    trainer.remove_callback(PrinterCallback)
    trainer.train(**options)
    return model


with tempfile.TemporaryDirectory() as folder:
    whole = trained(folder)
    resumed = trained(folder, resume_from_checkpoint=f"{folder}/checkpoint-69")
right = (whole.network.eval()(data.x_test).argmax(1) == data.y_test).float().mean()
print(f"Trainer, diffused AdamW: {100 * right:.1f} % of the test digits")
assert right > 0.9
assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
