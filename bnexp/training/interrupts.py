"""Ctrl-C and SIGTERM: finish the step at hand, save, and leave with the code that says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):  # noqa: N818 - not an error: the run was asked to stop
    """The run was asked to stop by ``signum`` and has saved what it had."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Stop:
    """Whether, and by which signal, the process was asked to stop."""

    signum: int | None = None


@contextmanager
def watched() -> Iterator[Stop]:
    """Within it SIGINT and SIGTERM are noted instead of acted on; a second one acts at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if stop.signum is not None:
            raise KeyboardInterrupt
        stop.signum = signum

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
