"""The VGG networks (Simonyan and Zisserman 2015) for 32x32 input (paper, Appendix A.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from bnexp.models.base import ClassifierOptions, MakeNorm, Task
from bnexp.models.network import Chain, Stage
from bnexp.registry import MODELS, expect, one_of, positive

STAGES = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""How many 3x3 convolutions each of the five stages has; a max-pool ends each stage."""

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of the convolutions of each stage, at width 1."""

WIDEST = 64
"""The greatest width: above it the weights fill any memory."""


@dataclass(frozen=True)
class VggOptions(ClassifierOptions):
    """``depth`` counts the layers of the original; ``head`` is linear, or the widths of hidden
    linear layers; ``init_scale`` multiplies the weights at the start."""

    init_scale: float = field(default=1.0, kw_only=True)
    depth: int
    head: Any

    def check(self, key: str) -> None:
        super().check(key)
        one_of(f"{key}.depth", self.depth, list(STAGES))
        positive(f"{key}.init_scale", self.init_scale)
        expect(self.width <= WIDEST, f"{key}.width", f"{WIDEST} at most", self.width)
        widths = self.head if isinstance(self.head, list) else [0]
        ok = self.head == "linear" or all(type(w) is int and 0 < w <= 1 << 16 for w in widths)
        expect(ok, f"{key}.head", "linear or a list of positive widths like [4096,4096]", self.head)


@MODELS.register("vgg", VggOptions, task="classification")
def vgg(options: VggOptions, norm: MakeNorm, task: Task) -> Chain:
    """The VGG: input ``(batch, channels, height, width)``, 32x32 or larger, logits ``(batch,
    classes)``.

    Each convolution is followed by its norm and a ReLU; the head is not normalised. The
    convolutions are layers 1 to 8, 10, 13 or 16, the head's layers come after them.
    """
    stages: list[Stage] = []
    channels = task.channels
    for convolutions, full in zip(STAGES[options.depth], CHANNELS, strict=True):
        for i in range(convolutions):
            out = max(1, round(full * options.width))
            pool = nn.MaxPool2d(2) if i == convolutions - 1 else None
            conv = nn.Conv2d(channels, out, 3, padding=1)
            stages.append(Stage(conv, norm(len(stages) + 1, out), nn.ReLU(), pool))
            channels = out
    # of 32x32 images one position is left, and the mean over positions is that
    stages[-1].pool = nn.Sequential(stages[-1].pool, nn.AdaptiveAvgPool2d(1))
    for hidden in [] if options.head == "linear" else options.head:
        stages.append(Stage(nn.Linear(channels, hidden), activation=nn.ReLU()))
        channels = hidden
    stages.append(Stage(nn.Linear(channels, task.classes)))
    return Chain(stages)
