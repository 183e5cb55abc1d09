"""Tiny image trees, and every kind of archive of them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

MODES = {".tar": "w", ".tar.xz": "w:xz", ".tgz": "w:gz"}
Files = dict[str, bytes]
CONFIGS = Path(__file__).parents[2] / "configs" / "data"


def defaults(name: str, **changes: object) -> dict[str, Any]:
    """The ``data`` section of a run: the file's defaults and ``changes``."""
    plain: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    base, *_ = plain.pop("defaults", [None])
    return {**(defaults(base) if base else {}), **plain, **changes}


def encoded(pixels: torch.Tensor, kind: str = "PNG") -> bytes:
    """uint8 (3, h, w) as the bytes of an image file."""
    out = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(out, kind, lossless=True)
    return out.getvalue()


def noise(seed: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, 32, 32), generator=source, dtype=torch.uint8)


class Maker:
    """Writes {name: bytes} below one folder, as a folder or an archive, in the order given."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def all_kinds(self, files: Files) -> list[Path]:
        return [self.folder(files), *(self.tar(files, suffix) for suffix in MODES), self.zip(files)]

    def folder(self, files: Files, name: str = "folder") -> Path:
        for file, data in files.items():
            path = self.root / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return self.root / name

    def tar(self, files: Files, suffix: str = ".tar", *extra: tarfile.TarInfo) -> Path:
        path = self.root / f"archive{suffix}"
        with tarfile.open(path, MODES[suffix]) as archive:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            for member in extra:
                archive.addfile(member)
        return path

    def zip(self, files: Files, method: int = zipfile.ZIP_DEFLATED, mode: int = 0) -> Path:
        path = self.root / "archive.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in files.items():
                member = zipfile.ZipInfo(name)
                member.external_attr = mode << 16
                archive.writestr(member, data, method)
            archive.mkdir("train")  # a folder is no member
        return path

    def config(self, path: Path) -> dict[str, Any]:
        return defaults("images", path=str(path), cache=str(self.root / "cache"))


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture
def pixels() -> dict[str, torch.Tensor]:
    """What is in `tree`, by name: 2 classes, 3 + 1 training images, 1 + 1 test images."""
    names = ["train/cat/0", "train/cat/1", "train/cat/2", "train/dog/0", "test/cat/0", "test/dog/0"]
    return {name: noise(seed) for seed, name in enumerate(names)}


@pytest.fixture
def tree(pixels: dict[str, torch.Tensor]) -> Files:
    return {f"{name}.png": encoded(image) for name, image in pixels.items()}
