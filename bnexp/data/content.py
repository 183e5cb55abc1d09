"""The fingerprint of a folder or archive: what its bytes are, without decoding them."""

from __future__ import annotations

import hashlib
import os
import time
from functools import lru_cache
from pathlib import Path

from bnexp.data.members import refusal, walk
from bnexp.errors import UserError

_SETTLED_NS = 2 * 10**9  # clocks of file systems are coarser than this at worst


def fingerprint(path: Path) -> str:
    """sha256 (hex) of the archive's bytes, or of the names and bytes of a folder's files in order.

    Remembered within the process for as long as no file's size or time of change differs. Raises
    UserError where there is nothing to read, or a folder holds what `members.walk` refuses.
    """
    try:
        # By os, not pathlib: this is asked for every run of a sweep, perhaps of 60,000 files.
        files = [str(path)]
        for folder, folders, names in os.walk(path, onerror=_raise):
            folders.sort()
            files += [os.path.join(folder, name) for name in sorted(names)]  # noqa: PTH118
        stats = [os.stat(files[0]), *map(os.lstat, files[1:])]  # noqa: PTH116
    except FileNotFoundError as problem:
        raise UserError(f"data.path {path}: there is no such file or folder") from problem
    except OSError as problem:
        raise UserError(f"data.path {path}: cannot be read ({problem})") from problem
    key = hashlib.sha256()
    for file, found in zip(files, stats, strict=True):
        state = (file, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        key.update(repr(state).encode())
    newest = max(found.st_mtime_ns for found in stats)
    if time.time_ns() - newest < _SETTLED_NS:
        # A second change within the clock's grain would leave size and times as they are.
        return _digest(path)
    return _remembered(path, key.hexdigest())


def _raise(problem: OSError) -> None:
    if not isinstance(problem, NotADirectoryError):  # an archive: there is nothing to walk
        raise problem


@lru_cache(maxsize=64)
def _remembered(path: Path, _state: str) -> str:
    return _digest(path)


def _digest(path: Path) -> str:
    if not path.is_dir():
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as problem:
            raise UserError(f"data.path {path}: cannot be read ({problem})") from problem
    total = hashlib.sha256()
    for name, data in walk(path):
        try:
            encoded = name.encode()
        except UnicodeEncodeError as problem:
            raise refusal(path, name, "is not a name in UTF-8") from problem
        total.update(b"%d %d " % (len(encoded), len(data)) + encoded + data)
    return total.hexdigest()
