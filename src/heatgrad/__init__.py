"""heatgrad: drift and diffusion in learning.

Import what you need from its subpackages, e.g. ``from heatgrad.optim import DiffusionSGD``.
Importing ``heatgrad`` alone loads nothing heavy.
"""

__version__ = "0.1.0"
