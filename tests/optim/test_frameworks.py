"""Inside Lightning, Accelerate and the Hugging Face Trainer every optimizer steps as it does alone.

The truth is a plain torch loop over the same batches: parameters agree bit for bit.
"""

import logging

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

from heatgrad.optim import OPTIMIZERS, LinearDiffusionDecay, diffuse_gradients, diffusion_groups

EPOCHS, NUM_BATCHES, MAX_NORM = 2, 4, 0.5


class Network(nn.Module):
    """A convolution and a batch norm, always with the same weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
        )

    def forward(self, x, labels=None):
        """Return the logits, or what the Trainer wants: a dictionary with the loss."""
        logits = self.layers(x)
        return logits if labels is None else {"loss": cross_entropy(logits, labels)}


def hooked(model):
    """The hook on an optimizer of torch's."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    diffuse_gradients(optimizer, 0.5, mode="implicit")
    return optimizer


def ours(kind):
    return lambda model: kind(model.parameters(), lr=0.05, momentum=0.9, diffusion=0.2)


def grouped(model):
    """Velocity diffusion along some axes of some layers, as it is meant to be used."""
    groups = diffusion_groups(model, "conv_out", "norm_weight", diffusion=0.8)
    return OPTIMIZERS["DiffusionNesterov"](groups, lr=0.05, momentum=0.9)


BUILDS = {
    name: ours(kind) for name, kind in OPTIMIZERS.items() if kind.__module__.startswith("heatgrad.")
} | {"DiffusionNesterov": grouped, "AdamW, hooked": hooked}
every_optimizer = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())
SOME = ("DiffusionNesterov", "DiffusionSGD", "AdamW, hooked")
some_optimizers = pytest.mark.parametrize("build", [BUILDS[name] for name in SOME], ids=SOME)


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks train fastest on one thread, and add in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batches():
    """Four batches of eight, in a fixed order, as a loader of dictionaries."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8 * NUM_BATCHES, 1, 8, 8, generator=generator)
    labels = torch.randint(3, (8 * NUM_BATCHES,), generator=generator)
    samples = [{"x": a, "labels": b} for a, b in zip(x, labels, strict=True)]
    return DataLoader(samples, batch_size=8)


def schedules(optimizer, num_steps):
    """The learning rate's, and the diffusion's where the groups have any."""
    cosine = CosineAnnealingLR(optimizer, T_max=num_steps)
    if "diffusion" not in optimizer.param_groups[0]:
        return [cosine]
    return [cosine, LinearDiffusionDecay(optimizer, num_steps)]


def plain(build, *, accumulated=1, precision=torch.float32):
    """Train with torch alone, schedules after every step; return model and optimizer."""
    model = Network()
    optimizer = build(model)
    plans = schedules(optimizer, EPOCHS * NUM_BATCHES // accumulated)
    for _ in range(EPOCHS):
        for count, batch in enumerate(batches(), start=1):
            with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
                logits = model(batch["x"])
            (cross_entropy(logits.float(), batch["labels"]) / accumulated).backward()
            if count % accumulated == 0:
                clip_grad_norm_(model.parameters(), MAX_NORM)
                optimizer.step()
                for plan in plans:
                    plan.step()
                optimizer.zero_grad()
    return model, optimizer


def assert_same(found, expected):
    """Compare (model, optimizer) with (model, optimizer): parameters, diffusion, momentum."""
    for a, b in zip(found[0].parameters(), expected[0].parameters(), strict=True):
        assert torch.equal(a, b)
    ours, theirs = (optimizer.state_dict() for _, optimizer in (found, expected))
    assert [g.get("diffusion") for g in ours["param_groups"]] == [
        g.get("diffusion") for g in theirs["param_groups"]
    ]
    torch.testing.assert_close(ours["state"], theirs["state"], rtol=0, atol=0)


# ---------------------------------------------------------------- Lightning


@pytest.fixture
def lightning_fit(tmp_path):
    """Return the function that trains in Lightning; the trainer has the optimizer."""
    lightning = pytest.importorskip("lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self, build, is_manual):
            super().__init__()
            self.model, self.build = Network(), build
            self.automatic_optimization = not is_manual

        def training_step(self, batch):
            loss = cross_entropy(self.model(batch["x"]), batch["labels"])
            if not self.automatic_optimization:
                self.step_by_hand(loss)
            return loss

        def step_by_hand(self, loss):
            optimizer = self.optimizers()
            self.manual_backward(loss)
            self.clip_gradients(optimizer, MAX_NORM, gradient_clip_algorithm="norm")
            optimizer.step()
            for plan in self.lr_schedulers():
                plan.step()
            optimizer.zero_grad()

        def configure_optimizers(self):
            optimizer = self.build(self.model)
            plans = schedules(optimizer, EPOCHS * NUM_BATCHES)
            return [optimizer], [{"scheduler": plan, "interval": "step"} for plan in plans]

        def lr_scheduler_step(self, scheduler, metric):
            scheduler.step()

    def fit(build, *, epochs=EPOCHS, is_manual=False, checkpoint=None):
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            gradient_clip_val=None if is_manual else MAX_NORM,
            default_root_dir=tmp_path,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = Module(build, is_manual)
        trainer.fit(module, batches(), ckpt_path=checkpoint)
        return module.model, trainer

    return fit


@every_optimizer
def test_lightning_steps_with_a_closure(lightning_fit, build):
    """Automatic optimization: backward and clipping happen in the closure that `step` calls."""
    model, trainer = lightning_fit(build)
    assert_same((model, trainer.optimizers[0]), plain(build))


def test_lightning_by_hand(lightning_fit):
    """Manual optimization: the module calls `step`, the schedules and the clipping."""
    model, trainer = lightning_fit(grouped, is_manual=True)
    assert_same((model, trainer.optimizers[0]), plain(grouped))


@some_optimizers
def test_lightning_goes_on_from_a_checkpoint(lightning_fit, build, tmp_path):
    """New objects, loaded without unpickling code, end where the unbroken run does."""
    _, half = lightning_fit(build, epochs=EPOCHS // 2)
    half.save_checkpoint(tmp_path / "half.ckpt")
    torch.load(tmp_path / "half.ckpt", weights_only=True)
    model, trainer = lightning_fit(build, checkpoint=tmp_path / "half.ckpt")
    assert_same((model, trainer.optimizers[0]), plain(build))


# ---------------------------------------------------------------- Accelerate


@pytest.fixture
def accelerator_of():
    """Return accelerate's `Accelerator`; what it keeps for the whole process is reset."""
    accelerate = pytest.importorskip("accelerate")
    from accelerate.state import AcceleratorState, GradientState

    def reset():
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    reset()
    yield accelerate.Accelerator
    reset()


