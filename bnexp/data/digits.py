"""scikit-learn's handwritten digits as 32x32 images, plain and varied: data without a network.

VGG-16 learns plain ones too soon to tell norms apart, varied ones as CIFAR-10 (docs/quick_task.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bnexp.data.splits import DataOptions, Dataset, Split, image_dataset
from bnexp.registry import DATASETS, expect
from bnexp.seeds import generator


@DATASETS.register("digits", DataOptions, task="classification", fingerprint=lambda _: "digits-1")
def digits(options: DataOptions, _seed: int) -> Dataset:
    """1,797 digits of ten classes, 80 % train and 20 % test within each class, by a fixed rule."""
    train, test = (Split(upsampled(split.inputs), split.targets) for split in originals())
    return image_dataset(options.label or "digits", train, test, 10)


@dataclass(frozen=True)
class VariedDigitsOptions(DataOptions):
    """How much digits vary at most: see configs/data/varied_digits.yaml."""

    smallest: float = 0.6
    turn: int = 25
    shift: int = 4
    noise: int = 85

    def check(self, key: str) -> None:
        super().check(key)
        expect(0.25 <= self.smallest <= 1, f"{key}.smallest", "0.25 to 1", self.smallest)
        for name, most in {"turn": 90, "shift": 16, "noise": 255}.items():
            got = getattr(self, name)
            expect(0 <= got <= most, f"{key}.{name}", f"0 to {most}", got)


@DATASETS.register(
    "varied_digits", VariedDigitsOptions, task="classification",
    fingerprint=lambda o: f"varied-digits-1 {o.smallest:g} {o.turn} {o.shift} {o.noise}",
)  # fmt: skip
def varied_digits(options: VariedDigitsOptions, _seed: int) -> Dataset:
    """Digits varied in place, size, turn, colour and noise: 5,768 and 710, by fixed rules."""
    train, test = originals()
    train, test = _varied(train, options, "train", 4), _varied(test, options, "test", 2)
    return image_dataset(options.label or "varied digits", train, test, 10)


def originals() -> tuple[Split, Split]:
    """Train and test digits, float64 (n, 8, 8) of whole numbers 0..16, and their classes."""
    from sklearn.datasets import load_digits

    bundled = load_digits()
    images, targets = torch.from_numpy(bundled.images), torch.from_numpy(bundled.target).long()
    test = torch.zeros(len(targets), dtype=torch.bool)
    for digit in range(10):  # every fifth of each class, in the order of the file, is for testing
        test[(targets == digit).nonzero().flatten()[4::5]] = True
    return Split(images[~test], targets[~test]), Split(images[test], targets[test])


def upsampled(images: Tensor) -> Tensor:
    """(n, 8, 8) of whole numbers 0..16 as uint8 (n, 3, 32, 32) of 0..255, the channels equal.

    Bilinear: weights are multiples of 1/8 and 255/16 is finite in binary, so the result is exact.
    """
    large = F.interpolate(images[:, None].double(), scale_factor=4, mode="bilinear")
    pixels = (large * (255 / 16)).round().to(torch.uint8)
    return pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _varied(split: Split, options: VariedDigitsOptions, name: str, copies: int) -> Split:
    n, source = copies * len(split), generator(0, "varied_digits", name)

    def draw(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=source, dtype=torch.int32)

    size = draw(round(1000 * options.smallest), 1000, n)  # per mille of the size that fills it
    turn = draw(-options.turn, options.turn, n)  # degrees
    shift = draw(-16 * options.shift, 16 * options.shift, n, 2)  # 1/16 pixel
    background = draw(100, 155, n, 3, 1, 1)  # of 255
    strength = draw(80, 200, n, 3, 1, 1)  # added to the background where the ink is full
    pixels = draw(-options.noise, options.noise, n, 3, 32, 32)
    digits = split.inputs.to(torch.int32).repeat(copies, 1, 1)
    for rows in torch.split(torch.arange(n), 128):  # what is in between stays in the cache
        ink = warped(digits[rows], size[rows], turn[rows], shift[rows])
        pixels[rows] += background[rows] + (ink[:, None] * strength[rows] >> 12)
    images = pixels.clamp_(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    return Split(images, split.targets.repeat(copies))


def warped(images: Tensor, size: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
    """(n, 8, 8) of 0..16 drawn on (n, 32, 32) of 0..4096, all int32, bilinear.

    ``size`` (n,): per mille of the size that fills the image. ``turn`` (n,): degrees within +-90,
    from down to right. ``shift`` (n, 2): down and right, in 1/16 pixel.
    """
    angles = [math.radians(angle) for angle in range(-90, 91)]
    cos, sin = (
        # in 2^-14 of 1/256 of an original's pixel per 1/16 pixel of the result
        (table[turn + 90] * 64000 // size)[:, None, None]
        for function in (math.cos, math.sin)
        for table in [torch.tensor([round(1024 * function(angle)) for angle in angles])]
    )
    place = 16 * torch.arange(32) - 248  # from the centre
    down, right = (place - shift[:, :1])[:, :, None], (place - shift[:, 1:])[:, None, :]
    blank = F.pad(images, (1, 1, 1, 1)).flatten(1)  # 10 x 10
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
