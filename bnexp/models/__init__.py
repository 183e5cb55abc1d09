"""The networks: modules with numbered layers."""

from bnexp.models.base import MakeNorm, ModelOptions, Task, build_model, layer_count
from bnexp.models.network import Chain, Layer, Network, Stage
from bnexp.objective import Evaluation, Params

__all__ = [
    "Chain",
    "Evaluation",
    "Layer",
    "MakeNorm",
    "ModelOptions",
    "Network",
    "Params",
    "Stage",
    "Task",
    "build_model",
    "layer_count",
]
