"""Images of the user's own: a folder or an archive laid out as [top/](train|test|val)/class/file,
or as [top/]class/file, of which a share is held out for testing.

With train and val and no test, val is the test split; with all three it is left aside. Classes and
files are in the order of their names, so that a folder and any archive of it give the same data,
row for row. Files are read in memory: nothing is extracted, every claim is checked.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import platformdirs
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from bnexp.data.splits import DataOptions, Dataset, Split, image_dataset, image_split
from bnexp.errors import UserError
from bnexp.registry import DATASETS, expect
from bnexp.seeds import generator

MAX_SIDE = 1024  # of an image that is taken as it is
MAX_PIXELS = 1 << 26  # of one that is resized
SPLITS = ("train", "test", "val")
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")  # decoders that run no other program
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits: RGB loses nothing
MAX_FILE = 1 << 25  # of one member: a photograph takes a few million
MAX_BYTES = 1 << 20  # of a header, and of what ends an archive
MAX_TOTAL = 1 << 33  # pixels of all images
MAX_MEMBERS = 1_000_000
MAX_EXPANSION = 100  # times the size of an archive, or 1 MiB: bounds the time of a bomb
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImagesOptions(DataOptions):
    """``path``: the folder or archive. ``cache``: where decoded images are kept between runs.
    ``size``: of what is left after the shorter side is brought to so many pixels and the middle cut
    out; null for images as they are, all of one size. ``test_share``: see `held_out`."""

    path: str
    cache: str | None
    size: int | None = field(default=None, kw_only=True)
    test_share: float = field(default=0.2, kw_only=True)

    def check(self, key: str) -> None:
        super().check(key)
        ok = self.size is None or 1 <= self.size <= MAX_SIDE
        expect(ok, f"{key}.size", f"null or a number of pixels from 1 to {MAX_SIDE}", self.size)
        ok = 0 <= self.test_share < 1
        expect(ok, f"{key}.test_share", "a number in [0, 1)", self.test_share)


def fingerprint(options: ImagesOptions) -> str:
    """sha256 (hex) of the archive's bytes, or of the names and bytes of a folder's files in order.

    Remembered within the process for as long as no file's size or time of change differs.
    """
    path = Path(options.path).expanduser()
    try:
        if path.exists() and not (path.is_dir() or path.is_file()):
            raise ValueError("a device or pipe")  # would be read for ever
        if path.is_file() and path.stat().st_size == 0:  # as are those of /proc
            raise ValueError("it is empty")
        state = hashlib.sha256()
        for file in _files(path) if path.is_dir() else [path]:
            status = file.stat(follow_symlinks=file is path)
            key = os.fspath(file), status.st_size, status.st_mtime_ns, status.st_ctime_ns
            state.update(repr(key).encode())
        return _digest(path, state.digest())
    except (OSError, ValueError, RecursionError) as problem:
        raise UserError(f"data.path {str(path)!r}: cannot be read, {problem}") from problem


@DATASETS.register("images", ImagesOptions, task="classification", fingerprint=fingerprint)
def images(options: ImagesOptions, seed: int) -> Dataset:
    """The images at ``path``, decoded once and kept in ``cache``."""
    path, digest = Path(options.path).expanduser(), fingerprint(options)

    def make() -> dict[str, Split]:
        splits = decode(path, options.size)
        if fingerprint(options) != digest:
            raise UserError(f"data.path {path}: was changed while it was being read")
        return splits

    folder = Path(options.cache or platformdirs.user_cache_dir("bnexp")).expanduser()
    size = "" if options.size is None else f"-{options.size}"
    splits = cached(folder / f"images-3-{digest[:32]}{size}.pt", make)
    if "" in splits:
        splits = held_out(splits[""], options.test_share, seed)
    label = options.label or "".join(c if c.isprintable() else "?" for c in path.name)
    classes = int(splits["train"].targets.max()) + 1
    return image_dataset(label, splits["train"], splits.get("test"), classes)


def held_out(whole: Split, share: float, seed: int) -> dict[str, Split]:
    """Train and test: of each class a ``share``, drawn from the seed, is for testing."""
    test = torch.zeros(len(whole), dtype=torch.bool)
    for label in range(int(whole.targets.max()) + 1):
        rows = (whole.targets == label).nonzero().flatten()
        order = torch.randperm(len(rows), generator=generator(seed, "test", label))
        test[rows[order[: round(share * len(rows))]]] = True
    parts = {"train": ~test, "test": test} if test.any() else {"train": ~test}
    return {name: Split(whole.inputs[rows], whole.targets[rows]) for name, rows in parts.items()}


def decode(path: Path, size: int | None = None) -> dict[str, Split]:
    """The splits of the folder or archive, "" where it has none; UserError names what is no image
    or out of place."""
    place = f"data.path {path}"
    rows: dict[str, dict[tuple[str, str], Image.Image]] = {}
    tops, first = set(), None
    for name, data in tqdm(walk(path), desc="decoding", unit=" images", disable=None, leave=False):
        *top, label, file = name.split("/") if "/" in name else ("", "")
        split = top.pop() if top and (len(top) == 2 or top[0] in SPLITS) else ""
        rows.setdefault(split, {})
        tops.add((*top, bool(split)))
        ok = split in ("", *SPLITS) and label not in ("", *SPLITS)
        ok = ok and len(top) < 2 and len(tops) == 1
        expect(ok, place, "[top/](train|test|val)/class/file or [top/]class/file", name)
        rows[split][label, file] = image = _image(place, name, data, size)
        first = first or image.size
        expect(image.size == first, place, f"one size, or data.size, in {name!r}", image.size)
        pixels = math.prod(first) * sum(map(len, rows.values()))
        expect(pixels <= MAX_TOTAL, place, f"at most {MAX_TOTAL} pixels in all", pixels)
    if "train" in rows and (val := rows.pop("val", None)):
        rows.setdefault("test", val)
    named = {split: sorted({label for label, _ in found}) for split, found in rows.items()}
    train, test = (named.get(split, []) for split in ("train", "test"))
    train = named.get("", train)
    expect(bool(train), place, "images as train/class/file", test)
    odd = sorted({*train} ^ {*test}) if test else []
    expect(not odd, place, "the same classes in train/ and test/", odd[:1])
    grey = all(image.mode == "L" for found in rows.values() for image in found.values())
    return {
        split: image_split(
            np.stack([_pixels(found[key], grey) for key in sorted(found)]),
            np.array([train.index(label) for label, _ in sorted(found)]),
        )
        for split, found in rows.items()
    }


def _pixels(image: Image.Image, grey: bool) -> np.ndarray:
    """(h, w, 3), or (h, w, 1) where all images are grey."""
    return np.asarray(image)[..., None] if grey else np.asarray(image.convert("RGB"))


def _image(place: str, name: str, data: bytes, size: int | None) -> Image.Image:
    """The image, of mode L or RGB, brought to ``size``."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            large = max(image.size) > MAX_SIDE and (
                size is None or math.prod(image.size) > MAX_PIXELS
            )
            if large or image.mode not in MODES:  # known from the header
                raise ValueError(f"{image.width}x{image.height} pixels of mode {image.mode}")
            if image.format == "PNG" and data[24] > 8:  # Pillow would cut 16-bit colour to 8
                raise ValueError(f"{data[24]} bits per channel")
            whole = image.convert("L" if image.mode in ("1", "L") else "RGB")
            if size is None:
                return whole
            return ImageOps.fit(whole, (size, size), Image.Resampling.BILINEAR)
    except Exception as problem:  # the decoders raise whatever they like on bytes like these
        expected = f"images of 8 bits, {', '.join(FORMATS)}, up to {MAX_SIDE} pixels a side"
        raise UserError(f"{place}: expected {expected}; got {name!r} ({problem})") from problem


