"""Floor 2: how noise spreads, traps, escapes and settles: Fokker-Planck equations, ensembles.

One convention throughout: dX = b dt + sqrt(2 D) dW, Itô. A process is one object, evaluated by
every method: exact formulas, a grid, ensembles of the equation, and true minibatch SGD.
"""

from heatgrad.fokker_planck.ito import Ito
from heatgrad.fokker_planck.langevin import Kinetic, Langevin
from heatgrad.fokker_planck.process import Process
from heatgrad.fokker_planck.region import Ball, Box, HalfSpace
from heatgrad.fokker_planck.sgd import SGDDiffusion

__all__ = [
    "Ball",
    "Box",
    "HalfSpace",
    "Ito",
    "Kinetic",
    "Langevin",
    "Process",
    "SGDDiffusion",
]