def accelerated(accelerator, build, *, epochs=EPOCHS, folder=None):
    """Train in Accelerate, from the start or from what `save_state` wrote; steps are counted."""
    model = Network()
    optimizer = build(model)
    accumulated = accelerator.gradient_accumulation_steps
    plans = schedules(optimizer, EPOCHS * NUM_BATCHES // accumulated)
    model, optimizer, loader, cosine = accelerator.prepare(model, optimizer, batches(), plans[0])
    accelerator.register_for_checkpointing(*plans[1:])
    if folder:
        accelerator.load_state(folder)
    for _ in range(epochs):
        for batch in loader:
            with accelerator.accumulate(model):
                accelerator.backward(cross_entropy(model(batch["x"]), batch["labels"]))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), MAX_NORM)
                optimizer.step()
                cosine.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                for plan in plans[1:]:
                    plan.step()
    return model, optimizer


@every_optimizer
def test_accelerate_accumulates_and_clips(accelerator_of, build):
    """Its optimizer and scheduler pass over the batches that only accumulate."""
    accelerator = accelerator_of(cpu=True, gradient_accumulation_steps=2)
    assert_same(accelerated(accelerator, build), plain(build, accumulated=2))


@some_optimizers
def test_accelerate_in_bfloat16(accelerator_of, build):
    """Autocast: the network computes in bfloat16, parameters and state stay float32."""
    accelerator = accelerator_of(cpu=True, mixed_precision="bf16")
    found = accelerated(accelerator, build)
    assert_same(found, plain(build, precision=torch.bfloat16))
    assert {p.dtype for p in found[0].parameters()} == {torch.float32}


