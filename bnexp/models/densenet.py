"""Densely connected networks with bottlenecks and compression, DenseNet-BC (Huang et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnexp.models.base import ConvolutionalOptions, MakeNorm, Task
from bnexp.models.network import Layer, Network
from bnexp.registry import MODELS, at_least, expect

BOTTLENECK = 4
"""Channels of a dense layer's 1x1 convolution, by the growth."""


@dataclass(frozen=True)
class DensenetOptions(ConvolutionalOptions):
    """``blocks``: dense layers of each block; ``growth``: channels that each adds, times ``width``;
    ``compression``: the share of channels that a transition between blocks keeps."""

    blocks: Any
    growth: int
    compression: float

    def check(self, key: str) -> None:
        super().check(key)
        counts = self.blocks if isinstance(self.blocks, list) and self.blocks else [0]
        ok = len(counts) <= 4 and all(type(n) is int and 1 <= n <= 256 for n in counts)
        expected = "one to four numbers of layers, such as [6,6,6]"
        expect(ok, f"{key}.blocks", expected, self.blocks)
        at_least(f"{key}.growth", self.growth, 1)
        ok = 0 < self.compression <= 1
        expect(ok, f"{key}.compression", "a number in (0, 1]", self.compression)


class DenseLayer(nn.Module):
    """Its input, and conv3x3(ReLU(norm(conv1x1(ReLU(norm(x)))))) beside it."""

    def __init__(self, channels: int, growth: int, norms: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.norm1, norm2 = norms
        self.conv1 = nn.Conv2d(channels, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = norm2
        self.conv2 = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return torch.cat([x, new], 1)


class Transition(nn.Module):
    """Average-pooled conv1x1(ReLU(norm(x))), between two blocks."""

    def __init__(self, channels: int, out: int, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.conv = nn.Conv2d(channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)


@MODELS.register("densenet", DensenetOptions, task="classification")
class DenseNet(Network):
    """DenseNet-BC: images ``(batch, channels, height, width)``, logits ``(batch, classes)``.

    Layers in the order of the forward pass: the stem, each dense layer's 1x1 and 3x3 convolution
    (each transition's between two blocks), the head. As the norms stand before the ReLUs and act on
    the concatenated channels, only a 1x1 convolution in a dense layer (and the imagenet stem) is
    followed by a norm of its own; the pre-activations of other layers are what their convolution
    gives. A norm of concatenated channels counts with the layer before it.
    """

    def __init__(self, options: DensenetOptions, norm: MakeNorm, task: Task) -> None:
        super().__init__()
        growth = max(1, round(options.growth * options.width))
        channels = 2 * growth
        cifar = options.stem == "cifar"
        layers = [Layer("stem.conv", None if cifar else "stem.norm")]
        self.stem = nn.Sequential()
        self.stem.conv = options.stem_convolution(task.channels, channels)
        if not cifar:  # number 0, as the first dense layer's norm follows layer 1 as well
            self.stem.norm = norm(0, channels)
            self.stem.rest = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
        self.blocks = nn.Sequential()
        for block, count in enumerate(options.blocks):
            if block > 0:
                kept = max(1, int(channels * options.compression))
                layers.append(Layer(f"blocks.{len(self.blocks)}.conv"))
                self.blocks.append(Transition(channels, kept, norm(len(layers) - 1, channels)))
                channels = kept
            for _ in range(count):
                path = f"blocks.{len(self.blocks)}"
                i, inner = len(layers), BOTTLENECK * growth
                norms = norm(i, channels), norm(i + 1, inner)
                layers += [Layer(f"{path}.conv1", f"{path}.norm2"), Layer(f"{path}.conv2")]
                self.blocks.append(DenseLayer(channels, growth, norms))
                channels += growth
        self.norm_last = norm(len(layers), channels)
        self.head = nn.Linear(channels, task.classes)
        self.number([*layers, Layer("head")])

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm_last(self.blocks(self.stem(x))))
        out: Tensor = self.head(x.mean((2, 3)))
        return out