def walk(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name ("a/b/c", relative) and bytes of every file, in an archive's order or a folder's sorted.

    UserError names what is damaged, no plain file, larger than allowed, or leads elsewhere ("..").
    """
    place, total, names = f"data.path {path}", 0, set()
    limit = math.inf if path.is_dir() else MAX_EXPANSION * max(1 << 20, path.stat().st_size)
    try:
        for name, size, is_plain, opened in _members(path, place, limit):
            plain = PurePosixPath(name)
            total += size
            inside = not plain.is_absolute() and ".." not in plain.parts
            expect(inside, place, "plain relative paths", name)
            expect(is_plain, place, "plain files, no links or devices, in a zip deflated", name)
            expect(size <= MAX_FILE, place, f"at most {MAX_FILE} bytes in {name!r}", size)
            expect(total <= limit, place, f"at most {limit} bytes in all", total)
            expect(plain not in names, place, "different members", name)
            names.add(plain)
            expect(len(names) <= MAX_MEMBERS, place, f"at most {MAX_MEMBERS} files", name)
            with opened() as file:
                yield str(plain), file.read(MAX_FILE + 1)  # zipfile bounds no read without a size
    except UserError:
        raise
    except Exception as problem:  # the readers raise whatever they like on damaged bytes
        got = next(iter(str(problem).splitlines()), type(problem).__name__)
        expected = "a whole folder, tar or zip of images"
        raise UserError(f"{place}: expected {expected}; got {got}") from problem


LONG_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


class _Header(tarfile.TarInfo):
    """A header; those of long names and attributes are read whole, so their size is bounded."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type in LONG_HEADERS and info.size > MAX_BYTES:
            raise ValueError(f"a header of {info.size} bytes")
        return info


def _members(
    path: Path, place: str, limit: float
) -> Iterator[tuple[str, int, bool, Callable[[], Any]]]:
    """Of each member: name, size in bytes, whether it is a plain file, and what opens it."""
    if path.is_dir():
        for entry in _files(path):
            name, size = os.path.relpath(entry, path), entry.stat(follow_symlinks=False).st_size
            yield name, size, entry.is_file(follow_symlinks=False), partial(open, entry, "rb")
    elif path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                # zipfile bounds what it inflates for no other method.
                deflated = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                is_plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG) and deflated
                if not info.is_dir():
                    yield info.filename, info.file_size, is_plain, partial(archive.open, info)
    else:
        with tarfile.open(path, tarinfo=_Header) as tar:
            for member in tar:  # also of folders, which hold nothing
                expect(member.offset <= limit, place, f"at most {limit} bytes in all", "more")
                is_plain = member.isreg() and not member.issparse()
                if not member.isdir():
                    yield member.name, member.size, is_plain, partial(tar.extractfile, member)
            # tarfile takes a damaged header for the end, which is zeros and nothing else.
            stream: Any = tar.fileobj
            stream.seek(tar.offset)
            end = stream.read(MAX_BYTES)
            if len(end) < tarfile.BLOCKSIZE or end.strip(b"\0") or stream.read(1):
                raise ValueError("a damaged header or a missing end")


