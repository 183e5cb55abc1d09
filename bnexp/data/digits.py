"""scikit-learn's bundled handwritten digits, as 32x32 images: real data without a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bnexp.data.options import DataOptions
from bnexp.data.splits import Dataset, Split, image_dataset
from bnexp.registry import DATASETS

TEST_EVERY = 5  # of each class's samples, in the order of the file, every fifth is for testing


@DATASETS.register("digits", DataOptions, task="classification")
class Digits:
    """1,797 digits of ten classes, 80 % train and 20 % test within each class.

    The split is a fixed rule and does not depend on the seed.
    """

    @staticmethod
    def load(options: DataOptions, _seed: int) -> Dataset:
        """The digits `upsampled`."""
        train, test = (Split(upsampled(split.inputs), split.targets) for split in originals())
        return image_dataset(options.label or "digits", train, test, 10)

    @staticmethod
    def fingerprint(_options: DataOptions) -> str:
        """The name of the file bundled with scikit-learn and of what is made of it."""
        return "digits-1"


def originals() -> tuple[Split, Split]:
    """Train and test digits, float64 (n, 8, 8) of whole numbers 0..16, and their classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    targets = torch.from_numpy(digits.target).to(torch.int64)
    images = torch.from_numpy(digits.images)
    test = torch.zeros(len(targets), dtype=torch.bool)
    for digit in range(10):
        test[(targets == digit).nonzero().flatten()[TEST_EVERY - 1 :: TEST_EVERY]] = True
    return Split(images[~test], targets[~test]), Split(images[test], targets[test])


def upsampled(images: Tensor) -> Tensor:
    """(n, 8, 8) of whole numbers 0..16 as uint8 (n, 3, 32, 32) of 0..255, the channels equal.

    Bilinear. The weights are multiples of 1/8 and 255/16 has a finite binary form, so that the
    arithmetic before the rounding is exact and the pixels are the same everywhere.
    """
    large = F.interpolate(images[:, None].to(torch.float64), scale_factor=4, mode="bilinear")
    pixels = (large * (255 / 16)).round().to(torch.uint8)
    return pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
