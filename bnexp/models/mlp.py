"""A multilayer perceptron: linear layers of one width on the pixels, with a ReLU after each."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from bnexp.models.base import ClassifierOptions, MakeNorm, Task
from bnexp.models.network import Chain, Stage
from bnexp.registry import MODELS, expect

UNITS = 1024
"""Units of each hidden layer, at width 1."""

PIXELS = 32 * 32


@dataclass(frozen=True)
class MlpOptions(ClassifierOptions):
    """``depth`` counts the linear layers."""

    depth: int

    def check(self, key: str) -> None:
        super().check(key)
        expect(1 <= self.depth <= 1000, f"{key}.depth", "1 to 1000 layers", self.depth)


@MODELS.register("mlp", MlpOptions, task="classification")
def mlp(options: MlpOptions, norm: MakeNorm, task: Task) -> Chain:
    """Images ``(batch, channels, 32, 32)``, logits ``(batch, classes)``; the last layer has neither
    norm nor ReLU."""
    units = max(1, round(UNITS * options.width))
    sizes = [task.channels * PIXELS, *[units] * (options.depth - 1)]
    hidden = [
        Stage(nn.Linear(before, units), norm(i, units), nn.ReLU())
        for i, before in enumerate(sizes[:-1], start=1)
    ]
    return Chain([*hidden, Stage(nn.Linear(sizes[-1], task.classes))])