def _files(folder: Path | str, levels: int = 3) -> Iterator[os.DirEntry[str]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            if levels == 0:  # somebody's home, say
                raise ValueError(f"{entry.path}: expected [top/](train|test)/class/file")
            yield from _files(entry.path, levels - 1)
        else:
            yield entry


@lru_cache(maxsize=64)
def _digest(path: Path, _state: bytes) -> str:
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for name, data in walk(path):
        total.update(b"%d %d " % (len(os.fsencode(name)), len(data)) + os.fsencode(name) + data)
    return total.hexdigest()


def cached(path: Path, make: Callable[[], dict[str, Split]]) -> dict[str, Split]:
    """The splits kept at ``path``; if none are or they are damaged, those of ``make``, kept."""
    try:
        with zipfile.ZipFile(path) as file:  # torch looks at no checksum
            expect(file.testzip() is None, str(path), "whole tensors", file.testzip())
        return {name: Split(*kept) for name, kept in torch.load(path, weights_only=True).items()}
    except Exception as problem:  # whatever it is, this is not the file that was written
        if path.is_file():
            _log.warning("%s is damaged (%s): decoding again", path, problem)
    splits = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            unfinished = Path(folder, path.name)
            torch.save({name: (s.inputs, s.targets) for name, s in splits.items()}, unfinished)
            unfinished.replace(path)  # whole or not at all
    except (OSError, ValueError, RuntimeError) as problem:
        _log.warning("%s cannot be written (%s): the next run decodes again", path, problem)
    return splits
