"""Data sets that torchvision reads and, with ``data.download=true``, fetches and verifies."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs
import torch
import torch.nn.functional as F
import torchvision

from bnexp.data.splits import DataOptions, Dataset, Split, image_dataset, image_split
from bnexp.errors import UserError
from bnexp.registry import DATASETS, expect


@dataclass(frozen=True)
class Source:
    """torchvision's class, what people call the data, the number of classes, the published md5 of
    the training file, which names the data, and the files that are read."""

    kind: str
    label: str
    classes: int
    md5: str
    files: str


UBYTE = "/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"
SOURCES = {
    "cifar10": Source(
        "CIFAR10", "CIFAR-10", 10, "c58f30108f718f92721af3b95e74349a", "cifar-10-python.tar.gz"
    ),
    "cifar100": Source(
        "CIFAR100", "CIFAR-100", 100, "eb9058c3a382ffc7106e4002c42a8d85", "cifar-100-python.tar.gz"
    ),
    "mnist": Source("MNIST", "MNIST", 10, "f68b3c2dcbeaaa9fbdd348bbdeb94873", f"MNIST{UBYTE}"),
    "fashion_mnist": Source(
        *("FashionMNIST", "Fashion-MNIST", 10, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        f"FashionMNIST{UBYTE}",
    ),
    "svhn": Source(
        "SVHN", "SVHN", 10, "e26dedcc434d2e4c54c9b2d4a06d8373", "{train,test}_32x32.mat"
    ),
}


@dataclass(frozen=True)
class TorchvisionOptions(DataOptions):
    """``path``: folder of the files, or to ``download`` them into; ``size`` in pixels that the
    images are brought to, null for their own."""

    path: str | None
    download: bool = field(default=True, kw_only=True)
    size: int | None = field(default=None, kw_only=True)

    def check(self, key: str) -> None:
        super().check(key)
        ok = self.size is None or 1 <= self.size <= 1024
        expect(ok, f"{key}.size", "null or a number of pixels from 1 to 1024", self.size)


def _loader(name: str, source: Source) -> Callable[[TorchvisionOptions, int], Dataset]:
    def load(options: TorchvisionOptions, _seed: int) -> Dataset:
        cache = platformdirs.user_cache_path("bnexp") / name
        folder = Path(options.path or cache).expanduser()
        train, test = _splits(name, source, folder, options)
        return image_dataset(options.label or source.label, train, test, source.classes)

    return load


for _name, _source in SOURCES.items():
    DATASETS.register(
        *(_name, TorchvisionOptions),
        task="classification",
        fingerprint=lambda _, md5=_source.md5: f"md5:{md5}",
    )(_loader(_name, _source))


def _splits(name: str, source: Source, folder: Path, options: TorchvisionOptions) -> list[Split]:
    """Train and test, from the files in ``folder``; these are downloaded if there are none."""
    with contextlib.suppress(RuntimeError):  # not there
        return _read(source, folder, False, options.size)
    missing = f"data={name}: no {source.label} in {folder}"
    files = f"{source.files} put into that folder"
    if not options.download and not any(folder.rglob("*.gz")):  # which would be unpacked
        raise UserError(f"{missing}; expected data.download=true, which fetches it, or {files}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # runs that start together must not write the same files
        with tempfile.TemporaryDirectory(dir=folder) as own:

            def other(where: str, names: list[str]) -> list[str]:
                paths = {name: Path(where, name) for name in names}
                return [n for n, p in paths.items() if n in own or p.suffix not in (".gz", "")]

            shutil.copytree(folder, own, ignore=other, copy_function=_link, dirs_exist_ok=True)
            splits = _read(source, own, True, options.size)
            for made in Path(own).iterdir():
                with contextlib.suppress(OSError):  # another run was first
                    made.is_symlink() or made.rename(folder / made.name)
            return splits
    except Exception as problem:  # of the network or the files
        why = " ".join(str(problem).split())
        raise UserError(
            f"{missing} and the download failed ({why}); expected a network, or {files}"
        ) from problem


def _link(file: str, link: str) -> None:
    Path(link).symlink_to(Path(file).resolve())


def _read(source: Source, folder: Path | str, download: bool, size: int | None) -> list[Split]:
    splits = []
    for name in ("train", "test"):
        svhn = source.kind == "SVHN"
        kind = getattr(torchvision.datasets, source.kind)
        file = kind(folder, name if svhn else name == "train", download=download)
        pixels = torch.as_tensor(file.data).numpy()
        if svhn:
            pixels = pixels.transpose(0, 2, 3, 1)
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        split = image_split(pixels, torch.as_tensor(file.labels if svhn else file.targets).numpy())
        if size is not None:
            how: Any = {"size": (size, size), "mode": "bilinear", "antialias": True}
            split = Split(F.interpolate(split.inputs, **how), split.targets)
        splits.append(split)
    return splits
