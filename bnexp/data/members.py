"""The files of a folder or an archive, read in memory and trusted in nothing.

Nothing is ever extracted to disk. Whatever a member claims (its path, its type, its size) is
checked before its bytes are read, and what is refused is named.
"""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from bnexp.errors import UserError

MAX_BYTES = 1 << 20  # of one member: a 32x32 image takes a few thousand
MAX_MEMBERS = 1_000_000
MAX_DEPTH = 20  # of folders in folders
MIN_EXPANSION = 64 << 20  # what any archive may expand to,
MAX_EXPANSION = 100  # and this many times its size beyond that: bounds the time of a bomb
KINDS = (".tar", ".tar.xz", ".txz", ".tar.gz", ".tgz", ".zip")
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RuntimeError,  # zipfile: encrypted, or (NotImplementedError) an unknown feature
)


Members = Generator[tuple[str, bytes], None, None]


def walk(path: Path) -> Members:
    """Name ("a/b/c", relative) and bytes of every file of the folder or archive at ``path``.

    In the order of the archive, or sorted in a folder.

    Raises:
        UserError: names the member, for absolute paths, "..", links, devices, members named twice
            or larger than `MAX_BYTES`; and for a source that is missing, damaged, of no known kind
            or that expands beyond `_allowance`.
    """
    names: set[str] = set()
    with closing(_source(path)) as members:
        while True:
            try:
                name, data = next(members)
                plain = _plain_name(path, name)
            except StopIteration:
                return
            except _DAMAGE as problem:
                raise UserError(
                    f"data.path {path}: cannot be read ({str(problem) or type(problem).__name__}); "
                    f"expected a whole, readable folder or archive"
                ) from problem
            if plain in names:
                raise refusal(path, name, "is there twice")
            names.add(plain)
            if len(names) > MAX_MEMBERS:
                raise refusal(path, name, f"is one too many; expected at most {MAX_MEMBERS} files")
            yield plain, data


def refusal(path: Path, name: str, what: str) -> UserError:
    """The error that names member ``name`` of ``path`` and says ``what`` is wrong with it."""
    return UserError(f"data.path {path}: {name!r} {what}")


def _source(path: Path) -> Members:
    name = path.name.lower()
    if path.is_dir():
        yield from _folder(path, path)
    elif not path.exists():
        raise UserError(f"data.path {path}: there is no such file or folder")
    elif not path.is_file() or not name.endswith(KINDS):
        raise UserError(f"data.path {path}: expected a folder or one of {', '.join(KINDS)}")
    elif name.endswith(".zip"):
        yield from _zip(path)
    else:
        yield from _tar(path)


def _plain_name(path: Path, name: str) -> str:
    parts = name.split("/")
    if (
        name.startswith("/")
        or "\\" in name
        or "\0" in name
        or ".." in parts
        or parts[0][1:2] == ":"
    ):
        raise refusal(path, name, "is not a plain relative path")
    return "/".join(part for part in parts if part not in ("", "."))


def _check(path: Path, name: str, size: int, plain_file: bool) -> None:
    if not plain_file:
        raise refusal(path, name, "is a link, a device or the like; expected plain files only")
    if size > MAX_BYTES:
        raise refusal(path, name, f"has {size} bytes; expected an image of at most {MAX_BYTES}")


def _allowance(path: Path) -> int:
    """How many bytes the archive may expand to: images expand by far less."""
    return MIN_EXPANSION + MAX_EXPANSION * path.stat().st_size


def _folder(path: Path, folder: Path, depth: int = 0) -> Members:
    if depth > MAX_DEPTH:
        raise refusal(path, folder.relative_to(path).as_posix(), "is nested too deep")
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _folder(path, Path(entry.path), depth + 1)
            continue
        name = Path(entry.path).relative_to(path).as_posix()
        size = entry.stat(follow_symlinks=False).st_size
        _check(path, name, size, entry.is_file(follow_symlinks=False))
        yield name, Path(entry.path).read_bytes()


class _Guarded:
    """A stream for tarfile that bounds what is read and remembers the last read.

    tarfile reads the extended headers that precede a member whole, at whatever size they claim:
    ``allowance`` bounds the bytes to come, ``total`` the whole stream.
    """

    def __init__(self, stream: IO[bytes], total: int) -> None:
        self._stream, self._total = stream, total
        self.allowance = 0
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.allowance:
            raise tarfile.ReadError("headers larger than any image")
        if self.tell() > self._total:
            raise tarfile.ReadError(f"expands to more than {self._total} bytes")
        self.allowance -= size
        self.last = self._stream.read(size)
        return self.last

    def seek(self, position: int) -> int:
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


def _tar(path: Path) -> Members:
    with _decompressed(path) as stream:
        guarded: Any = _Guarded(stream, _allowance(path))
        guarded.allowance = 2 * MAX_BYTES
        with tarfile.open(fileobj=guarded, mode="r:") as archive:
            for member in archive:
                guarded.allowance = 2 * MAX_BYTES
                if member.isdir():
                    _plain_name(path, member.name)
                    continue
                _check(path, member.name, member.size, member.isreg() and not member.issparse())
                file = archive.extractfile(member)
                yield member.name, file.read() if file else b""
            # tarfile takes a damaged header for the end. The end is a block of zeros, and nothing
            # but zeros up to where the compressed stream is verified by its own checksum.
            whole, rest = guarded.last == bytes(tarfile.BLOCKSIZE), b"\0"
            while whole and rest:
                guarded.allowance = MAX_BYTES
                rest = guarded.read(MAX_BYTES)
                whole = not rest.strip(b"\0")
            if not whole:
                raise tarfile.ReadError("damaged header or missing end")


def _decompressed(path: Path) -> IO[bytes]:
    name = path.name.lower()
    if name.endswith("xz"):
        return lzma.open(path)
    if name.endswith("gz"):
        return gzip.open(path)  # type: ignore[return-value]
    return path.open("rb")


def _zip(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        if _zip_count(path) not in (len(archive.infolist()), 0xFFFF):  # or too many to be told
            raise zipfile.BadZipFile("damaged list of members")
        left = _allowance(path)
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir() and kind in (0, stat.S_IFDIR):
                _plain_name(path, member.filename)
                continue
            _check(path, member.filename, member.file_size, kind in (0, stat.S_IFREG))
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # zipfile bounds what it inflates for no other method.
                raise refusal(path, member.filename, "is compressed by other than deflate")
            left -= member.file_size
            if left < 0:
                raise zipfile.BadZipFile(f"expands to more than {_allowance(path)} bytes")
            yield member.filename, archive.read(member)


def _zip_count(path: Path) -> int:
    """How many members the end of the zip says there are, which zipfile does not look at."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 22))  # 22 bytes and a comment
        _, _, end = file.read().rpartition(b"PK\5\6")
    return int.from_bytes(end[6:8], "little")
