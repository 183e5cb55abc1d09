"""One bar over all runs of a sweep, wherever they are being made."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm

from bnexp.errors import UserError
from bnexp.training.run import FINISHED, Job

AT_ONCE = 50
"""Status files that are read each second at most, however many runs there are."""


@contextmanager
def progress(jobs: Sequence[Job]) -> Iterator[None]:
    """Within it a bar on stderr adds up the steps of ``jobs``."""
    bar = tqdm(
        total=sum(_steps(job) for job in jobs),
        unit="step",
        desc=f"runs 0/{len(jobs)} done",
        file=sys.stderr,
        dynamic_ncols=True,
        disable=not jobs or not all(job.config.run.progress for job in jobs),
    )
    waiting, known = deque(jobs), dict[str, int]()
    over = threading.Event()

    def read(most: int) -> None:
        for _ in range(min(most, len(waiting))):
            job = waiting.popleft()
            state, step = _status(job)
            finished = state in FINISHED
            known[job.id] = _steps(job) if finished else step
            if not finished:
                waiting.append(job)
        bar.set_description(f"runs {len(jobs) - len(waiting)}/{len(jobs)} done", refresh=False)
        bar.update(sum(known.values()) - bar.n)

    def watch() -> None:
        while not over.wait(1.0):
            read(AT_ONCE)

    thread = threading.Thread(target=watch, daemon=True)
    if not bar.disable:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if not bar.disable:
            thread.join()
            read(len(waiting))
        bar.close()


def _steps(job: Job) -> int:
    return int(job.config.run.steps) + 1


def _status(job: Job) -> tuple[str | None, int]:
    """How far ``job`` is; nothing where that cannot be read, of which the run itself will tell."""
    try:
        status = job.directory.read_status()
    except (UserError, OSError):
        return None, 0
    return status.get("state"), int(status.get("step", 0))
