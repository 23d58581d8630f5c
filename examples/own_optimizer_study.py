"""Compare an optimizer of your own with SGD, matched seed by seed.

The study finds the optimizer by its import path. Run it with
`python examples/own_optimizer_study.py`; results go into a temporary folder.
"""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from heatgrad.study import run_study


class SignSGD(torch.optim.Optimizer):
    """Step along the sign of the gradient."""

    def __init__(self, params: Iterable, lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Move every parameter by the learning rate, against its gradient's sign."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.add_(param.grad.sign(), alpha=-group["lr"])


SPEC = {
    "name": "own-optimizer",
    "seeds": 8,  # the fewest that a verdict takes
    "epochs": 2,
    "batch_size": 128,
    "lr": 0.3,
    "metric": "test_accuracy",
    "margin": 0.01,
    "baseline": "SGD",
    "confirmatory": ["SignSGD"],
    "model": {"kind": "SimpleMLP", "width": 32, "dropout": 0.0},
    "tasks": {"digits": {"kind": "Digits"}},
    "arms": {
        "SGD": {"kind": "SGD"},
        "SignSGD": {"kind": "own_optimizer_study:SignSGD", "lr": 0.003},
    },
}

if __name__ == "__main__":  # more workers than 0 would be new processes that import this file
    with tempfile.TemporaryDirectory() as folder:
        results = run_study(SPEC, out=Path(folder, "run"), workers=0)
        (verdict,) = results.verdicts()
        print(f"{verdict.question.arm}: {verdict.word}. {verdict.sentence}")
        assert results.num_missing == 0
        assert verdict.word != "NO VERDICT"
        assert all(record.status == "finished" for record in results.records)
