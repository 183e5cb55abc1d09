"""CIFAR-10 (Krizhevsky 2009), the original pixels, downloaded and verified by torchvision."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from pathlib import Path

import torch

from bnexp.data import store
from bnexp.data.options import DataOptions, cache_folder
from bnexp.data.splits import Dataset, Split, image_dataset
from bnexp.errors import UserError
from bnexp.registry import DATASETS

MD5 = "c58f30108f718f92721af3b95e74349a"  # of cifar-10-python.tar.gz, as its authors publish it


@dataclass(frozen=True)
class Cifar10Options(DataOptions):
    """``path``: the folder of cifar-10-python.tar.gz or of cifar-10-batches-py (null: in cache).

    What is not there is downloaded into it.
    """

    path: str | None


@DATASETS.register("cifar10", Cifar10Options, task="classification")
class Cifar10:
    """50,000 training and 10,000 test images of ten classes."""

    @staticmethod
    def load(options: Cifar10Options, _seed: int) -> Dataset:
        """The images, each file verified by its md5.

        Raises:
            UserError: the files are neither there nor to be had.
        """
        folder = cache_folder(None) / "cifar10"
        folder = Path(options.path).expanduser() if options.path else folder
        with store.exclusive(folder):
            train, test = (_split(folder, train) for train in (True, False))
        return image_dataset(options.label or "CIFAR-10", train, test, 10)

    @staticmethod
    def fingerprint(_options: Cifar10Options) -> str:
        """The published checksum, which the files are held to."""
        return f"md5:{MD5}"


def _split(folder: Path, train: bool) -> Split:
    from torchvision.datasets import CIFAR10

    try:
        files = CIFAR10(str(folder), train=train, download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as problem:
        raise UserError(
            f"data=cifar10: no CIFAR-10 in {folder} and the download failed ({problem}); "
            f"expected a network, or cifar-10-python.tar.gz put into that folder"
        ) from problem
    inputs = torch.from_numpy(files.data).permute(0, 3, 1, 2)
    targets = torch.tensor(files.targets, dtype=torch.int64)
    return Split(inputs.contiguous(memory_format=torch.channels_last), targets)
