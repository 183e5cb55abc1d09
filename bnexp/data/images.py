"""Images of the user's own: a folder or an archive laid out as [top/]split/class/file.

The splits are ``train`` and, if there is one, ``test``. Classes are numbered in the order of their
folders' names, files within a class in the order of theirs, so that a folder and any archive of it
give the same data, row for row.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnexp.data import content, store
from bnexp.data.members import refusal, walk
from bnexp.data.options import DataOptions, cache_folder
from bnexp.data.splits import Dataset, Split, image_dataset
from bnexp.errors import UserError
from bnexp.registry import DATASETS, expect

SIDE = 32
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")  # decoders that run no other program
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits: RGB loses nothing

Rows = dict[str, dict[tuple[str, str], np.ndarray]]
"""Of each split: class and file name -> pixels, uint8 (32, 32, 3)."""


@dataclass(frozen=True)
class ImagesOptions(DataOptions):
    """``path``: the folder or archive. ``cache``: where decoded images are kept between runs.

    ``label`` null is the name of the file, ``cache`` null the platform's cache folder.
    """

    path: str
    cache: str | None

    def check(self, key: str) -> None:
        super().check(key)
        ok = len(self.path.splitlines()) == 1 and "\0" not in self.path
        expect(ok, f"{key}.path", "a folder or archive of images", self.path)
        expect("\0" not in (self.cache or ""), f"{key}.cache", "a folder", self.cache)


@DATASETS.register("images", ImagesOptions, task="classification")
class Images:
    """The images at ``path``, decoded once and kept in ``cache``."""

    @staticmethod
    def load(options: ImagesOptions, _seed: int) -> Dataset:
        """The images.

        Raises:
            UserError: what is wrong with the folder, the archive or its member; nothing is
                written then.
        """
        path, folder = Path(options.path).expanduser(), cache_folder(options.cache)
        digest = content.fingerprint(path)
        cached = store.file_for(folder, digest)
        splits = store.read(cached, digest)
        if splits is None:
            with store.exclusive(folder):
                splits = store.read(cached, digest)  # another process may have been first
                if splits is None:
                    splits = decode(path)
                    if content.fingerprint(path) != digest:
                        raise UserError(f"data.path {path}: was changed while it was being read")
                    store.write(cached, digest, splits)
        train = splits["train"]
        name = "".join(c if c.isprintable() else "?" for c in path.name)
        classes = int(train.targets.max()) + 1
        return image_dataset(options.label or name, train, splits.get("test"), classes)

    @staticmethod
    def fingerprint(options: ImagesOptions) -> str:
        """sha256 of the content of ``path``; see `content.fingerprint`."""
        return content.fingerprint(Path(options.path).expanduser())


def decode(path: Path) -> dict[str, Split]:
    """The splits of the folder or archive, every file decoded.

    Raises:
        UserError: the first member elsewhere than [top/](train|test)/class/file or that is not
            an image of the one size; no training images; a class that one split lacks.
    """
    from tqdm import tqdm

    rows: Rows = {"train": {}, "test": {}}
    tops = set()
    for name, data in tqdm(walk(path), desc="decoding", unit=" images", disable=None, leave=False):
        *top, split, label, file = name.split("/") if name.count("/") > 1 else ("", "", "")
        tops.add(tuple(top))
        if split not in rows or len(top) > 1 or len(tops) > 1:
            raise refusal(path, name, "is out of place; expected [top/](train|test)/class/file")
        rows[split][label, file] = _pixels(path, name, data)
    if not rows["train"]:
        raise UserError(f"data.path {path}: no images under train/; expected train/class/file")
    labels = {split: {label for label, _ in rows[split]} for split in rows if rows[split]}
    for label in sorted(labels["train"] ^ labels.get("test", labels["train"])):
        has, lacks = ("train", "test") if label in labels["train"] else ("test", "train")
        raise refusal(path, f"{has}/{label}", f"is a class that {lacks}/ does not have")
    number = {label: n for n, label in enumerate(sorted(labels["train"]))}
    return {
        split: store.images(
            np.stack([rows[split][key] for key in sorted(rows[split])]),
            np.array([number[label] for label, _ in sorted(rows[split])], dtype=np.int64),
        )
        for split in labels
    }


def _pixels(path: Path, name: str, data: bytes) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.size != (SIDE, SIDE):  # known from the header, before any pixel is decoded
                width, height = image.size
                raise refusal(path, name, f"is {width}x{height}; expected {SIDE}x{SIDE} pixels")
            # Pillow opens 16-bit RGB as RGB and drops the lower byte; only the tile says so.
            if image.mode not in MODES or ";16B" in str(image.tile):
                kind = f"mode {image.mode}" if image.mode not in MODES else "16 bits"
                raise refusal(path, name, f"has pixels of {kind}; expected 8-bit colour")
            return np.asarray(image.convert("RGB"))
    except UserError:
        raise
    except Exception as problem:  # the decoders raise whatever they like on bytes like these
        expected = ", ".join(FORMATS)
        raise refusal(path, name, f"is not a readable image; expected {expected}") from problem
