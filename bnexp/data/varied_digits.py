"""Digits that vary in place, size, turn, colour and noise: a harder task without a network.

Made of scikit-learn's digits by fixed rules. VGG-16 at width 1/8 learns it with batch
normalisation in some hundred steps and several times slower without (docs/quick_task.md), which is
how the paper's networks compare on CIFAR-10; plain digits are learned too soon to show it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bnexp.data import digits
from bnexp.data.options import DataOptions
from bnexp.data.splits import Dataset, Split, image_dataset
from bnexp.registry import DATASETS
from bnexp.seeds import generator

COPIES = {"train": 4, "test": 2}  # images made of each original digit; no original is in both
SHIFT = 4 * 16  # up to 4 pixels each way, in 1/16 pixel
SIZE = (600, 1000)  # per mille of the size at which a digit fills the image
TURN = 25  # degrees, either way
BACKGROUND = (100, 155)  # of 255, of each channel
INK = (80, 200)  # added to the background where the ink is full, of each channel
NOISE = 85  # added to each pixel of each channel: uniform between -85 and 85
_CHUNK = 128  # images made at once, so that what is in between stays in the cache


@DATASETS.register("varied_digits", DataOptions, task="classification")
class VariedDigits:
    """5,768 training and 710 test images of ten classes; nothing depends on the seed."""

    @staticmethod
    def load(options: DataOptions, _seed: int) -> Dataset:
        """The images, made anew: about a second. Whole numbers: the same pixels everywhere."""
        train, test = (
            _varied(split, name) for split, name in zip(digits.originals(), COPIES, strict=True)
        )
        return image_dataset(options.label or "varied digits", train, test, 10)

    @staticmethod
    def fingerprint(_options: DataOptions) -> str:
        """The name of these rules."""
        return "varied-digits-1"


def _varied(split: Split, name: str) -> Split:
    copies, source = COPIES[name], generator(0, "varied_digits", name)
    n = copies * len(split)

    def draw(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=source, dtype=torch.int32)

    size, turn = draw(*SIZE, n), draw(-TURN, TURN, n)
    shift = draw(-SHIFT, SHIFT, n, 2)
    background, strength = draw(*BACKGROUND, n, 3, 1, 1), draw(*INK, n, 3, 1, 1)
    pixels = draw(-NOISE, NOISE, n, 3, 32, 32)
    originals = split.inputs.to(torch.int32).repeat(copies, 1, 1)
    for rows in torch.split(torch.arange(n), _CHUNK):
        ink = warped(originals[rows], size[rows], turn[rows], shift[rows])
        pixels[rows] += background[rows] + (ink[:, None] * strength[rows] >> 12)
    images = pixels.clamp_(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    return Split(images, split.targets.repeat(copies))


def warped(images: Tensor, size: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
    """(n, 8, 8) of 0..16 drawn on (n, 32, 32) of 0..4096, all int32, bilinear.

    Args:
        size: (n,), per mille of the size that fills the image.
        turn: (n,), degrees within +-90; positive turns from down to right.
        shift: (n, 2), down and right, in 1/16 pixel.
    """
    angles = [math.radians(angle) for angle in range(-90, 91)]
    cos, sin = (
        # in 2^-14 of 1/256 of an original's pixel per 1/16 pixel of the result
        torch.tensor([round(1024 * function(angle)) for angle in angles])[turn + 90] * 64000 // size
        for function in (math.cos, math.sin)
    )
    place = 16 * torch.arange(32) - 248  # from the centre
    down = (place - shift[:, :1])[:, :, None]
    right = (place - shift[:, 1:])[:, None, :]
    cos, sin = cos[:, None, None], sin[:, None, None]
    blank = torch.nn.functional.pad(images, (1, 1, 1, 1)).flatten(1)  # 10 x 10
    # an original's centre is 3.5 pixels from its first one, 4.5 from the border's
    y, x = (
        (((at >> 14) + 9 * 128).clamp_(0, 9 * 256 - 1))
        for at in (down * cos + right * sin, right * cos - down * sin)
    )
    row, below, column, beside = y >> 8, y & 255, x >> 8, x & 255

    def corner(i: int, j: int) -> Tensor:
        return blank.gather(1, (10 * (row + i) + column + j).flatten(1)).view(-1, 32, 32)

    upper = corner(0, 0) * (256 - beside) + corner(0, 1) * beside
    lower = corner(1, 0) * (256 - beside) + corner(1, 1) * beside
    return (upper * (256 - below) + lower * below) >> 8
