"""The normalisations: the paper's, and one file for each other kind.

A registered norm is a function of the number of units, its options and the seed of the layer's
noise; it returns a module that acts on the output of an affine map, ``(batch, units, ..)``. A
module with a method ``attach`` is given that affine map, with its initial weight, once the network
is there (None where it follows no single map), and may raise `UserError`.
"""

from bnexp.norms.paper import (
    BatchNorm,
    LpNorm,
    Noise,
    NoiseOptions,
    Replayed,
    Statistics,
    StatisticsOptions,
    at_least_float32,
    at_step,
    frozen_statistics,
    noises,
)

__all__ = [
    "BatchNorm",
    "LpNorm",
    "Noise",
    "NoiseOptions",
    "Replayed",
    "Statistics",
    "StatisticsOptions",
    "at_least_float32",
    "at_step",
    "frozen_statistics",
    "noises",
]
