"""Everything that is measured around one network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heatgrad.landscape.align import align as aligned
from heatgrad.landscape.barrier import LossPath
from heatgrad.landscape.objective import DataLoss
from heatgrad.landscape.path import interpolate
from heatgrad.landscape.scales import Scale
from heatgrad.landscape.sharpness import RAY_SHARPNESS, Noise, Sharpness, check_sharpness, sharpness
from heatgrad.landscape.spectrum import Spectrum, check_spectrum, hessian_spectrum
from heatgrad.landscape.surface import Surface, check_grid, surface

__all__ = ["MEASURES", "Portrait", "portray"]

MEASURES = ("sharpness", "path", "spectrum", "surface")


@dataclass(frozen=True)
class Portrait:
    """What was measured around one network; what was not asked for is None or empty.

    Attributes:
        name: Of the network.
        sharpness: By the words for its kind and scale.
        path: To the first network, if it is another.
        path_aligned: The same, hidden units put into the first network's order before.
        spectrum: Of the Hessian; None as well where parameters are not finite.
        surface: Around it.
    """

    name: str
    sharpness: Mapping[str, Sharpness]
    path: LossPath | None
    path_aligned: LossPath | None
    spectrum: Spectrum | None
    surface: Surface | None


def portray(
    name: str,
    model: nn.Module,
    loss: DataLoss,
    *,
    first: nn.Module | None = None,
    measures: Sequence[str] = MEASURES,
    radius: float = 0.05,
    draws: int = 20,
    points: int = 25,
    vectors: int = 10,
    steps: int = 60,
    directions: str = "filter",
    reach: float = 1.0,
    trajectory: Sequence[Mapping[str, Tensor]] = (),
    align: bool = False,
    seed: int = 0,
    on_measure: Callable[[str], None] = lambda measure: None,
) -> Portrait:
    """Measure a network by several ways at once, with the defaults of each but for these.

    Args:
        name: Of the network.
        model: The network; it is left as it was.
        loss: Its loss.
        first: The network that a path leads from, if this is another.
        measures: Of `MEASURES`.
        radius: Of the scale-free sharpness; the raw one is the paper's, 0.1.
        draws: Directions of the average sharpness.
        points: Along each side of the surface, odd; along the path as many.
        vectors: Random starts of the spectrum.
        steps: Products from each.
        directions: Of the surface.
        reach: Of the surface.
        trajectory: State dicts of networks on the way, drawn on the surface.
        align: Whether the path is also measured from aligned units.
        seed: Of all that is random.
        on_measure: Called with the name of each measure before it begins.

    Raises:
        ValueError: If a number is out of range or a name unknown.
    """
    for measure in measures:
        if measure not in MEASURES:
            raise ValueError(f"measures must be of {', '.join(MEASURES)}, got {measure!r}")
    check_sharpness(radius, draws=draws)
    check_spectrum(vectors=vectors, steps=steps)
    check_grid(points, reach)
    found: dict[str, Any] = {"sharpness": {}, "path": None, "path_aligned": None}
    found |= {"spectrum": None, "surface": None}
    if "sharpness" in measures:
        on_measure("sharpness")

        def average(radius: float, scale: Scale, noise: Noise = "normal") -> Sharpness:
            return sharpness(model, loss, radius, scale=scale, noise=noise, draws=draws, seed=seed)

        found["sharpness"] = {
            "filter": average(radius, "filter"),
            "element": average(radius, "element"),
            "worst, filter": sharpness(model, loss, radius, kind="worst", seed=seed),
            "raw ±0.1": average(**RAY_SHARPNESS),
        }
    if "path" in measures and first is not None:
        on_measure("path")
        found["path"] = interpolate(first, model, loss, points=points)
        if align:
            x = next(loss.inputs())
            other = aligned(first, model, seed=seed, inputs=x).model
            found["path_aligned"] = interpolate(first, other, loss, points=points)
    if "spectrum" in measures:
        on_measure("spectrum")
        if all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            found["spectrum"] = hessian_spectrum(
                model, loss, vectors=vectors, steps=steps, seed=seed
            )
    if "surface" in measures:
        on_measure("surface")
        found["surface"] = surface(
            model,
            loss,
            directions,  # type: ignore[arg-type]
            reach=reach,
            points=points,
            trajectory=trajectory,
            seed=seed,
        )
    return Portrait(name, **found)
