"""scikit-learn's bundled handwritten digits, as 32x32 images: real data without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bnexp.data import options
from bnexp.data.splits import Dataset, Split, image_dataset

TEST_EVERY = 5  # of each class's samples, in the order of the file, every fifth is for testing


def load(cfg: Mapping[str, Any], _seed: int) -> Dataset:
    """1,797 digits of ten classes, 80 % train and 20 % test within each class.

    The split is a fixed rule and does not depend on the seed. Reads ``label``.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    targets = torch.from_numpy(digits.target).to(torch.int64)
    images = upsampled(torch.from_numpy(digits.images))
    test = torch.zeros(len(targets), dtype=torch.bool)
    for digit in range(10):
        test[(targets == digit).nonzero().flatten()[TEST_EVERY - 1 :: TEST_EVERY]] = True
    splits = [Split(images[rows], targets[rows]) for rows in (~test, test)]
    return image_dataset(options.label(cfg, "digits"), splits[0], splits[1], 10)


def fingerprint(_cfg: Mapping[str, Any]) -> str:
    """The name of the file bundled with scikit-learn and of what is made of it."""
    return "digits-1"


def upsampled(images: Tensor) -> Tensor:
    """(n, 8, 8) of whole numbers 0..16 as uint8 (n, 3, 32, 32) of 0..255, the channels equal.

    Bilinear. The weights are multiples of 1/8 and 255/16 has a finite binary form, so that the
    arithmetic before the rounding is exact and the pixels are the same everywhere.
    """
    large = F.interpolate(images[:, None].to(torch.float64), scale_factor=4, mode="bilinear")
    pixels = (large * (255 / 16)).round().to(torch.uint8)
    return pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
