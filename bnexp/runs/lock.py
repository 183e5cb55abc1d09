"""One writer per run: a lock that the kernel releases when its owner ends, however it ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bnexp.errors import UserError


class RunBusy(UserError):  # noqa: N818 - a state of the run, not a fault
    """Another process is writing this run."""


@contextmanager
def hold(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file ``path`` (made if need be, never removed) for the length of the block.

    Args:
        path: the lock file.
        wait: wait for another holder to end; otherwise raise.

    Raises:
        RunBusy: somebody else holds it and ``wait`` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if wait:
            fcntl.flock(file, fcntl.LOCK_EX)
        elif not _take(file):
            raise RunBusy(f"{path.parent}: another process is writing this run")
        yield


def is_held(path: Path) -> bool:
    """Whether a process, this one or another, holds the lock file ``path`` now."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _take(file: BinaryIO) -> bool:
    # More than one try: `is_held` itself holds a lock for some microseconds.
    for attempt in range(5):
        if attempt:
            time.sleep(0.01)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False
