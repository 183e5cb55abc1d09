"""Images of the user's own: a folder or an archive laid out as [top/]split/class/file.

The splits are ``train`` and, if there is one, ``test``. Classes are numbered in the order of their
folders' names, files within a class in the order of theirs, so that a folder and any archive of it
give the same data, row for row.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bnexp.data import content, options, store
from bnexp.data.members import refusal, walk
from bnexp.data.splits import Dataset, Split, image_dataset
from bnexp.errors import UserError

SIDE = 32
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")  # decoders that run no other program
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits: RGB loses nothing


def load(cfg: Mapping[str, Any], _seed: int) -> Dataset:
    """The images at ``path``, decoded once and kept in ``cache``.

    Reads ``path``, ``label`` (null: the name of the file), ``cache`` (null: the platform's cache
    folder) and ``progress`` (false: no bar on stderr; null: where stderr is a terminal). Nothing
    here depends on the seed.

    Raises UserError naming what is wrong with the folder, the archive or its member; nothing is
    written then.
    """
    path = _path(cfg)
    found = content.fingerprint(path)
    folder = options.cache_folder(cfg)
    kept = store.file_for(folder, found)
    splits = store.read(kept, found)
    if splits is None:
        layout = read_layout(path)
        with store.exclusive(folder):
            splits = store.read(kept, found)  # another process may have been first
            if splits is None:
                splits = decode(path, layout, cfg.get("progress"))
                if content.fingerprint(path) != found:
                    raise UserError(f"data.path {path}: was changed while it was being read")
                store.write(kept, found, splits)
    train = splits["train"]
    classes = int(train.targets.max()) + 1
    return image_dataset(options.label(cfg, path.name), train, splits.get("test"), classes)


def fingerprint(cfg: Mapping[str, Any]) -> str:
    """sha256 of the content of ``path``; see `content.fingerprint`."""
    return content.fingerprint(_path(cfg))


@dataclass(frozen=True)
class Layout:
    """Where each file goes: ``rows[name]`` = (split, row); ``targets[split]`` = int64 (n,)."""

    rows: dict[str, tuple[str, int]]
    targets: dict[str, np.ndarray]


def read_layout(path: Path) -> Layout:
    """The layout of the folder or archive, from names alone: nothing is decoded.

    Raises UserError for a file elsewhere than [top/](train|test)/class/file, no training images,
    or a class that only one of the splits has.
    """
    splits: dict[str, list[tuple[str, str, str]]] = {"train": [], "test": []}
    tops = set()
    for name, _ in walk(path, contents=False):
        *top, split, label, file = name.split("/") if name.count("/") > 1 else ("", "", "")
        tops.add(tuple(top))
        if split not in splits or len(top) > 1 or len(tops) > 1:
            raise refusal(path, name, "is out of place; expected [top/](train|test)/class/file")
        splits[split].append((label, file, name))
    if not splits["train"]:
        raise UserError(f"data.path {path}: no images under train/; expected train/class/file")
    labels = {split: {label for label, _, _ in files} for split, files in splits.items() if files}
    classes = sorted(labels["train"])
    for label in sorted(labels["train"] ^ labels.get("test", labels["train"])):
        has, lacks = ("train", "test") if label in labels["train"] else ("test", "train")
        raise refusal(path, f"{has}/{label}", f"is a class that {lacks}/ does not have")
    rows, targets = {}, {}
    for split in labels:
        files = sorted(splits[split])
        rows.update({name: (split, row) for row, (_, _, name) in enumerate(files)})
        numbers = [classes.index(label) for label, _, _ in files]
        targets[split] = np.array(numbers, dtype=np.int64)
    return Layout(rows, targets)


def decode(path: Path, layout: Layout, progress: bool | None) -> dict[str, Split]:
    """Every file of ``layout`` decoded into one uint8 tensor per split.

    Raises UserError naming the first member that is not an image of the one size.
    """
    from tqdm import tqdm

    pixels = {
        split: np.zeros((len(targets), SIDE, SIDE, 3), dtype=np.uint8)
        for split, targets in layout.targets.items()
    }
    hidden = None if progress is None else not progress
    with tqdm(
        total=len(layout.rows), desc="decoding", unit=" images", disable=hidden, leave=False
    ) as bar:
        for name, data in walk(path):
            if name not in layout.rows:
                raise UserError(f"data.path {path}: was changed while it was being read")
            split, row = layout.rows[name]
            pixels[split][row] = _decoded(path, name, data)
            bar.update()
    return {split: store.images(pixels[split], layout.targets[split]) for split in pixels}


def _decoded(path: Path, name: str, data: bytes) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.size != (SIDE, SIDE):  # known from the header, before any pixel is decoded
                width, height = image.size
                raise refusal(path, name, f"is {width}x{height}; expected {SIDE}x{SIDE} pixels")
            if image.mode not in MODES:
                raise refusal(path, name, f"has pixels of mode {image.mode}; expected 8-bit colour")
            return np.asarray(image.convert("RGB"))
    except UserError:
        raise
    except Exception as problem:  # the decoders raise whatever they like on bytes like these
        expected = ", ".join(FORMATS)
        raise refusal(path, name, f"is not a readable image; expected {expected}") from problem


def _path(cfg: Mapping[str, Any]) -> Path:
    path = cfg.get("path")
    if not path:
        raise UserError("data.path: missing; expected a folder or archive of images")
    return Path(path).expanduser()
