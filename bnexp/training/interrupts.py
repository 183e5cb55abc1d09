"""Ctrl-C and SIGTERM: finish the step at hand, save, and leave with the code that says so.

Runs of a sweep may be in other processes, which a signal need not reach: whoever starts them names
a file in the environment variable ``BNEXP_STOP``; once it is there, every run saves and stops.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

STOP_FILE = "BNEXP_STOP"


class Interrupted(Exception):  # noqa: N818 - not an error: the run was asked to stop
    """The run was asked to stop by ``signum`` and has saved what it had."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Stop:
    """Whether, and by which signal, the run is asked to stop."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self.file = Path(named) if (named := os.environ.get(STOP_FILE)) else None
        self._failed = None if self.file is None else self.file.with_suffix(".failed")
        self.look()

    def ask(self, signum: int) -> None:
        """Ask this process, and those that watch the same file, to stop."""
        self.signum = signum
        if self.file is not None:
            self.file.write_text(str(int(signum)))

    def look(self) -> None:
        """See whether another process asked; cheap enough for every other second."""
        if self.signum is None and self.file is not None and self.file.exists():
            self.signum = int(self.file.read_text() or signal.SIGINT)

    def fail(self) -> None:
        """Keep further runs of the sweep from starting; those under way go on."""
        if self._failed is not None:
            self._failed.touch()

    @property
    def failed(self) -> bool:
        """Whether `fail` was called in the sweep."""
        return self._failed is not None and self._failed.exists()


@contextmanager
def watched() -> Iterator[Stop]:
    """Within it SIGINT and SIGTERM are noted instead of acted on; a second one acts at once."""
    stop = Stop()

    def note(signum: int, _: FrameType | None) -> None:
        if stop.signum is not None:
            raise KeyboardInterrupt
        stop.ask(signum)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()  # others are sent no signals
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
