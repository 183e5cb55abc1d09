"""Residual networks (He et al. 2016) with basic blocks, and the plain ones without skips."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from bnexp.models.base import ConvolutionalOptions, MakeNorm, Task
from bnexp.models.network import Layer, Network
from bnexp.registry import MODELS, one_of

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
CHANNELS = (64, 128, 256, 512)


@dataclass(frozen=True)
class ResnetOptions(ConvolutionalOptions):
    """``depth`` 18 or 34. ``skip=false`` leaves out the skip connections and their projections: the
    plain networks of the paper's section 3.3."""

    depth: int
    skip: bool

    def check(self, key: str) -> None:
        super().check(key)
        one_of(f"{key}.depth", self.depth, list(BLOCKS))


class BasicBlock(nn.Module):
    """ReLU(norm(conv(ReLU(norm(conv(x))))) + shortcut(x)); with a third norm, the shortcut is a
    projection; without ``skip`` there is none."""

    def __init__(
        self, channels: int, out: int, stride: int, norms: list[nn.Module], skip: bool
    ) -> None:
        super().__init__()
        self.skip = skip
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.norm1 = norms[0]
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = norms[1]
        self.project = len(norms) == 3
        if self.project:
            self.conv3 = nn.Conv2d(channels, out, 1, bias=False)
            self.stride = stride
            self.norm3 = norms[2]

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.skip:
            if self.project:
                # not a stride of the convolution: oneDNN crashes on 4 channels in channels_last
                x = self.norm3(self.conv3(x[:, :, :: self.stride, :: self.stride]))
            out = out + x
        return F.relu(out)


@MODELS.register("resnet", ResnetOptions, task="classification")
class ResNet(Network):
    """ResNet-18 or -34: images ``(batch, channels, height, width)``, logits ``(batch, classes)``.

    Layers in the order of the forward pass: the stem, each block's convolutions and then its
    projection, the head.
    """

    def __init__(self, options: ResnetOptions, norm: MakeNorm, task: Task) -> None:
        super().__init__()
        channels = [max(1, round(full * options.width)) for full in CHANNELS]
        self.conv = options.stem_convolution(task.channels, channels[0])
        self.norm0 = norm(1, channels[0])
        cifar = options.stem == "cifar"
        self.pool = nn.Identity() if cifar else nn.MaxPool2d(3, 2, padding=1)
        layers = [Layer("conv", "norm0")]
        blocks: list[BasicBlock] = []
        before = channels[0]
        for stage, (count, out) in enumerate(zip(BLOCKS[options.depth], channels, strict=True)):
            for i in range(count):
                stride = 2 if i == 0 and stage > 0 else 1
                maps = 3 if options.skip and (stride != 1 or before != out) else 2
                norms = [norm(len(layers) + j + 1, out) for j in range(maps)]
                path = f"blocks.{len(blocks)}"
                layers += [Layer(f"{path}.conv{j}", f"{path}.norm{j}") for j in range(1, maps + 1)]
                blocks.append(BasicBlock(before, out, stride, norms, options.skip))
                before = out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, task.classes)
        self.number([*layers, Layer("head")])

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.pool(F.relu(self.norm0(self.conv(x)))))
        out: Tensor = self.head(x.mean((2, 3)))
        return out