@some_optimizers
def test_accelerate_goes_on_from_a_saved_state(accelerator_of, build, tmp_path):
    """Optimizer, schedule of the learning rate and, registered, that of the diffusion."""
    half = accelerator_of(cpu=True)
    accelerated(half, build, epochs=EPOCHS // 2)
    half.save_state(tmp_path)
    resumed = accelerated(accelerator_of(cpu=True), build, epochs=EPOCHS // 2, folder=tmp_path)
    assert_same(resumed, plain(build))


def test_the_decay_may_be_made_after_prepare(accelerator_of):
    """The wrapped optimizer shows the groups of the one inside, and changes to them arrive."""
    inner = grouped(Network())
    wrapped = accelerator_of(cpu=True).prepare(inner)
    LinearDiffusionDecay(wrapped, num_steps=2).step()
    assert inner.param_groups[0]["diffusion"] == pytest.approx(0.4)


def test_the_hook_wants_the_optimizer_inside(accelerator_of):
    """Accelerate's wrapper has no step hooks; the message says what to do."""
    wrapped = accelerator_of(cpu=True).prepare(torch.optim.AdamW(Network().parameters()))
    with pytest.raises(TypeError, match=r"got AcceleratedOptimizer; .* before it is wrapped"):
        diffuse_gradients(wrapped, 0.2)


# ---------------------------------------------------------------- Hugging Face Trainer


@pytest.fixture
def trainer_run(accelerator_of, tmp_path):
    """Return the function that trains in the Trainer, which uses accelerate itself."""
    transformers = pytest.importorskip("transformers")

    class InOrder(transformers.Trainer):
        def get_train_dataloader(self):
            return batches()

    class Plans(transformers.TrainerCallback):
        """The diffusion's schedule, set to the step that the run is at."""

        def __init__(self, plans):
            self.plans = plans

        def on_train_begin(self, args, state, control, **kwargs):
            for plan in self.plans:
                plan.load_state_dict(plan.state_dict() | {"num_done": state.global_step})

        def on_step_end(self, args, state, control, **kwargs):
            for plan in self.plans:
                plan.step()

    def run(build=None, *, checkpoint=None, **options):
        model = Network()
        callbacks = []
        if build is not None:
            optimizer = build(model)
            cosine, *others = schedules(optimizer, EPOCHS * NUM_BATCHES)
            options["optimizers"] = (optimizer, cosine)
            callbacks = [Plans(others)]
        args = transformers.TrainingArguments(
            str(tmp_path),
            num_train_epochs=EPOCHS,
            max_grad_norm=MAX_NORM,
            learning_rate=0.3,
            lr_scheduler_type="constant",
            weight_decay=0.1,
            save_strategy="epoch",
            use_cpu=True,
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = InOrder(
            model, args, train_dataset=batches().dataset, callbacks=callbacks, **options
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train(resume_from_checkpoint=checkpoint)
        return model, trainer.optimizer

    return run


@some_optimizers
def test_the_trainer_takes_an_optimizer(trainer_run, build, tmp_path):
    """With a schedule, clipping and a restart in the middle of the same run."""
    expected = plain(build)
    assert_same(trainer_run(build), expected)
    assert_same(trainer_run(build, checkpoint=tmp_path / f"checkpoint-{NUM_BATCHES}"), expected)


def test_the_trainer_builds_an_optimizer_from_its_class(trainer_run):
    """The Trainer makes the groups; options that it does not know, the rate too, are given."""
    kind, options = OPTIMIZERS["DiffusionSGD"], {"lr": 0.05, "momentum": 0.9, "diffusion": 0.2}
    model, optimizer = trainer_run(optimizer_cls_and_kwargs=(kind, options))
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.1, 0.0]
    assert [g["diffusion"] for g in optimizer.param_groups] == [0.2, 0.2]

    alone = Network()
    by_id = {id(p): q for p, q in zip(model.parameters(), alone.parameters(), strict=True)}
    groups = [
        {"params": [by_id[id(p)] for p in g["params"]], "weight_decay": g["weight_decay"]}
        for g in optimizer.param_groups
    ]
    expected = kind(groups, **options)
    for _ in range(EPOCHS):
        for batch in batches():
            expected.zero_grad()
            alone(**batch)["loss"].backward()
            clip_grad_norm_(alone.parameters(), MAX_NORM)
            expected.step()
    assert_same((model, optimizer), (alone, expected))
