"""CIFAR-10 (Krizhevsky 2009), the original pixels, downloaded and verified by torchvision."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch

from bnexp.data.splits import DataOptions, Dataset, Split, image_dataset
from bnexp.errors import UserError
from bnexp.registry import DATASETS

MD5 = "c58f30108f718f92721af3b95e74349a"  # of cifar-10-python.tar.gz, as its authors publish it


@dataclass(frozen=True)
class Cifar10Options(DataOptions):
    """``path``: folder of cifar-10-python.tar.gz or cifar-10-batches-py, or to download into."""

    path: str | None


@DATASETS.register(
    "cifar10", Cifar10Options, task="classification", fingerprint=lambda _: f"md5:{MD5}"
)
def cifar10(options: Cifar10Options, _seed: int) -> Dataset:
    """50,000 training and 10,000 test images of ten classes, each file verified by its md5."""
    cache = Path(platformdirs.user_cache_dir("bnexp"), "cifar10")
    folder = Path(options.path or cache).expanduser()
    try:
        return image_dataset(options.label or "CIFAR-10", *_splits(folder), 10)
    except (OSError, RuntimeError, http.client.HTTPException) as problem:
        raise UserError(
            f"data=cifar10: no CIFAR-10 in {folder} and the download failed ({problem}); "
            f"expected a network, or cifar-10-python.tar.gz put into that folder"
        ) from problem


def _splits(folder: Path) -> tuple[Split, Split]:
    from torchvision.datasets import CIFAR10

    with contextlib.suppress(RuntimeError):  # not there
        return _split(CIFAR10(folder, True)), _split(CIFAR10(folder, False))
    folder.mkdir(parents=True, exist_ok=True)
    # In a folder of its own: runs that start together must not write the same files.
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        own, archive = Path(temporary), folder / CIFAR10.filename
        if archive.is_file():
            (own / archive.name).symlink_to(archive.resolve())
        splits = _split(CIFAR10(own, True, download=True)), _split(CIFAR10(own, False))
        with contextlib.suppress(OSError):  # another run was first
            (own / CIFAR10.base_folder).rename(folder / CIFAR10.base_folder)
        return splits


def _split(files: Any) -> Split:
    inputs = torch.from_numpy(files.data).permute(0, 3, 1, 2)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    return Split(inputs, torch.tensor(files.targets))
