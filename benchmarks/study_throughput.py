"""How many trials a second: a study beside a plain PyTorch loop.

`python benchmarks/study_throughput.py --out benchmarks/results` runs the preset `synthetic`, its
epochs cut, as `heatgrad study run` does (one process a core, or one on a GPU with `--device cuda`;
records stored), and takes turns with a loop that trains one network after the other in one process
with torch's default threads. Both train the same networks with the same optimizers on the same data
and score them after each epoch.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from heatgrad.study import StudySpec, load_study, run_study
from heatgrad.study.plan import plan
from heatgrad.study.run import default_workers
from heatgrad.study.trial import load_data, make_optimizer

sys.path.insert(0, str(Path(__file__).parent))
from optim_step import keep, processor


def network(num_features: int, num_classes: int) -> nn.Module:
    """Return the paper's SimpleMLP as one would write it."""
    layers: list[nn.Module] = []
    for size in (num_features, 128):
        layers += [nn.Linear(size, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(128, num_classes))


def plain_loop(study: StudySpec, epochs: int) -> float:
    """Train each arm once on each task for a few epochs; return trained epochs a second.

    On a GPU the data lie there.
    """
    device = torch.device(study.device)
    count, seconds = 0, 0.0
    for trial in plan(study.with_seeds(1)):
        data = load_data(trial)
        x_train, y_train, x_test, y_test = (
            part.to(device) for part in (data.x_train, data.y_train, data.x_test, data.y_test)
        )
        torch.manual_seed(0)
        model = network(x_train[0].numel(), data.num_classes).to(device)
        optimizer = make_optimizer(trial, model)
        started = time.perf_counter()
        for _ in range(epochs):
            model.train()
            order = torch.randperm(len(y_train), device=device)
            for batch in order.split(trial.batch_size):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x_train[batch]), y_train[batch])
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                logits = model(x_test)
                nn.functional.cross_entropy(logits, y_test).item()
                (logits.argmax(1) == y_test).float().mean().item()
        seconds += time.perf_counter() - started
        count += epochs
    return count / seconds


def whole_study(study: StudySpec, epochs: int) -> float:
    """Run the study with fewer epochs; return trained epochs a second, start and store included."""
    tasks = {name: task.model_copy(update={"epochs": None}) for name, task in study.tasks.items()}
    cut = study.model_copy(update={"epochs": epochs, "tasks": tasks})
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run_study(cut, out=Path(folder) / "study")
        return cut.num_trials * epochs / (time.perf_counter() - started)


def main() -> None:
    """Measure in turns, print the table, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--epochs", default=30, type=int, help="of each trial of the study")
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="folder for a JSON file of the numbers")
    arguments = parser.parse_args()
    study = load_study("synthetic", device=arguments.device)
    ways = {"plain loop": lambda: plain_loop(study, 1)}
    if study.device == "cpu":
        one_by_one = study.model_copy(update={"backend": "loop", "seeds": 2})
        ways["heatgrad, trials one by one"] = lambda: whole_study(one_by_one, 3)
    ways["heatgrad"] = lambda: whole_study(study, arguments.epochs)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            found[name].append(way())
    where = processor(torch.device(study.device))
    where += f", {default_workers()} cores" if study.device == "cpu" else ""
    print(f"synthetic: {study.num_trials} trials of {study.epochs} epochs, {where}\n")
    print("| way | epochs a second | trials an hour | to the plain loop |")
    print("|---|---|---|---|")
    base = statistics.median(found["plain loop"])
    for name, rates in found.items():
        rate = statistics.median(rates)
        print(f"| {name} | {rate:.1f} | {3600 * rate / study.epochs:,.0f} | {rate / base:.2f} |")
    if arguments.out:
        path = arguments.out / f"study_throughput-{study.device}.json"
        keep({"epochs_a_second": found}, path, where, arguments.rounds)


if __name__ == "__main__":
    main()
