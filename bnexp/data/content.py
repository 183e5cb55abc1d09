"""The fingerprint of a folder or archive: what its bytes are, without decoding them."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from functools import lru_cache
from pathlib import Path

from bnexp.data.members import refusal, walk
from bnexp.errors import UserError

_SETTLED_NS = 2 * 10**9  # clocks of file systems are coarser than this at worst


def fingerprint(path: Path) -> str:
    """sha256 (hex) of the archive's bytes, or of the names and bytes of a folder's files in order.

    Remembered within the process for as long as no file's size or time of change differs.

    Raises:
        UserError: ``path`` is no folder and no plain file, or cannot be read, or is a folder that
            holds what `members.walk` refuses.
    """
    try:
        state, newest = _state(path)
        if time.time_ns() - newest < _SETTLED_NS:
            # A second change within the clock's grain would leave size and times as they are.
            return _digest(path)
        return _remembered(path, state)
    except FileNotFoundError as problem:
        raise UserError(f"data.path {path}: there is no such file or folder") from problem
    except OSError as problem:
        raise UserError(f"data.path {path}: cannot be read ({problem})") from problem


def _state(path: Path) -> tuple[str, int]:
    """A digest of all names, sizes and times, and the newest of the times."""
    top = path.stat()
    if not stat.S_ISDIR(top.st_mode) and not stat.S_ISREG(top.st_mode):  # would read for ever
        raise UserError(
            f"data.path {path}: expected a folder or a plain file; got a device or pipe"
        )
    files = [(str(path), top)]
    # By os, not pathlib: this is asked for every run of a sweep, perhaps of 60,000 files.
    for folder, folders, names in os.walk(path, onerror=_raise) if path.is_dir() else ():
        folders.sort()
        joined = (os.path.join(folder, name) for name in sorted(names))  # noqa: PTH118
        files += [(file, os.lstat(file)) for file in joined]
    key = hashlib.sha256()
    for file, status in files:
        key.update(repr((file, status.st_size, status.st_mtime_ns, status.st_ctime_ns)).encode())
    return key.hexdigest(), max(status.st_mtime_ns for _, status in files)


def _raise(problem: OSError) -> None:
    raise problem


@lru_cache(maxsize=64)
def _remembered(path: Path, _state: str) -> str:
    return _digest(path)


def _digest(path: Path) -> str:
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for name, data in walk(path):
        try:
            encoded = name.encode()
        except UnicodeEncodeError as problem:
            raise refusal(path, name, "is not a name in UTF-8") from problem
        total.update(b"%d %d " % (len(encoded), len(data)) + encoded + data)
    return total.hexdigest()
