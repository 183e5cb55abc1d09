"""The data set ``stripes``: noisy images, striped across or upright."""

from dataclasses import dataclass

import torch

from bnexp.data import DataOptions, Dataset, Split, image_dataset
from bnexp.registry import DATASETS, at_least
from bnexp.seeds import generator


@dataclass(frozen=True)
class StripesOptions(DataOptions):
    """So many images in each split."""

    samples: int

    def check(self, key: str) -> None:
        super().check(key)
        at_least(f"{key}.samples", self.samples, 2)


def fingerprint(options: StripesOptions) -> str:
    return f"stripes-1 samples={options.samples}"


@DATASETS.register("stripes", StripesOptions, task="classification", fingerprint=fingerprint)
def stripes(options: StripesOptions, seed: int) -> Dataset:
    """Two classes of 32x32 images, drawn from the seed."""
    source = generator(seed, "data")

    def split() -> Split:
        targets = torch.randint(0, 2, (options.samples,), generator=source)
        rows = (torch.arange(32) // 4 % 2 * 100).expand(32, 32)
        images = torch.stack([rows if target else rows.T for target in targets])
        noise = torch.randint(0, 100, (options.samples, 3, 32, 32), generator=source)
        inputs = (images[:, None] + noise).to(torch.uint8)
        return Split(inputs.contiguous(memory_format=torch.channels_last), targets)

    return image_dataset(options.label or "stripes", split(), split(), 2)
