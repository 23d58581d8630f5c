"""Train block 0 of the study again and follow the highest frequency of the velocity, step by step.

Writes `growth.csv`: arm, step, loss of the batch, and for each of the two batch norms the amplitude
of its weights' highest Neumann mode in the velocity, after the step.
"""

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from heatgrad.laplacian import Laplacian, spectral_radius
from heatgrad.optim import max_stable_diffusion
from heatgrad.study import load_study
from heatgrad.study.plan import plan
from heatgrad.study.trial import Trial, load_data, make_model, make_optimizer
from heatgrad.training import train

HERE = Path(__file__).resolve().parent
SIZES = (16, 32)  # weights of the two batch norms
MOMENTUM = 0.9


def gain(diffusion: float, size: int) -> float:
    """Return k of the highest mode of `size` weights: what a step multiplies it by, (V.11)."""
    highest = spectral_radius([size], "neumann")
    return MOMENTUM - diffusion * max_stable_diffusion(MOMENTUM, 1) * highest


def read() -> dict[float, np.ndarray]:
    """Return, by D, one row per step: loss, amplitude in the first and the second batch norm."""
    rows: dict[float, list[list[float]]] = {}
    with open(HERE / "growth.csv", newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            values = [float(line[name]) for name in ("loss", "first", "second")]
            rows.setdefault(float(line["arm"].removeprefix("D = ")), []).append(values)
    return {diffusion: np.array(values) for diffusion, values in rows.items()}


def follow(trial: Trial) -> list[tuple[float, ...]]:
    """Return the batch loss and the amplitude per batch norm, for every step of a trial."""
    dataset = load_data(trial)
    model = make_model(trial, dataset)
    optimizer = make_optimizer(trial, model)
    weights = optimizer.param_groups[0]["params"]
    modes = Laplacian(0, "neumann")
    losses: list[float] = []
    steps: list[tuple[float, ...]] = []

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        value = nn.functional.cross_entropy(logits, labels)
        if model.training:
            losses.append(float(value.detach()))
        return value

    def note(*args: object) -> None:
        velocities = [optimizer.state[weight]["momentum_buffer"].double() for weight in weights]
        steps.append((losses[-1], *(abs(float(modes.transform(v)[-1])) for v in velocities)))

    optimizer.register_step_post_hook(note)
    for _ in train(
        model,
        optimizer,
        dataset,
        loss=loss,
        epochs=trial.epochs,
        batch_size=trial.batch_size,
        seed=trial.seed,
    ):
        pass
    return steps


def main() -> None:
    """Follow the arms whose velocity diffuses at the nominal time step."""
    torch.set_num_threads(1)
    study = load_study(HERE / "spec.toml")
    with open(HERE / "growth.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("arm", "step", "loss", "first", "second"))
        for trial in plan(study.with_seeds(1)):
            if trial.optimizer.options.get("stability") == "off":
                for step, values in enumerate(follow(trial), start=1):
                    writer.writerow((trial.arm_name, step, *(f"{v:.4g}" for v in values)))


if __name__ == "__main__":
    main()
