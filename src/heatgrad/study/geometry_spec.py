"""What a study measures of the loss landscape around each trial's end."""

import inspect
from typing import Annotated, Literal

from pydantic import Field, model_validator

from heatgrad.core.lookup import nearest
from heatgrad.study.components import Component
from heatgrad.study.geometry_kinds import KINDS
from heatgrad.study.metric import Metric

__all__ = ["GeometrySpec"]

_OF = {
    "trace": "trace of the Hessian",
    "largest": "largest eigenvalue of the Hessian",
    "smallest": "smallest eigenvalue of the Hessian",
    "negative_mass": "share of negative eigenvalues",
}
_BELONGS = {"of": ("spectrum",), "to": ("path", "curve"), "align": ("path", "curve")}


class GeometrySpec(Component):
    """One measurement, made of the final weights of every reported trial.

    Attributes:
        kind: `"sharpness"`, `"worst-sharpness"`, `"spectrum"`, `"path"` (a straight line),
            `"curve"` (a trained one) or `"surface"`: the functions of `heatgrad.landscape`;
            further keys are their options.
        margin: Smallest difference that matters, in the measure's own units; a surface is a
            picture and has none.
        of: Of a spectrum, what arms are compared by: `"trace"`, `"largest"`, `"smallest"` or
            `"negative_mass"`.
        to: Of a path or a curve, the arm whose network of the same block it leads to; the
            baseline, unless given.
        align: Of a path or a curve, whether the hidden units of its start are put into the order
            of its end's first.
        part: The data over which the loss is taken: `"train"` or `"test"`.
        examples: The first so many of them at most.
        blocks: Only the first so many blocks; all where none is given, of a surface one.
    """

    kind: Literal["sharpness", "worst-sharpness", "spectrum", "path", "curve", "surface"]
    margin: Annotated[float | None, Field(gt=0)] = None
    of: Literal["trace", "largest", "smallest", "negative_mass"] = "trace"
    to: str | None = None
    align: bool = False
    part: Literal["train", "test"] = "train"
    examples: Annotated[int, Field(ge=2)] = 10_000
    blocks: Annotated[int | None, Field(ge=1)] = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "GeometrySpec":
        if (self.margin is None) != (self.kind == "surface"):
            need = "takes no margin" if self.margin else "needs a margin"
            raise ValueError(f"kind '{self.kind}' {need}")
        for name, kinds in _BELONGS.items():
            is_default = getattr(self, name) == type(self).model_fields[name].default
            if self.kind not in kinds and not is_default:
                shown = " and ".join(f"'{kind}'" for kind in kinds)
                raise ValueError(f"'{name}' belongs to kind {shown}, not to '{self.kind}'")
        known = KINDS[self.kind].options
        for name in self.options:
            if name not in known:
                raise ValueError(f"no option '{name}' of '{self.kind}'; {nearest(name, known)}")
        for name, parameter in known.items():
            if parameter.default is inspect.Parameter.empty and name not in self.options:
                raise ValueError(f"kind '{self.kind}' needs '{name}'")
        if "directions" in self.options and self.options["directions"] not in ("filter", "hessian"):
            raise ValueError(
                f"directions must be 'filter' or 'hessian', got {self.options['directions']!r}"
            )
        return self

    @property
    def metric(self) -> Metric:
        """What arms are compared by; less is better."""
        label = _OF[self.of] if self.kind == "spectrum" else KINDS[self.kind].label
        return Metric(label=label, higher_is_better=False, worst=1e9, percent=False).shown_for(
            self.margin or 1.0
        )

    @property
    def is_compared(self) -> bool:
        """Whether it gives a number by which arms are compared."""
        return self.kind != "surface"
