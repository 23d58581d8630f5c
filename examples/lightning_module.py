"""DiffusionNesterov inside Lightning: two schedules, and a restart from a checkpoint.

Needs the extra `lightning`. Run it with `python examples/lightning_module.py`.
"""

import logging
import tempfile
import warnings

import lightning
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from heatgrad.data import Digits
from heatgrad.models import SimpleCNN
from heatgrad.optim import DiffusionNesterov, LinearDiffusionDecay, diffusion_groups

EPOCHS = 6
OFF = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")
data = Digits().load(seed=0)
train = TensorDataset(data.x_train, data.y_train)


class DigitReader(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = SimpleCNN(data.input_shape, data.num_classes, dropout=0.0)

    def training_step(self, batch):
        images, labels = batch
        return torch.nn.functional.cross_entropy(self.network(images), labels)

    def configure_optimizers(self):
        optimizer = DiffusionNesterov(diffusion_groups(self.network, "conv_out"), lr=0.05)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
        return [optimizer], [cosine, LinearDiffusionDecay(optimizer, num_steps=EPOCHS)]

    def lr_scheduler_step(self, scheduler, metric):
        scheduler.step()  # Lightning wants this hook: the decay is not one of torch's schedulers


def trained(epochs, **options):
    torch.manual_seed(0)
    loader = DataLoader(train, 64, sampler=DistributedSampler(train, num_replicas=1, rank=0))
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=epochs, **dict.fromkeys(OFF, False))
    trainer.fit(DigitReader(), loader, **options)
    return trainer


with tempfile.TemporaryDirectory() as folder:
    whole = trained(EPOCHS)
    trained(EPOCHS // 2).save_checkpoint(f"{folder}/half.ckpt")
    resumed = trained(EPOCHS, ckpt_path=f"{folder}/half.ckpt")
right = (whole.model.network.eval()(data.x_test).argmax(1) == data.y_test).float().mean()
print(f"Lightning, DiffusionNesterov: {100 * right:.1f} % of the test digits")
assert right > 0.9
pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
assert all(torch.equal(unbroken, restarted) for unbroken, restarted in pairs)
