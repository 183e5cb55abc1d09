"""One writer per run: a lease in a lock file, renewed by its holder, which runs out without it.

The kernel's file locks are silent on network mounts with ``nolock``; a file that is created by one
process only (``O_EXCL``) is not. The lock file names its holder: host, process, when that started,
the length of the lease, a random token. A holder that lost its lease, stopped for longer than it or
with its directory deleted, notices at `Lease.check`, which comes before each write.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
import threading
import time
from pathlib import Path

from bnexp.errors import UserError
from bnexp.runs.files import TEMPORARY_SUFFIX, expect_plain

LEASE = 60.0
"""Seconds without a renewal after which another process may take the run over."""

POLL = 0.1
"""Seconds between two looks at a lock file that somebody else holds."""


class RunBusy(UserError):  # noqa: N818 - a state of the run, not a fault
    """Another process is writing this run."""


class Lease:
    """The right to write the run whose lock file is ``path``, renewed by a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        owner = (_host(), os.getpid(), _started(os.getpid()), LEASE, secrets.token_hex(16))
        self.content = "\n".join(map(str, owner))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, args=(LEASE / 6,), daemon=True)

    def check(self) -> None:
        """Raise `RunBusy` if another process took the run over or its directory was deleted."""
        if not self._is_mine():
            raise RunBusy(
                f"{self.path.parent}: expected the lock that this process took; the directory was "
                "deleted or another process took the run over; nothing more was written"
            )

    def acquire(self, wait: bool) -> None:
        """Take the lock file, from a holder that is dead or whose lease ran out if need be."""
        before: tuple[str, int] | None = None
        since = time.monotonic()
        while not _create(self.path, self.content):
            if (state := _state(self.path)) is None:  # released just now
                continue
            if state != before:
                before, since = state, time.monotonic()
            # A lease that nobody renewed while this process looked on has run out by any clock.
            if _is_over(self.path, state, time.monotonic() - since):
                if self._take_over(state):
                    break
            elif not wait:
                raise RunBusy(f"{self.path.parent}: another process is writing this run")
            time.sleep(POLL)
        self._thread.start()

    def release(self) -> None:
        """Give the lock file up, unless another process took it over."""
        self._stop.set()
        self._thread.join()
        if self._is_mine():
            self.path.unlink(missing_ok=True)

    def _is_mine(self) -> bool:
        state = _state(self.path)
        return state is not None and state[0] == self.content

    def _take_over(self, state: tuple[str, int]) -> bool:
        """Replace the lock file in ``state``, by way of a name made of its content.

        Only one process can create that.
        """
        name = hashlib.sha256(state[0].encode()).hexdigest()[:16]
        claim = self.path.with_name(f".{self.path.name}.{name}{TEMPORARY_SUFFIX}")
        if not _create(claim, self.content):
            if is_held(claim):
                return False
        elif _state(self.path) == state:
            with contextlib.suppress(FileNotFoundError):
                claim.rename(self.path)
            return self._is_mine()
        claim.unlink(missing_ok=True)
        return False

    def _renew(self, interval: float) -> None:
        while not self._stop.wait(interval):
            with contextlib.suppress(OSError):  # a network file system may be away for a while
                if self._is_mine():
                    os.utime(self.path)


def is_held(path: Path) -> bool:
    """Whether a process, this one or another, holds the lock file ``path`` now."""
    state = _state(path)
    return state is not None and not _is_over(path, state)


def _create(path: Path, content: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        return False
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _state(path: Path) -> tuple[str, int] | None:
    """What the lock file says and when it was last renewed, in the file system's nanoseconds."""
    expect_plain(path)
    try:
        return path.read_text(encoding="utf-8", errors="replace"), path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_over(path: Path, state: tuple[str, int], watched: float = 0.0) -> bool:
    """Whether the holder is dead, or has not renewed its lease for its length.

    ``watched`` are the seconds for which this process has seen no renewal.
    """
    content, renewed = state
    host, pid, start, lease, *_ = [*content.split("\n"), "", "", "", ""]
    if host == _host() and pid.isdigit() and (not start or _started(int(pid)) != start):
        return True
    written = lease.replace(".", "", 1).isdigit()  # else killed between creating and writing it
    length = float(lease) if written else LEASE
    return max(watched, 1e-9 * (_now(path.parent) - renewed)) > length


def _now(folder: Path) -> int:
    """The time by the clock of the file system, which need not be this machine's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:  # a directory of somebody else's
        return time.time_ns()


def _host() -> str:
    """This machine since it was started, and this container: where a process id means something."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return " ".join(parts)


def _started(pid: int) -> str:
    """When process ``pid`` started, since ids are used again; "" where it does not run."""
    try:
        os.kill(pid, 0)
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *more = fields.rpartition(")")[2].split()
        return "" if state in "ZX" else more[18]
    except (ProcessLookupError, OverflowError):
        return ""
    except (OSError, IndexError):  # another user's, or no /proc: only that it runs is known
        return "unknown"
