"""What is kept of a run that failed outside its training loop."""

from __future__ import annotations

import time
from contextlib import suppress

from bnexp.errors import UserError
from bnexp.runs import RunDirectory


def reason(error: Exception) -> str:
    """What ``error`` says, on one line."""
    return ": ".join(filter(None, [type(error).__name__, *str(error).splitlines()[:1]]))


def record(directory: RunDirectory, why: str, details: str, steps: int) -> None:
    """Note in ``directory``, where it can be written, that its run failed; it can be resumed."""
    with suppress(OSError, UserError), directory.lock(wait=False):
        log(directory, details)
        before = {"step": 0, "steps": steps, **directory.read_status()}
        directory.write_status(**{**before, "state": "failed", "reason": why})


def log(directory: RunDirectory, text: str) -> None:
    """One more entry in the run's log."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    with directory.log_file.open("a", encoding="utf-8") as file:
        file.write(f"{stamp} {text.rstrip()}\n")
