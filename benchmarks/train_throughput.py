"""How many images a second: trainings with velocity diffusion beside torch's fused SGD.

`python benchmarks/train_throughput.py --out benchmarks/results` trains a ResNet-56 on images of
CIFAR's size (random ones: the work is the same), augmented, an epoch of a few steps at a time, with
each optimizer in turns, in heatgrad's loop, and with torch's fused SGD in a loop as one would write
it. `--device cuda` holds the data of a whole CIFAR-10 on the GPU, in bfloat16.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heatgrad.data import Dataset, Pixels
from heatgrad.models import ResNet
from heatgrad.optim import DiffusionNesterov, diffusion_groups
from heatgrad.training import CropFlip, Recipe, Training, initialised

sys.path.insert(0, str(Path(__file__).parent))
from optim_step import keep, processor

PIXELS = Pixels((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
MOMENTUM = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
Step = Callable[[], float]  # an epoch; returns images a second


def images(count: int, device: torch.device) -> Dataset:
    """Return random images with random labels, on a device."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, 32, 32, generator=generator)
    y = torch.randint(10, (count,), generator=generator)
    few = {"x_test": x[:64], "y_test": y[:64]}
    return Dataset.from_clean(x_train=x, y_train=y, **few, num_classes=10, pixels=PIXELS).to(device)


def network(depth: int, device: torch.device) -> nn.Module:
    """Return a ResNet in the layout that convolutions like best."""
    model = initialised(lambda: ResNet((3, 32, 32), 10, depth=depth), seed=0)
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """Return Nesterov's momentum as torch has it, fused."""
    return torch.optim.SGD(model.parameters(), nesterov=True, fused=True, **MOMENTUM)


def diffused(kind: str) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """Return what makes the optimizer that diffuses a kind of velocities."""
    return lambda model: DiffusionNesterov(diffusion_groups(model, kind), **MOMENTUM)


def in_our_loop(
    make: Callable[[nn.Module], torch.optim.Optimizer],
    data: Dataset,
    options: argparse.Namespace,
    recipe: Recipe,
) -> Step:
    """Return what trains an epoch as `heatgrad train` does."""
    model = network(options.depth, options.device)
    training = Training(
        model,
        make(model),
        data,
        loss=cross_entropy,
        epochs=10**6,
        batch_size=options.batch_size,
        seed=0,
        recipe=recipe,
    )
    records = training.records()
    return lambda: len(data.y_train) / next(records).seconds


def in_a_plain_loop(data: Dataset, options: argparse.Namespace, recipe: Recipe) -> Step:
    """Return what trains an epoch in a loop as one would write it."""
    model = network(options.depth, options.device).train()
    if options.compile:
        model.compile()
    optimizer, augment = sgd(model), CropFlip(PIXELS)
    generator = torch.Generator().manual_seed(0)

    def epoch() -> float:
        started = time.perf_counter()
        order = torch.randperm(len(data.y_train), device=options.device)
        for batch in order.split(options.batch_size):
            optimizer.zero_grad()
            x = augment(data.x_train[batch], generator)
            with recipe.autocast(x.device):
                loss = cross_entropy(model(x), data.y_train[batch])
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device
        return len(data.y_train) / (time.perf_counter() - started)

    return epoch


def main() -> None:
    """Measure, print a table, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--depth", default=56, type=int)
    parser.add_argument("--batch-size", default=128, type=int)
    parser.add_argument("--steps", type=int, help="an epoch; default 8, on a GPU 50,000 images")
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--compile", action="store_true", help="networks through torch.compile")
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--out", type=Path, help="folder for a JSON file of the numbers")
    options = parser.parse_args()
    is_cpu = options.device.type == "cpu"
    steps = options.steps or (8 if is_cpu else 50_000 // options.batch_size)
    data = images(steps * options.batch_size, options.device)
    recipe = Recipe(
        augment=CropFlip(PIXELS),
        precision="float32" if is_cpu else "bfloat16",
        compile=options.compile,
    )
    ours = {
        "SGD, fused": sgd,
        "DiffusionNesterov, conv output": diffused("conv_out"),
        "DiffusionNesterov, BN weight": diffused("norm_weight"),
    }
    ways = {name: in_our_loop(make, data, options, recipe) for name, make in ours.items()}
    ways["a plain loop, SGD, fused"] = in_a_plain_loop(data, options, recipe)
    for epoch in ways.values():
        epoch()  # warms up
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, epoch in ways.items():
            rates[name].append(epoch())
    where = processor(options.device)
    where += f", {torch.get_num_threads()} threads" if is_cpu else ""
    print(
        f"ResNet-{options.depth}, batches of {options.batch_size}, augmented, {recipe.precision}, "
        f"{where}, {options.rounds} rounds of {steps} steps\n"
    )
    print("| way | images a second | to SGD, fused: median of rounds (least, most) |")
    print("|---|---|---|")
    for name, found in rates.items():
        ratios = sorted(a / b for a, b in zip(found, rates["SGD, fused"], strict=True))
        print(
            f"| {name} | {statistics.median(found):,.0f} | {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f}, {ratios[-1]:.3f}) |"
        )
    if options.out:
        kept = {"images_a_second": rates, "batch_size": options.batch_size, "steps": steps}
        keep(kept, options.out / f"train-{options.device.type}.json", where, options.rounds)


if __name__ == "__main__":
    main()
