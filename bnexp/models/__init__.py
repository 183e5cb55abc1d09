"""The networks: modules with numbered layers."""

from bnexp.models.base import MakeNorm, ModelOptions, Task, build_model, layer_count
from bnexp.models.network import Chain, Layer, Network, Stage

__all__ = [
    "Chain",
    "Layer",
    "MakeNorm",
    "ModelOptions",
    "Network",
    "Stage",
    "Task",
    "build_model",
    "layer_count",
]
