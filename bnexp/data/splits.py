"""What every dataset is once loaded: whole tensors in memory, no workers, no lazy files."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 4096  # images counted at once by `pixel_moments`


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and targets of one split, row i of one belonging to row i of the other.

    ``inputs``: uint8 (n, 3, 32, 32) images in channels_last memory, or float64 (n, d).
    ``targets``: int64 (n,) classes, or float64 (n, d).
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return self.inputs.shape[0]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training split, perhaps a test split, and what is needed to normalise them.

    ``label`` is the name shown to people; ``classes`` is None for regression. ``mean`` and ``std``
    are float64 (3,), of the *training* pixels / 255 per channel, and None where inputs are used
    as they are.
    """

    label: str
    train: Split
    test: Split | None
    classes: int | None
    mean: Tensor | None
    std: Tensor | None


def pixel_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Per-channel mean and biased standard deviation of pixels / 255, each float64 (c,).

    ``images`` is uint8 (n, c, h, w). Sums are taken over whole numbers, so the result is exact and
    the same everywhere. A channel that never varies gets std 1: it is only centred.
    """
    values = torch.arange(256)
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.int64)
        for chunk in torch.split(images[:, channel], _CHUNK):
            counts += torch.bincount(chunk.flatten(), minlength=256)
        n = int(counts.sum())
        total, squares = int((counts * values).sum()), int((counts * values**2).sum())
        means.append(total / (255 * n))
        stds.append(math.sqrt(n * squares - total**2) / (255 * n) or 1.0)
    return torch.tensor(means, dtype=torch.float64), torch.tensor(stds, dtype=torch.float64)


def image_dataset(label: str, train: Split, test: Split | None, classes: int) -> Dataset:
    """The Dataset of uint8 image splits, normalised by the moments of ``train``."""
    mean, std = pixel_moments(train.inputs)
    return Dataset(label, train, test, classes, mean, std)
