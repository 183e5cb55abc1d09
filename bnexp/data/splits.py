"""What every data set is configured with, and is once loaded: whole tensors in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bnexp.errors import MARKUP
from bnexp.registry import Options, expect


@dataclass(frozen=True)
class DataOptions(Options):
    """``label`` is shown to people (null: the data set's own); ``augment``: see `augmented`."""

    name: str
    label: str | None
    augment: bool

    def check(self, key: str) -> None:
        label = self.label or ""
        ok = label.isprintable() and len(label) <= 100 and not MARKUP & {*label}
        expected = f"at most 100 printable characters without {' '.join(sorted(MARKUP))}"
        expect(ok, f"{key}.label", expected, label)


@dataclass(frozen=True, eq=False)
class Split:
    """``inputs``: uint8 (n, c, h, w) images in channels_last memory, or float64 (n, d).

    ``targets``, row by row: int64 (n,) classes, or float64 (n, d).
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return self.inputs.shape[0]


@dataclass(frozen=True, eq=False)
class Dataset:
    """``classes`` is None for regression.

    ``mean`` and ``std``, float64 (c,), are of the *training* pixels / 255 per channel, or None.
    """

    label: str
    train: Split
    test: Split | None = None
    classes: int | None = None
    mean: Tensor | None = None
    std: Tensor | None = None


def image_split(pixels: np.ndarray, targets: np.ndarray) -> Split:
    """The Split of uint8 (n, h, w, c) pixels and int64 (n,) targets."""
    inputs = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return Split(inputs, torch.from_numpy(targets))


def pixel_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased standard deviation of pixels / 255 per channel, each float64 (c,), exact.

    ``images`` is uint8 (n, c, h, w). A channel that never varies gets std 1.
    """
    values, moments = torch.arange(256), []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.flatten(), minlength=256)
        n, total, squares = (int((counts * values**power).sum()) for power in range(3))
        std = math.sqrt(n * squares - total**2) / (255 * n)
        moments.append((total / (255 * n), std or 1.0))
    mean, std = torch.tensor(moments, dtype=torch.float64).T
    return mean, std


def image_dataset(label: str, train: Split, test: Split | None, classes: int) -> Dataset:
    """The Dataset of uint8 image splits, normalised by the moments of ``train``."""
    return Dataset(label, train, test, classes, *pixel_moments(train.inputs))
