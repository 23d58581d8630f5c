"""Floor 2: the geometry of a loss around and between solutions, safe from their symmetries.

A loss is a `DataLoss`, or any function of the network. Dropout is off and the statistics of batch
normalisation are estimated anew wherever the weights are others, unless asked otherwise.
"""

from heatgrad.landscape.align import Alignment, align
from heatgrad.landscape.barrier import LossPath, barrier_of
from heatgrad.landscape.connect import Curve, connect
from heatgrad.landscape.directions import Trajectory
from heatgrad.landscape.norms import recalibrate
from heatgrad.landscape.objective import DataLoss
from heatgrad.landscape.path import interpolate
from heatgrad.landscape.portrait import Portrait, portray
from heatgrad.landscape.sharpness import RAY_SHARPNESS, Sharpness, sharpness
from heatgrad.landscape.spectrum import Extreme, Spectrum, hessian_spectrum
from heatgrad.landscape.surface import Surface, surface

__all__ = [
    "RAY_SHARPNESS",
    "Alignment",
    "Curve",
    "DataLoss",
    "Extreme",
    "LossPath",
    "Portrait",
    "Sharpness",
    "Spectrum",
    "Surface",
    "Trajectory",
    "align",
    "barrier_of",
    "connect",
    "hessian_spectrum",
    "interpolate",
    "portray",
    "recalibrate",
    "sharpness",
    "surface",
]
