"""Batches by index: each one a pure function of a seed and the step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bnexp.data.splits import Dataset, Split
from bnexp.registry import expect
from bnexp.seeds import generator

PAD = 4  # pixels added on each side before the random crop


class Batch(NamedTuple):
    """``inputs``: normalised floats on the device, (b, c, h, w) channels_last or (b, d).

    ``targets``: int64 (b,) or float (b, d).
    """

    inputs: Tensor
    targets: Tensor


class Batches:
    """The batches of a run, held on its device.

    ``batch_size`` None gives the whole training split, in order, at every step. ``seed_order``
    decides the order of the samples and what ``augment`` does to them (`augmented`).
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int | None,
        seed_order: int,
        device: torch.device | str,
        dtype: torch.dtype,
        augment: bool = False,
    ) -> None:
        n, images = len(dataset.train), dataset.train.inputs.ndim == 4
        expected = f"1..{n}, the training samples of {dataset.label}, or null for all at every step"
        expect(batch_size is None or 1 <= batch_size <= n, "batch_size", expected, batch_size)
        ok = not augment or (images and batch_size is not None)
        expect(ok, "data.augment", "false with batch_size null or without images", augment)
        self.batch_size = batch_size
        self.steps_per_epoch = n // (batch_size or n)
        self._seed, self._augment, self._dtype = seed_order, augment, dtype
        self._order: tuple[int, Tensor] | None = None
        self._full: Batch | None = None
        self._splits: dict[str, Split] = {}
        for name, split in (("train", dataset.train), ("test", dataset.test)):
            if split is not None:
                inputs = split.inputs.to(device)
                if inputs.ndim == 4:  # kept (n, h, w, 3): a row is one run of memory
                    inputs = inputs.permute(0, 2, 3, 1).contiguous()
                self._splits[name] = Split(inputs, split.targets.to(device))
        if dataset.mean is not None and dataset.std is not None:  # in units of a pixel
            self._mean = (255 * dataset.mean).to(device, dtype)
            self._std = (255 * dataset.std).to(device, dtype)

    def at(self, step: int) -> Batch:
        """The training batch of ``step`` (>= 0).

        An epoch is n // batch_size steps over a permutation of its own, without what is left over.
        """
        if self.batch_size is None:
            self._full = self._full or next(self.split("train", None))
            return self._full
        train, (epoch, position) = self._splits["train"], divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            # drawn on the CPU: the order is the same whatever the device
            order = torch.randperm(len(train), generator=generator(self._seed, "order", epoch))
            self._order = epoch, order.to(train.inputs.device)
        rows = self._order[1][position * self.batch_size :][: self.batch_size]
        return self._batch(train, rows, step if self._augment else None)

    def split(self, name: str, batch_size: int | None) -> Iterator[Batch]:
        """All of split "train" or "test" in order, never augmented; None gives one batch.

        Nothing of a split that the data do not have.
        """
        if (split := self._splits.get(name)) is not None:
            rows = torch.arange(len(split), device=split.inputs.device)
            for part in torch.split(rows, batch_size or len(rows)):
                yield self._batch(split, part)

    def _batch(self, split: Split, rows: Tensor, augment_step: int | None = None) -> Batch:
        inputs, targets = split.inputs[rows], split.targets[rows]
        if targets.is_floating_point():
            targets = targets.to(self._dtype)
        if inputs.ndim != 4:
            return Batch(inputs.to(self._dtype), targets)
        if augment_step is not None:
            inputs = augmented(inputs, generator(self._seed, "augment", augment_step))
        normalised = (inputs - self._mean).div_(self._std)
        return Batch(normalised.permute(0, 3, 1, 2), targets)


def augmented(images: Tensor, source: torch.Generator) -> Tensor:
    """Each image of (b, h, w, c) shifted by up to `PAD` pixels either way, half of them mirrored.

    What comes in at the border is black (0). ``source`` is on the CPU.
    """
    b, h, w, _ = images.shape
    offsets = torch.randint(0, 2 * PAD + 1, (2, b), generator=source)
    draws = torch.cat([offsets, torch.randint(0, 2, (1, b), generator=source)])
    if images.is_cuda:  # from pinned memory, so that the host does not wait for the device
        draws = draws.pin_memory().to(images.device, non_blocking=True)
    down, right, mirror = draws.unsqueeze(-1)
    across = torch.arange(w, device=images.device)
    rows = down + torch.arange(h, device=images.device)
    columns = right + torch.where(mirror == 1, across.flip(0), across)
    padded = F.pad(images, (0, 0, PAD, PAD, PAD, PAD))
    sample = torch.arange(b, device=images.device)[:, None, None]
    return padded[sample, rows[:, :, None], columns[:, None, :]]
