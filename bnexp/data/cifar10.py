"""CIFAR-10 (Krizhevsky 2009), the original pixels, downloaded and verified by torchvision."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from bnexp.data.splits import DataOptions, Dataset, image_dataset, image_split
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
    from torchvision.datasets import CIFAR10

    def read(place: str | Path, download: bool) -> Dataset:
        files = [CIFAR10(place, train, download=download) for train in (True, False)]
        train, test = (image_split(file.data, np.array(file.targets)) for file in files)
        return image_dataset(options.label or "CIFAR-10", train, test, 10)

    folder = Path(options.path or platformdirs.user_cache_path("bnexp") / "cifar10").expanduser()
    with contextlib.suppress(RuntimeError):  # not there
        return read(folder, False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # runs that start together must not write the same files
        with tempfile.TemporaryDirectory(dir=folder) as own:
            if (archive := folder / CIFAR10.filename).is_file():
                Path(own, archive.name).symlink_to(archive.resolve())
            data = read(own, True)
            with contextlib.suppress(OSError):  # another run was first
                Path(own, CIFAR10.base_folder).rename(folder / CIFAR10.base_folder)
            return data
    except Exception as problem:  # of the network or the files
        raise UserError(
            f"data=cifar10: no CIFAR-10 in {folder} and the download failed ({problem}); "
            f"expected a network, or cifar-10-python.tar.gz put into that folder"
        ) from problem
