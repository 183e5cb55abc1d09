"""CIFAR-10 (Krizhevsky 2009), the original pixels, downloaded and verified by torchvision."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bnexp.data import options, store
from bnexp.data.splits import Dataset, Split, image_dataset
from bnexp.errors import UserError

MD5 = "c58f30108f718f92721af3b95e74349a"  # of cifar-10-python.tar.gz, as its authors publish it


def load(cfg: Mapping[str, Any], _seed: int) -> Dataset:
    """50,000 training and 10,000 test images of ten classes.

    Reads ``path`` (the folder of cifar-10-python.tar.gz or of cifar-10-batches-py; null: a folder
    in the cache), ``cache`` (null: the platform's cache folder) and ``label``. What is not there is
    downloaded into it; every file is verified by its md5. Nothing here depends on the seed.

    Raises UserError where the files are neither there nor to be had.
    """
    folder = cfg.get("path") or options.cache_folder(cfg) / "cifar10"
    with store.exclusive(Path(folder).expanduser()):
        train, test = (_split(Path(folder).expanduser(), train) for train in (True, False))
    return image_dataset(options.label(cfg, "CIFAR-10"), train, test, 10)


def fingerprint(_cfg: Mapping[str, Any]) -> str:
    """The published checksum, which the files are held to."""
    return f"md5:{MD5}"


def _split(folder: Path, train: bool) -> Split:
    from torchvision.datasets import CIFAR10

    try:
        files = CIFAR10(str(folder), train=train, download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as problem:
        raise UserError(
            f"data.name=cifar10: no CIFAR-10 in {folder} and the download failed ({problem}); "
            f"expected a network, or cifar-10-python.tar.gz put into that folder"
        ) from problem
    inputs = torch.from_numpy(files.data).permute(0, 3, 1, 2)
    targets = torch.tensor(files.targets, dtype=torch.int64)
    return Split(inputs.contiguous(memory_format=torch.channels_last), targets)
