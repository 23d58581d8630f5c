"""The trials of a study."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from heatgrad.core.errors import SpecError
from heatgrad.core.random import stream_seed
from heatgrad.data import TASKS
from heatgrad.optim import OPTIMIZERS
from heatgrad.study.components import Component, find, resolve
from heatgrad.study.design import settings_of
from heatgrad.study.losses import has_accuracy, resolved_loss
from heatgrad.study.networks import ALL_NETWORKS
from heatgrad.study.question import EACH_TUNED
from heatgrad.study.recipe_spec import RecipeSpec
from heatgrad.study.spec import StudySpec
from heatgrad.study.trial import Trial
from heatgrad.training import SCHEDULES, Backend, can_train, has_rule

__all__ = ["plan", "plan_tuned"]


def plan(study: StudySpec) -> list[Trial]:
    """Return all trials that a study's file decides, each resolved to the last option.

    First those of the regime "as published", block by block; then those that tune. What the
    latter decide is planned by `plan_tuned`.

    Raises:
        SpecError: If a name or an option in it is unknown.
    """
    make = _Planner(study)
    trials = [
        make(task, arm, block, "report")
        for block in range(max(map(study.blocks_of, study.tasks)))
        for task in study.tasks
        if block < study.blocks_of(task)
        for arm in study.arms
    ]
    for task in study.tasks:
        budget = study.budget_of(task)
        if study.tuning is None or budget == 1:
            continue
        settings = {arm: settings_of(study, arm, budget) for arm in study.arms}
        trials += [
            make(
                task,
                arm,
                block,
                "tuning",
                options=settings[arm][k],
                setting=k,
                held_out=study.tuning.held_out,
            )
            for block in range(study.tuning.blocks)
            for k in range(budget)
            for arm in study.arms
        ]
    return trials


def plan_tuned(
    study: StudySpec, chosen: Mapping[tuple[str, str], Mapping[str, float]]
) -> list[Trial]:
    """Return the trials of the regime "each tuned".

    Args:
        study: The study.
        chosen: The options chosen for each task and arm.
    """
    make = _Planner(study)
    return [
        make(task, arm, block, "report", options=chosen[task, arm], regime=EACH_TUNED)
        for block in range(max(map(study.blocks_of, study.tasks)))
        for task in study.tasks
        if block < study.blocks_of(task) and EACH_TUNED in study.regimes_of(task)
        for arm in study.arms
    ]


class _Planner:
    """Makes the trials of a study; what many of them share is resolved once."""

    def __init__(self, study: StudySpec) -> None:
        self._study = study
        self._schedule = resolve(study.schedule, SCHEDULES, "schedule", "schedule")
        self._parts: dict[str, tuple[Component, Component]] = {}
        self._recipes: dict[str, RecipeSpec] = {}
        self._arms: dict[tuple[str, str], tuple[Component, Backend]] = {}
        for name, task in study.tasks.items():
            where, model = f"tasks.{name}", task.model or study.model
            self._parts[name] = (
                resolve(task, TASKS, "task", where),
                resolve(model, ALL_NETWORKS, "model", f"{where}: model"),
            )
            self._recipes[name] = study.recipe_of(name).resolved(f"{where}: recipe")
            for arm_name, arm in study.arms.items():
                chosen = Component(kind=arm.kind, options={"lr": task.lr or study.lr} | arm.options)
                self._arms[name, arm_name] = (
                    resolve(chosen, OPTIMIZERS, "optimizer", f"arms.{arm_name}"),
                    _backend(study, name, model, arm_name, arm),
                )

    def __call__(
        self,
        task: str,
        arm: str,
        block: int,
        role: str,
        *,
        options: Mapping[str, float] = MappingProxyType({}),
        **marks: Any,
    ) -> Trial:
        study, (optimizer, backend) = self._study, self._arms[task, arm]
        return Trial(
            task_name=task,
            arm_name=arm,
            block=block,
            role=role,
            seed=stream_seed(study.entropy, role, block),
            task=self._parts[task][0],
            model=self._parts[task][1],
            optimizer=Component(kind=optimizer.kind, options=optimizer.options | dict(options)),
            schedule=self._schedule,
            loss=resolved_loss(study.loss, self._parts[task][1]),
            epochs=study.tasks[task].epochs or study.epochs,
            batch_size=study.tasks[task].batch_size or study.batch_size,
            backend=backend,
            device=study.device,
            recipe=self._recipes[task],
            **marks,
        )


def _backend(
    study: StudySpec, task_name: str, model: Component, arm_name: str, arm: Component
) -> Backend:
    """Return how the trials of an arm on a task are trained; of `"vmap"` each trial decides."""
    network = find(model, ALL_NETWORKS, "model", f"tasks.{task_name}: model")
    optimizer = find(arm, OPTIMIZERS, "optimizer", f"arms.{arm_name}")
    is_known = all(isinstance(x, type) for x in (network, optimizer))
    if not has_accuracy(study.loss):
        if study.backend == "replicas":
            raise SpecError(
                f"backend 'replicas' needs a loss of logits and labels, got '{study.loss.kind}', "
                f"which calls the network itself; use backend = 'auto'"
            )
        return "loop"
    is_plain = study.recipe_of(task_name).is_plain
    can_be = is_plain and is_known and can_train(network, optimizer)
    if study.backend == "replicas" and not can_be:
        raise SpecError(
            f"backend 'replicas' needs a network that is an MLP and an optimizer that has a rule"
            f"{'' if is_plain else ', without a recipe'}, got {model.kind} with {arm.kind}"
            f"{'' if is_plain else ' and a recipe'}; use backend = 'auto'"
        )
    if study.backend == "loop" or not is_plain:
        return "loop"
    if can_be:
        return "replicas"
    if study.device != "cpu":  # where one network by itself is work enough
        return "loop"
    # Ours that are no MLP have convolutions, with which vmap is not faster.
    is_own = model.kind not in ALL_NETWORKS
    return "vmap" if is_own and isinstance(optimizer, type) and has_rule(optimizer) else "loop"
