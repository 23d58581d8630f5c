"""What a study's trainings do beside plain steps, as it is read from TOML."""

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from heatgrad.core.errors import SpecError
from heatgrad.core.spec import Spec
from heatgrad.data import Dataset
from heatgrad.study.components import Component, build, find, resolve
from heatgrad.training import AUGMENTS, Loss, Objective, Precision, Recipe

__all__ = ["AugmentSpec", "RecipeSpec"]

Share = Annotated[float, Field(ge=0, lt=1)]


class AugmentSpec(Component):
    """A name of `heatgrad.training.AUGMENTS` or an import path, and its options."""


class RecipeSpec(Spec):
    """What is done beside plain steps, in every arm; as it stands here, nothing.

    Attributes:
        augment: Random changes of the training images.
        label_smoothing: Share of a label's probability that goes to all classes alike [1].
        precision: `"float32"`, or `"bfloat16"` for autocast.
        accumulate: Parts that a batch goes through the network in.
        average: Decay of the exponential average of the weights, 0 for none [1].
        average_warmup: Whether that decay begins small and grows with the steps.
        diffusion_decay: Whether diffusion falls linearly to zero in the last epoch.
        compile: Whether networks go through `torch.compile`.
    """

    augment: AugmentSpec | None = None
    label_smoothing: Share = 0.0
    precision: Precision = "float32"
    accumulate: Annotated[int, Field(ge=1)] = 1
    average: Share = 0.0
    average_warmup: bool = False
    diffusion_decay: bool = False
    compile: bool = False

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What was added later stands there only where it is used: keys of trials stay."""
        values: dict[str, Any] = dump(self)
        for name in ("compile", "average_warmup"):
            if not getattr(self, name):
                values.pop(name, None)
        return values

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done beside plain steps."""
        return self == RecipeSpec()

    @property
    def words(self) -> tuple[str, ...]:
        """What is done, a phrase each."""
        said = {"augment", "diffusion_decay", "compile", "average_warmup"}
        changed = self.model_dump(exclude_defaults=True, exclude=said)
        named = {"label_smoothing": "label smoothing", "average": "average of weights"}
        return (
            *([] if self.augment is None else [f"augmentation {self.augment.kind}"]),
            *(f"{named.get(name, name)} {value}" for name, value in changed.items()),
            *(["diffusion falling to zero"] if self.diffusion_decay else []),
            *(["compiled"] if self.compile else []),
        )

    def resolved(self, where: str) -> "RecipeSpec":
        """Return the recipe with the defaults of its augmentation written out."""
        if self.augment is None:
            return self
        augment = resolve(self.augment, AUGMENTS, "augment", f"{where}.augment")
        return self.model_copy(update={"augment": AugmentSpec(**augment.model_dump())})

    def recipe(self, dataset: Dataset, loss: Loss | Objective, where: str) -> Recipe:
        """Return the recipe of a training.

        Args:
            dataset: What is trained on.
            loss: What is trained by.
            where: The place in the spec, to begin messages.

        Raises:
            SpecError: If an option is refused, or the data are no images whose pixels are known.
        """
        options = self.model_dump(exclude={"augment"})
        if self.augment is not None:
            what = f"{where}.augment"
            if dataset.pixels is None:
                raise SpecError(
                    f"{what} needs images, with their `pixels` in the data set, got inputs of "
                    f"shape {dataset.input_shape} without; leave it out for this task"
                )
            target = find(self.augment, AUGMENTS, "augment", what)
            options["augment"] = build(target, what, dataset.pixels, **self.augment.options)
        recipe: Recipe = build(Recipe, where, **options)
        build(recipe.training_loss, where, loss)
        return recipe
